"""The public name and licence of the model that a run started from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm

from robustvit.models.libraries import LIBRARIES
from robustvit.models.recipes import CARDS, model_card

_OWN = "weights of the author's own"


@dataclass(frozen=True)
class BaseModel:
    """Where a run's weights come from.

    Attributes:
        title: name of the model, or a description if it has no public name.
        hub: ``OWNER/NAME`` on the hub, if it is there.
        license: identifier such as ``apache-2.0``; None if no trustworthy source states it.
        license_from: the source of the licence, or why it is not known, as a sentence.
    """

    title: str
    hub: str | None
    license: str | None
    license_from: str


def describe_base_model(config: Mapping[str, Any], stored: Mapping[str, Any]) -> BaseModel:
    """Describe the model that a run started from, by the run's settings and the ``config.json`` of its model.

    The licence is the one that the library publishes with exactly these weights. A folder's ``config.json`` is not
    trusted: timm fills in the licence of the architecture's weights, whoever trained those in the folder.
    """
    source = str(config["model"] or config["recipe"])
    source = model_card(source).timm_name if source in CARDS else source
    architecture = str(stored.get("architecture") or (stored.get("architectures") or ["unknown architecture"])[0])
    if config.get("checkpoint"):
        title = f"{architecture}, {_OWN}"
        return BaseModel(title, None, None, "The weights came from a file, whose licence is not recorded: look it up.")
    prefix, _, name = source.partition(":")
    if is_local(source):
        return BaseModel(f"{architecture}, {_OWN}", None, None, _explain_unknown(stored))
    if prefix == "hf-hub" or (prefix in ("transformers", "open_clip") and name.count("/") == 1):
        return _describe_unrecorded(source, name.removeprefix("hf-hub:") if prefix != "open_clip" else None)
    if prefix in LIBRARIES and prefix != "timm":
        return _describe_unrecorded(source, None)
    return _describe_timm(source.removeprefix("timm:"))


def is_local(source: str) -> bool:
    """Whether a model's name is that of a folder on this machine, or of a module that only its author has."""
    prefix, _, name = source.partition(":")
    if (prefix in LIBRARIES and prefix != "timm") or prefix == "hf-hub":
        return Path(name).is_absolute() or Path(name).is_dir()
    return not timm.is_model(source.removeprefix("timm:").split(".")[0])


def _explain_unknown(stored: Mapping[str, Any]) -> str:
    said = (stored.get("pretrained_cfg") or {}).get("license")
    doubt = f" Its config.json says {said}, but timm fills that in from the architecture, whoever trained the weights."
    return f"Not known: look it up.{doubt if said else ''}"


def _describe_unrecorded(title: str, hub: str | None) -> BaseModel:
    where = f"on the page of {hub}" if hub else "where its library publishes it"
    return BaseModel(title, hub, None, f"Not recorded with the weights: look it up {where}.")


def _describe_timm(name: str) -> BaseModel:
    known = timm.get_pretrained_cfg(name, allow_unregistered=True)
    if known is None or not known.tag:
        return BaseModel(name, None, None, "Not known: look it up.")
    full = f"{name.split('.')[0]}.{known.tag}"
    if not known.license:
        return BaseModel(full, known.hf_hub_id, None, "timm names none for these weights: look it up.")
    return BaseModel(full, known.hf_hub_id, known.license, "As timm records it for these weights.")
