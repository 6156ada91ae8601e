"""Decisions on the regions that an audit found: which a model may look at, and which are shortcuts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustvit.common.errors import UserError
from robustvit.common.files import read_json

SHORTCUTS_KIND = "robustvit-shortcuts"


@dataclass(frozen=True)
class DecidedRegion:
    """A kind of region that a person kept or dropped.

    Attributes:
        number: its number on the page.
        keep: whether the model may look at it; otherwise it is a shortcut.
        centre: mean feature of its patches, of length 1.
        reach: least cosine with the centre of a patch of this kind.
    """

    number: int
    keep: bool
    centre: tuple[float, ...]
    reach: float


@dataclass(frozen=True)
class RegionDecisions:
    """The regions that were kept or dropped.

    Attributes:
        path: the file.
        model: name of the audited model.
        weights: hash of its weights, empty if unknown.
        regions: the regions that were kept or dropped.
        others: centres of the other regions; a patch nearest to one of these is of no decided kind.
    """

    path: Path
    model: str
    weights: str
    regions: tuple[DecidedRegion, ...]
    others: tuple[tuple[float, ...], ...] = ()


def read_decisions(path: str | Path) -> RegionDecisions:
    """Read shortcuts.json, which the page of an audit saves.

    A person can also write ``{"audit": "audit.json", "keep": [1], "drop": [2]}``, with the numbers of the regions on
    the page, beside the record of the audit.
    """
    path = Path(path)
    raw = read_json(path)
    if isinstance(raw, dict) and "audit" in raw:
        raw = _from_record(raw, path)
    if not isinstance(raw, dict) or raw.get("kind") != SHORTCUTS_KIND:
        raise UserError(
            f"expected decisions on regions in {path}, found something else: save it from the page of an audit"
        )
    try:
        rows = [_read_region(row) for row in raw["regions"]]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is broken ({error!r:.80}): save it from the page of the audit again") from error
    if len({len(centre) for _, centre, _, _ in rows}) > 1:
        raise UserError(f"{path} is broken (regions of different features): save it from the page of the audit again")
    decided = tuple(DecidedRegion(index, said == "keep", centre, reach) for index, centre, reach, said in rows if said)
    if not decided:
        raise UserError(f"expected a region that is kept or dropped in {path}, found none: decide on the audit's page")
    others = tuple(centre for _, centre, _, said in rows if said is None)
    return RegionDecisions(path, str(raw.get("model", "")), str(raw.get("weights", "")), decided, others)


def _read_region(row: Mapping[str, Any]) -> tuple[int, tuple[float, ...], float, str | None]:
    number, reach = int(row["number"]), float(row["reach"])
    centre, decision = tuple(map(float, row["centre"])), row["decision"]
    if decision not in ("keep", "drop", None):
        raise ValueError(f"expected keep, drop or null, got {decision!r}")
    if not centre or not all(map(math.isfinite, (*centre, reach))):
        raise ValueError("a number that is not finite")
    return number, centre, reach, decision


def _from_record(raw: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Build the file that the page would save from the record of the audit and lists of numbers."""
    record = read_json(path.parent / str(raw["audit"]))
    try:
        regions = record["regions"]
        keep, drop = ({int(number) for number in raw.get(name, ())} for name in ("keep", "drop"))
        rows = [
            {"number": number, "centre": one["centre"], "reach": one["reach"],
             "decision": "keep" if number in keep else "drop" if number in drop else None}
            for number, one in enumerate(regions, start=1)
        ]  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} or the record it names is broken ({error!r:.80}): check both") from error
    if wrong := (keep & drop) | ((keep | drop) - {row["number"] for row in rows}):
        raise UserError(
            f"{path}: expected numbers of regions from 1 to {len(rows)}, each kept or dropped, got {sorted(wrong)}: "
            "correct them"
        )
    named = {name: record.get(name, "") for name in ("model", "weights")}
    return {"kind": SHORTCUTS_KIND, **named, "regions": rows}
