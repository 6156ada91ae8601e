"""Who a model is: the hash of its weights, and what it was made from and how."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from robustvit.classifier import Classifier
from robustvit.data.manifest import SETTINGS
from robustvit.errors import UserError
from robustvit.guidance import GUIDANCE
from robustvit.recipes import CARDS, model_card
from robustvit.runs import RunFolder

__all__ = ["METHODS", "describe_model", "weights_hash"]

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
_PUBLISHED = {
    "classification": "confidence",
    "second_order": False,
    "relevance": "gae",
    "train": "all",
    "target": "label",
}
_PUBLISHED |= {"background": 2.0, "foreground": 0.3, "relevance_weight": 0.8, "classification_weight": 0.2}
_CHANGED: dict[tuple[str, Any], str] = {
    ("classification_weight", 0.0): "robustvit-without-eq4",
    ("background", 0.0): "robustvit-without-eq1",
    ("foreground", 0.0): "robustvit-without-eq2",
    ("classification", "label"): "robustvit-ground-truth",
}


def weights_hash(model: nn.Module) -> str:
    """SHA-256, in hexadecimal, over the sorted names, dtypes, shapes and bytes of a state dict.

    A ``Classifier`` has the hash of its network, so that it does not depend on how the model was wrapped.
    """
    network = model.network if isinstance(model, Classifier) else model
    found = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        if isinstance(value, Tensor):
            plain = value.detach().cpu().contiguous()
            found.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
            found.update(plain.reshape(-1).view(torch.uint8).numpy().data)
        else:
            found.update(f"{name} {value!r}\n".encode())
    return found.hexdigest()


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
        method = _method_of(config) if checkpoint is None else "given"
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


def _method_of(config: dict[str, Any]) -> str:
    """The method by a run's settings: the published one, one of the paper's ablations, or what differs."""
    guidance = str(config.get("guidance", "robustvit"))
    usual = _PUBLISHED if guidance == "robustvit" else _usual_of(guidance)
    changed = {name: config[name] for name, value in usual.items() if config.get(name) not in (None, value)}
    guidance = "dfr-new-head" if guidance == "dfr" else guidance
    if guidance == "robustvit" and len(changed) == 1 and (found := _CHANGED.get(next(iter(changed.items())))):
        return found
    if changed:
        return f"{guidance} ({', '.join(f'{name} {value}' for name, value in changed.items())})"
    protocol = _tokencut_protocol(config) if guidance == "robustvit" else None
    if protocol is None:
        return guidance
    return f"{guidance}-tokencut" if protocol == "paper" else f"{guidance} (masks by TokenCut, protocol {protocol})"


def _usual_of(guidance: str) -> dict[str, Any]:
    """The defaults of another guidance method; nothing is known of one that somebody registered and is not here."""
    if guidance not in GUIDANCE:
        return {}
    own = {field.name: field.default for field in fields(GUIDANCE[guidance]) if field.init}
    return {
        name: value for name, value in own.items() if name != "temperature"
    }  # that is the model's, not the method's


def _tokencut_protocol(config: dict[str, Any]) -> str | None:
    """How our TokenCut cut the masks, as the settings in their folder say; None where it did not make them."""
    place = config.get("masks") or (Path(str(config["images"])).parent if config.get("images") else None)
    if place is None or not (Path(str(place)) / SETTINGS).is_file():
        return None
    try:
        settings = json.loads((Path(str(place)) / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {Path(str(place)) / SETTINGS}: {error}") from error
    if not isinstance(settings, dict) or settings.get("method") != "tokencut":
        return None
    return str(settings.get("protocol", "standard"))  # versions before there were two cut by our rules
