"""Types of the options that commands share; nothing heavy is imported, so that ``--help`` answers at once."""

from __future__ import annotations

from typing import Literal

Alpha = Literal["white", "ignore"]
AnnotationFormat = Literal[
    "auto",
    "coco",
    "yolo",
    "labelme",
    "cvat",
    "label-studio",
    "supervisely",
    "datumaro",
    "fiftyone",
    "sa-1b",
    "imagefolder",
    "kaggle",
    "kaggle-rows",
    "csv-boxes",
    "voc",
    "voc-xml",
    "megadetector",
    "imagenet-s",
    "binary",
    "grey",
    "soft",
    "trimap",
    "inverted",
]
AtInference = list[str] | str
AnnotationTarget = Literal["coco", "coco-polygons", "label-studio"]
Balance = Literal["class", "background", "group"]
BoxMode = Literal["ellipse", "box", "sam"]
BoxUnits = Literal["pixels", "shares"]
Categories = list[str] | list[int] | str | int
Channels = list[float] | str
ClassNames = list[str] | str
ClassFolders = Literal["top", "inner"]
Classes = Literal["all"] | int | float | list[str] | str
Classification = Literal["confidence", "label"]
Device = Literal["auto", "cpu"]
DrawnShape = Literal["ellipse", "box"]
Engine = Literal["local", "ray"]
ExportFormat = Literal["auto", "timm", "onnx"]
Feature = Literal["keys", "queries", "values", "tokens"]
Fill = Literal["mean", "blur"]
LrSchedule = Literal["step", "cosine"]
MaskOrigin = Literal["human", "tokencut"]
HeadKind = Literal["softmax", "binary", "multi-label", "regression", "ordinal"]
GroupMethod = Literal["sample", "reweight", "dro", "jtt"]
ImageFormat = Literal["png", "jpeg"]
InputSize = int | list[int] | str
Interpolation = Literal["nearest", "bilinear", "bicubic"]
WeightInterpolation = Literal["auto"] | float
Intervention = Literal["si-size", "si-rotation", "si-location"]
LabelFrom = Literal["folder", "largest", "all"]
MaskFormat = Literal["auto", "soft", "binary", "ids", "imagenet-s", "trimap", "inverted"]
MetricName = Literal["accuracy", "balanced-accuracy", "macro-f1", "auroc", "average-precision", "worst-group"]
MaskMethod = Literal["tokencut", "found", "clipseg", "grounding", "sam3", "rembg", "sam2", "relevance"]
Orientation = Literal["upright", "stored"]
Negatives = Literal["classification", "uniform", "none"]
NoObject = list[str] | str
ObjectBy = Literal["relevance", "masks"]
Normalization = Literal["model", "paper"]
PixelRange = str | int
Precision = Literal["no", "bf16", "fp16"]
Prompt = list[str] | str
Protocol = Literal["paper", "standard"]
Rates = list[float] | str
ReproductionSize = Literal["paper", "tiny"]
Select = Literal["loss", "robust", "worst-group", "last"]
Shell = Literal["bash", "zsh", "tcsh"]
ShiftKinds = list[str] | str
Side = Literal["seed", "corners"]
TableFormat = Literal["markdown", "html", "latex"]
SubsetFill = Literal["grey", "mean", "black"]
Target = Literal["label", "predicted"]
Train = Literal["all", "attention", "head", "adapter"]
