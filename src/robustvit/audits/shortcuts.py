"""Shortcuts beside the background: in the record of an audit, in its summary for programs, and in lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING, Any

from robustvit.audits.properties import PROPERTIES
from robustvit.evaluation.insertions import CONTROL
from robustvit.evaluation.pulls import RISE, judge_insertions, risen_costs

if TYPE_CHECKING:
    from robustvit.audits.audit_data import AuditData
    from robustvit.audits.properties import PropertyAudit, Telling
    from robustvit.common.intervals import Interval

KEY_MEASURES = ("ordinary", "mixed-other", "cost", "energy")


def shortcut_record(data: AuditData) -> dict[str, Any]:
    """Convert insertions, regions, objects and properties of the files to plain values."""
    return {
        "named": name_shortcuts(data),
        "inserted": {side: _record_insertions(said, data) for side, said in data.answers.items()},
        "risen": {name: asdict(rise) for name, rise in find_risen(data).items()},
        "regions": [
            asdict(one)
            | {"photos": one.photos, "decides": one.decides, "shown": [asdict(patch) for patch in one.shown]}
            for one in data.regions
        ],
        "companions": [asdict(one) | {"decides": one.decides} for one in data.companions],
        "properties": None if data.properties is None else asdict(data.properties),
    }


def name_control(control: str) -> str:
    """Return what a reader calls the answers that an insertion is compared with."""
    return "its control" if control.endswith(CONTROL) else control


def find_risen(data: AuditData) -> dict[str, Interval]:
    """Return what costs the model more than the baseline: insertions, and regions and objects that are blurred.

    Each by more than ``RISE``, with the whole interval; see ``risen_costs``.
    """
    both = data.answers
    found = risen_costs(both["baseline"], both["model"], data.truth) if "baseline" in both else {}
    blurred = {f"blurring region {number}": one.risen for number, one in enumerate(data.regions, start=1)}
    blurred |= {f"blurring {one.name}": one.risen for one in data.companions}
    return found | {name: rise for name, rise in blurred.items() if rise is not None and rise.low > RISE}


def most_telling(properties: PropertyAudit | None) -> list[Telling]:
    """Return the property that tells each class best, the most telling first; the record has all."""
    first: dict[str, Telling] = {}
    for told in properties.telling if properties else ():
        first.setdefault(told.class_name, told)
    return list(first.values())


def name_shortcuts(data: AuditData) -> list[str]:
    """Return a line for each shortcut beside the background, and for each that costs the model more than before."""
    lines = []
    for side, said in data.answers.items():
        for one in judge_insertions(said, data.truth):
            if one.is_shortcut and one.pull is not None and one.excess is not None:
                pulled, where = one.pull.percent().strip(), data.name_of(one.pulls_to)
                lines.append(
                    f"{side}: shortcut: {one.name} pulls {pulled} of the others to {where}, "
                    f"{one.excess.points()} more than {name_control(one.control)}."
                )
    for name, rise in find_risen(data).items():
        lines.append(f"model: one shortcut for another: {name} costs {rise.points()} more than in the baseline.")
    regions = {name_region(number, one.words): one for number, one in enumerate(data.regions, start=1)}
    for name, effect in chain(regions.items(), ((one.name, one) for one in data.companions)):
        if effect.decides:
            lines.append(
                f"model: {name} beside the object decides: blurring it changes accuracy by {effect.accuracy.points()} "
                f"on {effect.accuracy.count} photos."
            )
    for told in most_telling(data.properties):
        lines.append(
            f"photos: {PROPERTIES[told.property]} tells {told.class_name} ({told.amount}; AUROC {told.surely:.2f}): a "
            "model can learn it instead of the object."
        )
    return lines


def name_region(number: int, words: Sequence[str]) -> str:
    """Return what a region is called: its number, and its nearest words if there are any."""
    return f"region {number}" + (f" ({', '.join(words)})" if words else "")


def _record_insertions(answers: Mapping[str, Sequence[int]], data: AuditData) -> list[dict[str, Any]]:
    return [
        asdict(one)
        | {"pulls_to": data.name_of(one.pulls_to) if one.pull else None, "is_shortcut": one.is_shortcut}
        | {"control": name_control(one.control)}
        for one in judge_insertions(answers, data.truth)
    ]


def summarise(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the summary of a record for programs.

    Returns:
        ``reliance`` (of the model), ``baseline_reliance``, ``photos`` (their number), ``metric`` (what decides),
        ``measures`` (mean, low, high and count in [0, 1]), ``shortcuts`` (each with its kind and name) and ``fails``
        (whether ``strong`` and ``any`` would fail; *cannot tell* fails neither).
    """
    verdict = record["verdict"]
    shortcuts = _list_shortcuts(record)
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


def _list_shortcuts(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the shortcuts of the model: insertions that pull, regions and objects that decide, and rises."""
    found: list[dict[str, Any]] = [
        {"kind": "inserted", "name": one["name"], "pulls_to": one["pulls_to"]}
        for one in record["inserted"].get("model", ())
        if one["is_shortcut"]
    ]
    found += [
        {"kind": "region", "name": name_region(number, region["words"]), "photos": len(region["photos"])}
        for number, region in enumerate(record["regions"], start=1)
        if region["decides"]
    ]
    found += [{"kind": "object", "name": one["name"]} for one in record["companions"] if one["decides"]]
    return found + [{"kind": "risen", "name": name} for name in record["risen"]]
