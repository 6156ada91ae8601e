"""Model cards: the models of the paper with the settings that it finetuned them with."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import yaml

from robustvit.errors import UserError
from robustvit.options import Normalization

__all__ = ["CARDS", "ModelCard", "model_card"]

_FOLDER = files("robustvit") / "cards"
CARDS = tuple(sorted(entry.name.removesuffix(".yaml") for entry in _FOLDER.iterdir() if entry.name.endswith(".yaml")))


@dataclass(frozen=True)
class ModelCard:
    """A model of the paper.

    Attributes:
        title: the paper's name for it.
        timm_name: name with its tag, since timm's default tags changed over the years.
        lr: learning rate the paper's search chose.
        temperature: divides the logits in the confidence loss.
        normalization: what the paper fed it.
        needs_checkpoint: the paper's weights have left timm; they must be given as a file.
    """

    title: str
    timm_name: str
    lr: float
    temperature: float
    normalization: Normalization = "paper"
    needs_checkpoint: bool = False


def model_card(name: str) -> ModelCard:
    """Read a model card by name, e.g. ``vit-b``.

    Raises:
        UserError: there is no such card.
    """
    if name not in CARDS:
        raise UserError(f"unknown recipe {name!r}: expected one of {', '.join(CARDS)}")
    return ModelCard(**yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")))
