"""What the page of an audit saves as shortcuts.json: its regions, and whether each is kept or dropped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robustvit.data.region_decisions import SHORTCUTS_KIND


def regions_to_decide(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page saves once every region has its decision; see ``read_decisions``."""
    regions = [
        {
            "number": number,
            "words": region["words"],
            "centre": [round(value, 5) for value in region["centre"]],
            "reach": round(region["reach"], 5),
            "decision": None,
        }
        for number, region in enumerate(record["regions"], start=1)
    ]
    return {"kind": SHORTCUTS_KIND, "model": record["model"], "weights": record.get("weights", ""), "regions": regions}
