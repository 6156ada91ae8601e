"""Names of methods in records, by the settings of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PUBLISHED = {
    "classification": "confidence",
    "second_order": False,
    "relevance": "gae",
    "train": "all",
    "target": "label",
    "background": 2.0,
    "foreground": 0.3,
    "relevance_weight": 0.8,
    "classification_weight": 0.2,
    "negatives": "classification",
}
_ALL_THE_WAY = {"lr_schedule": "step", "weight_interpolation": 1.0}  # what every published method here does
_CHANGED: dict[tuple[str, Any], str] = {
    ("classification_weight", 0.0): "robustvit-without-eq4",
    ("background", 0.0): "robustvit-without-eq1",
    ("foreground", 0.0): "robustvit-without-eq2",
    ("classification", "label"): "robustvit-ground-truth",
}


def method_name(config: Mapping[str, Any], usual: Mapping[str, Any], tokencut: str | None) -> str:
    """Return the name of a run's method: the published method, an ablation of the paper, or the changed options.

    Args:
        config: the settings.
        usual: defaults of its guidance method.
        tokencut: protocol of TokenCut, if it made the masks.
    """
    guidance = str(config.get("guidance", "robustvit"))
    usual = {**(_PUBLISHED if guidance == "robustvit" else usual), **_ALL_THE_WAY}
    changed = {name: config[name] for name, value in usual.items() if config.get(name) not in (None, value)}
    guidance = "dfr-new-head" if guidance == "dfr" else guidance
    if guidance == "robustvit" and len(changed) == 1 and (found := _CHANGED.get(next(iter(changed.items())))):
        return found
    if changed:
        return f"{guidance} ({', '.join(f'{name} {value}' for name, value in changed.items())})"
    protocol = tokencut if guidance == "robustvit" else None
    if protocol is None:
        return guidance
    return f"{guidance}-tokencut" if protocol == "paper" else f"{guidance} (masks by TokenCut, protocol {protocol})"
