"""Who a model is: the hash of its weights, and what it was made from and how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm

from robustvit.common.run_folder import RunFolder
from robustvit.data.mask_settings import tokencut_protocol
from robustvit.models.classifier import Classifier
from robustvit.models.method_names import method_name
from robustvit.models.recipes import CARDS, model_card
from robustvit.models.weights import weights_hash

# Defaults of the methods that a run may have whose settings do not name its method, as version 0.1 wrote them.
_USUAL: dict[str, dict[str, Any]] = {
    "gradmask": {"relevance_weight": None, "classification_weight": 1.0},
    "rrr": {"relevance_weight": None, "classification_weight": 1.0},
    "swap-augmentation": {"swap_share": 1.0},
    "last-layer": {"balance": "background"},
    "dfr": {"balance": "background"},
}

# Methods of the paper's tables, and those that a record may name besides.
METHODS: dict[str, str] = {
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
    "dfr": "last layer, from the old head",  # what older versions called so
    "given": "weights of another origin",
}


def describe_model(
    classifier: Classifier, source: str | Path, *, checkpoint: str | Path | None = None
) -> dict[str, Any]:
    """What a record says of a model.

    Args:
        classifier: the model.
        source: what it was loaded from: a run folder of ours tells card and method, a card's own name or timm name
            stands for the original.
        checkpoint: weights that were loaded into it.

    Returns:
        ``source``, ``weights``, ``card`` (None for a model that is not the paper's), ``method`` (of ``METHODS``, or
        ``robustvit`` with the settings that differ from the published ones in brackets) and ``classes``.
    """
    name = str(source)
    run = _run_of(name)
    if run is not None:
        config = run.config()
        card = _card_of_run(config)
        method = _named(config) if checkpoint is None else "given"
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
    """The run that a source is, or lies in as its ``best/`` or ``last/``."""
    folder = Path(source.removeprefix("timm:").removeprefix("local-dir:"))
    for place in (folder, folder.parent) if folder.name in ("best", "last") else (folder,):
        if RunFolder(place).is_run:
            return RunFolder(place)
    return None


def _with_tag(classifier: Classifier, source: str) -> str:
    """A timm name with the tag of its weights; anything else as it is."""
    name = source.removeprefix("timm:")
    if name in CARDS or "." in name or "/" in name or ":" in name:
        return name
    config = getattr(classifier.network, "pretrained_cfg", None) or {}
    tag = config.get("tag") if isinstance(config, dict) else getattr(config, "tag", None)
    return f"{name}.{tag}" if tag else name


def _card_of_run(config: dict[str, Any]) -> str | None:
    """The card that a run started from: its model goes before its recipe, and other weights make another model."""
    card = _card_of(_with_default_tag(config.get("model")) or config.get("recipe"), config.get("checkpoint"))
    own = card is not None and config.get("checkpoint") is not None and not model_card(card).needs_checkpoint
    return None if own else card


def _with_default_tag(model: Any) -> Any:
    """A timm name with the tag of the weights that timm takes where none is named; anything else as it is."""
    name = str(model or "").removeprefix("timm:")
    config = timm.get_pretrained_cfg(name, allow_unregistered=True) if name and "." not in name else None
    return f"{name}.{config.tag}" if config is not None and config.tag else model


def _card_of(name: Any, checkpoint: Any) -> str | None:
    """The card of that name, or of the timm model of that name. Weights that left timm count only where given."""
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


def _named(config: dict[str, Any]) -> str:
    """The method as a run's settings name it; those of version 0.1 do not, there it follows from the others."""
    if isinstance(config.get("method"), str):
        return str(config["method"])
    usual = _USUAL.get(str(config.get("guidance")), {})
    return method_name(config, usual, tokencut_protocol(config))
