"""Describe a model in a record: the hash of its weights, how it was made, and the training data of its run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm

from robustvit.common.run_folder import RunFolder
from robustvit.common.wording import pluralize
from robustvit.data.manifest import tokencut_protocol
from robustvit.models.classifier import Classifier
from robustvit.models.method_names import method_name
from robustvit.models.recipes import CARDS, model_card
from robustvit.models.weights import weights_hash

# Defaults of methods in runs of version 0.1, whose settings do not name the method.
_FORMER_DEFAULTS: dict[str, dict[str, Any]] = {
    "gradmask": {"relevance_weight": None, "classification_weight": 1.0},
    "rrr": {"relevance_weight": None, "classification_weight": 1.0},
    "swap-augmentation": {"swap_share": 1.0},
    "last-layer": {"balance": "background"},
    "dfr": {"balance": "background"},
}

# Methods of the paper's tables, and other methods of records.
METHOD_TITLES: dict[str, str] = {
    "original": "original",
    "gradmask": "GradMask",
    "rrr": "Right for the Right Reasons",
    "robustvit": "RobustViT",
    "robustvit-tokencut": "RobustViT, masks found by TokenCut",
    "robustvit-without-eq4": "RobustViT without eq. 4",
    "robustvit-without-eq1": "RobustViT without eq. 1",
    "robustvit-without-eq2": "RobustViT without eq. 2",
    "robustvit-ground-truth": "RobustViT with true labels",
    "cft-object": "CFT, object masks",
    "cft-concept": "CFT, concept masks",
    "dfr-new-head": "Deep Feature Reweighting",
    "last-layer": "last layer, from the old head",
    "dfr": "last layer, from the old head",  # as older versions called it
    "cross-entropy": "cross-entropy",
    "jtt": "Just Train Twice",
    "group-dro": "Group DRO",
    "given": "weights of another origin",
}

# How reproduce names its runs; in records of earlier versions only the name tells the setting.
_NAME = re.compile(r"-seed(?P<seed>\d+)-(?P<classes>\d+)x(?P<samples>\d+)(?:[/\\](?:best|last))?[/\\]?$")
_USUAL_SIZES = ((500, 3), (5, 3))  # classes and photos of each at paper and at tiny scale


def describe_model(
    classifier: Classifier, source: str | Path, *, checkpoint: str | Path | None = None
) -> dict[str, Any]:
    """Describe a model for a record.

    Args:
        classifier: the model.
        source: what it was loaded from: a run folder names card and method; the name of a card or its timm name
            is the original.
        checkpoint: weights loaded into it.

    Returns:
        ``source``, ``weights``, ``card`` (None for a model that is not the paper's), ``method`` (of ``METHOD_TITLES``,
        or ``robustvit`` with the settings that differ from the published ones in brackets) and ``classes``.
    """
    name = str(source)
    run = _run_of(name)
    if run is not None:
        config = run.config()
        card = _card_of_run(config)
        method = _method_of_run(config) if checkpoint is None else "given"
    else:
        card = _card_of(_with_tag(classifier, name), checkpoint)
        own = card is not None and model_card(card).needs_checkpoint
        method = "original" if checkpoint is None or own else "given"
    return {
        "source": name,
        "weights": weights_hash(classifier),
        "card": card,
        "method": method,
        "classes": classifier.num_classes,
    }


def _run_of(source: str) -> RunFolder | None:
    """Return the run that a source is, or whose ``best/`` or ``last/`` it is."""
    folder = Path(source.removeprefix("timm:").removeprefix("local-dir:"))
    for path in (folder, folder.parent) if folder.name in ("best", "last") else (folder,):
        if RunFolder(path).is_run:
            return RunFolder(path)
    return None


def _with_tag(classifier: Classifier, source: str) -> str:
    """Add the tag of its weights to a timm name; return anything else unchanged."""
    name = source.removeprefix("timm:")
    if name in CARDS or "." in name or "/" in name or ":" in name:
        return name
    config = getattr(classifier.network, "pretrained_cfg", None) or {}
    tag = config.get("tag") if isinstance(config, dict) else getattr(config, "tag", None)
    return f"{name}.{tag}" if tag else name


def _card_of_run(config: dict[str, Any]) -> str | None:
    """Return the card that a run started from: its model, else its recipe; other weights make another model."""
    card = _card_of(_with_default_tag(config.get("model")) or config.get("recipe"), config.get("checkpoint"))
    own = card is not None and config.get("checkpoint") is not None and not model_card(card).needs_checkpoint
    return None if own else card


def _with_default_tag(model: object) -> object:
    """Add timm's default tag to a timm name without a tag; return anything else unchanged."""
    name = str(model or "").removeprefix("timm:")
    config = timm.get_pretrained_cfg(name, allow_unregistered=True) if name and "." not in name else None
    return f"{name}.{config.tag}" if config is not None and config.tag else model


def _card_of(name: object, checkpoint: object) -> str | None:
    """Return the card of a name or of a timm model; cards of weights no longer in timm need a checkpoint."""
    if not name:
        return None
    if name in CARDS:
        return str(name)
    wanted = str(name).removeprefix("timm:")
    for card in CARDS:
        known = model_card(card)
        if known.timm_name == wanted and (checkpoint is not None) == known.needs_checkpoint:
            return card
    return None


def _method_of_run(config: dict[str, Any]) -> str:
    """Return the method that a run's settings name; for version 0.1 it follows from the other settings."""
    if isinstance(config.get("method"), str):
        return str(config["method"])
    usual = _FORMER_DEFAULTS.get(str(config.get("guidance")), {})
    return method_name(config, usual, tokencut_protocol(config))


@dataclass(frozen=True)
class RunSetting:
    """The training data of a reproduction's run.

    Attributes:
        seed: of the choice of classes.
        classes: number of classes.
        samples: photos of each class.
        usual: whether the paper's tables have this number of classes and photos.
    """

    seed: int
    classes: int
    samples: int
    usual: bool

    def __str__(self) -> str:
        return f"{pluralize(self.samples, 'photo')} of each of {pluralize(self.classes, 'class', 'classes')}"


def setting_of(model: Mapping[str, Any]) -> RunSetting | None:
    """Return the setting of a record's ``model``; None for models that ``reproduce`` did not train."""
    if isinstance(said := model.get("setting"), Mapping):
        return RunSetting(**said)
    found = _NAME.search(str(model.get("source", "")))
    if found is None:
        return None
    seed, classes, samples = (int(found[name]) for name in ("seed", "classes", "samples"))
    return RunSetting(seed, classes, samples, (classes, samples) in _USUAL_SIZES)
