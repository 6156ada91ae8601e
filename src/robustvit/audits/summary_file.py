"""What an audit comes to, for programs: a few numbers and names, and whether a limit is broken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robustvit.audits.options import FailIf

KEY_MEASURES = ("ordinary", "mixed-other", "cost", "energy")


def summarise(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the summary of a record: verdict, key numbers with intervals, and shortcuts by name.

    Returns:
        ``reliance`` (of the model), ``baseline_reliance``, ``metric`` (what decides), ``measures`` (mean, low, high and
        count in [0, 1]),
        ``shortcuts`` (one line each) and ``fails`` (whether ``strong`` and ``any`` would fail).
    """
    verdict = record["verdict"]
    shortcuts = _shortcuts(record)
    reliance = verdict["model"]["reliance"]
    return {
        "reliance": reliance,
        "baseline_reliance": verdict["baseline"]["reliance"] if "baseline" in verdict else None,
        "photos": record["count"],
        "metric": record["metric"],
        "measures": {name: row["model"] for name, row in record["measures"].items()
                     if name.rpartition("/")[2] in KEY_MEASURES},
        "shortcuts": shortcuts,
        "fails": {
            "strong": reliance == "strong reliance",
            "any": reliance in ("some", "strong reliance") or bool(shortcuts),
        },
    }  # fmt: skip


def fails(record: Mapping[str, Any], limit: FailIf | None) -> bool:
    """Whether an audit breaks a limit; *cannot tell* breaks none."""
    return limit is not None and bool(record["summary"]["fails"][limit])


def _shortcuts(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the shortcuts of the model: what is put in and pulls, regions that decide, and what rose."""
    found: list[dict[str, Any]] = [
        {"kind": "inserted", "name": one["name"], "pulls_to": one["pulls_to"]}
        for one in record["inserted"].get("model", ())
        if one["is_shortcut"]
    ]
    found += [
        {"kind": "region", "name": name_region(number, region), "photos": len(region["photos"])}
        for number, region in enumerate(record["regions"], start=1)
        if region["decides"]
    ]
    found += [{"kind": "object", "name": one["name"]} for one in record["companions"] if one["decides"]]
    found += [{"kind": "risen", "name": name} for name in record["risen"]]
    return found


def name_region(number: int, region: Mapping[str, Any]) -> str:
    """Return what a region is called: its number, and its nearest words if there are any."""
    return f"region {number}" + (f" ({', '.join(region['words'])})" if region["words"] else "")
