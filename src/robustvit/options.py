"""Types of the options that commands share; nothing heavy is imported, so that ``--help`` answers at once."""

from __future__ import annotations

from typing import Literal

__all__ = [
    "ClassNames",
    "Classes",
    "Classification",
    "Device",
    "Fill",
    "MaskFormat",
    "Normalization",
    "Precision",
    "Select",
    "Target",
    "Train",
]

ClassNames = list[str] | str
Classes = Literal["all"] | int | float | list[str] | str
Classification = Literal["confidence", "label"]
Device = Literal["auto", "cpu"]
Fill = Literal["mean", "blur"]
MaskFormat = Literal["auto", "soft", "ids", "imagenet-s"]
Normalization = Literal["model", "paper"]
Precision = Literal["no", "bf16", "fp16"]
Select = Literal["loss", "robust"]
Target = Literal["label", "predicted"]
Train = Literal["all", "attention"]
