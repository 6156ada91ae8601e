"""Recipes: the models of the paper with their finetuning settings, and settings for any model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

import yaml

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.options import Normalization

_FOLDER = files("robustvit.models") / "cards"
CARDS = tuple(sorted(entry.name.removesuffix(".yaml") for entry in _FOLDER.iterdir() if entry.name.endswith(".yaml")))
DEFAULT_RECIPE: str | None = "recommended"  # of a run for which neither a recipe nor another method is named
_ALIASES = {"own": "recommended"}  # older names
# Options of ``finetune`` for any model.
RECIPES: dict[str, dict[str, Any]] = {
    # The evidence for it, and what is not measured yet: docs/explanation/study.md.
    "recommended": {
        "guidance": "swap-relevance",
        "train": "all",
        "lr": 1e-5,
        "epochs": 20,
        "samples_per_class": 10,
        "select": "last",
        "lr_schedule": "cosine",
        "weight_interpolation": "auto",
    },
    # Chefer, Schwartz and Wolf (NeurIPS 2022); the learning rates of their models are in the cards.
    "paper": {
        "guidance": "robustvit",
        "train": "all",
        "lr": 2e-6,
        "epochs": 50,
        "samples_per_class": 3,
        "select": "loss",
        "lr_schedule": "step",
        "weight_interpolation": 1.0,
    },
    # CFT (Elisha, Barkan and Koenigstein, CVPR 2026, arXiv 2603.08309): the paper's losses with the weights of context
    # and concept, for soft masks of concepts.
    "cft": {"background": 1.2, "foreground": 0.5},
}
# The recipe ``own`` of runs whose settings have no learning rate schedule; some of them wrote the recipe's name alone.
OWN_UNTIL_2026_11: dict[str, Any] = {
    "guidance": "robustvit",
    "train": "attention",
    "lr": 1e-4,
    "epochs": 5,
    "samples_per_class": 10,
    "select": "robust",
    "lr_schedule": "step",
    "weight_interpolation": 1.0,
}

_OF_ITS_METHOD = ("guidance", "train", "lr")


@dataclass(frozen=True)
class ModelCard:
    """A model of the paper, with the learning rate of its search, and the temperature of its confidence loss.

    timm's name has a tag, since timm's default tags have changed. If a model ``needs_checkpoint``, timm no longer
    provides the paper's weights; they must be given as a file.
    """

    title: str
    timm_name: str
    lr: float
    temperature: float
    normalization: Normalization = "paper"
    needs_checkpoint: bool = False


def recipe_name(name: str | None) -> str | None:
    """Return a recipe's present name."""
    return None if name is None else _ALIASES.get(name, name)


def model_card(name: str) -> ModelCard:
    """Read a model card by name, e.g. ``vit-b``."""
    if name not in CARDS:
        if recipe_name(name) in RECIPES:
            raise UserError(f"recipe {name} goes with any model and names none: give --model NAME too")
        expect_one_of("--recipe", name, [*CARDS, *RECIPES])
    return ModelCard(**yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")))


def recipe_settings(name: str | None) -> dict[str, Any]:
    """Return the options of ``finetune`` that a recipe sets; none without a recipe."""
    name = recipe_name(name)
    if name is None or name in RECIPES:
        return dict(RECIPES[name]) if name else {}
    card = asdict(model_card(name))
    return {option: card[option] for option in ("lr", "temperature", "normalization")}


def settings_for_method(name: str | None, guidance: str | None) -> dict[str, Any]:
    """Return the options of a recipe for a guidance method, including those that the method does not have.

    For another method than the recipe's, guidance, trained weights and learning rate are left out: they were chosen for
    the recipe's method.
    """
    found = recipe_settings(name)
    if guidance in (None, found.get("guidance", guidance)):
        return found
    return {option: value for option, value in found.items() if option not in _OF_ITS_METHOD}
