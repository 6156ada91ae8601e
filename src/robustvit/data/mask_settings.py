"""How the masks of a run were made, by the settings in their folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from robustvit.common.errors import UserError
from robustvit.data.manifest import SETTINGS


def tokencut_protocol(config: dict[str, Any]) -> str | None:
    """Return the protocol of TokenCut by the settings in the folder of masks; None if it did not make them."""
    place = config.get("masks") or (Path(str(config["images"])).parent if config.get("images") else None)
    if place is None or not (Path(str(place)) / SETTINGS).is_file():
        return None
    try:
        settings = json.loads((Path(str(place)) / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {Path(str(place)) / SETTINGS}: {error}") from error
    if not isinstance(settings, dict) or settings.get("method") != "tokencut":
        return None
    return str(settings.get("protocol", "standard"))  # older versions had only the standard protocol
