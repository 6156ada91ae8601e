"""How the masks of a run were made, by the settings in their folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robustvit.common.files import read_json
from robustvit.data.manifest import SETTINGS


def tokencut_protocol(config: dict[str, Any]) -> str | None:
    """Return the protocol of TokenCut by the settings in the folder of masks; None if it did not make them."""
    place = config.get("masks") or (Path(str(config["images"])).parent if config.get("images") else None)
    if place is None or not (Path(str(place)) / SETTINGS).is_file():
        return None
    settings = read_json(Path(str(place)) / SETTINGS)
    if not isinstance(settings, dict) or settings.get("method") != "tokencut":
        return None
    return str(settings.get("protocol", "standard"))  # older versions had only the standard protocol
