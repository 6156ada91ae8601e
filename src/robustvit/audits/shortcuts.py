"""Shortcuts beside the background, in the record of an audit and in lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from robustvit.audits.properties import PROPERTIES
from robustvit.evaluation.insertions import CONTROL
from robustvit.evaluation.pulls import RISE, judge_insertions, risen_costs

if TYPE_CHECKING:
    from robustvit.audits.audit_data import AuditData
    from robustvit.audits.properties import PropertyAudit, Telling
    from robustvit.audits.region import Region
    from robustvit.common.intervals import Interval


def shortcut_record(data: AuditData) -> dict[str, Any]:
    """Convert what was put in, and what properties of the files say, to plain values."""
    return {
        "named": name_shortcuts(data),
        "inserted": {side: _inserted(said, data) for side, said in data.answers.items()},
        "risen": {name: asdict(rise) for name, rise in find_risen(data).items()},
        "regions": [_region(one) for one in data.regions],
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
    for number, region in enumerate(data.regions, start=1):
        if region.decides:
            words = f" ({', '.join(region.words)})" if region.words else ""
            lines.append(
                f"model: region {number}{words} beside the object decides: blurring it changes accuracy by "
                f"{region.accuracy.points()} on {region.tested} photos."
            )
    lines += [
        f"model: {one.name} beside the object decides: blurring it changes accuracy by {one.accuracy.points()} on "
        f"{one.accuracy.count} photos."
        for one in data.companions
        if one.decides
    ]
    for told in most_telling(data.properties):
        lines.append(
            f"photos: {PROPERTIES[told.property]} tells {told.class_name} ({told.amount}; AUROC {told.surely:.2f}): a "
            "model can learn it instead of the object."
        )
    return lines


def _region(region: Region) -> dict[str, Any]:
    return {
        "share": region.share,
        "classes": region.classes,
        "photos": region.photos,
        "accuracy": asdict(region.accuracy),
        "against_others": asdict(region.against_others),
        "baseline": region.baseline and asdict(region.baseline),
        "risen": region.risen and asdict(region.risen),
        "probability": asdict(region.probability),
        "decided": region.decided,
        "decides": region.decides,
        "tested": region.tested,
        "words": list(region.words),
        "centre": list(region.centre),
        "reach": region.reach,
        "patches": [asdict(one) for one in region.patches],
        "shown": [asdict(one) for one in region.shown],
    }


def _inserted(answers: Mapping[str, Sequence[int]], data: AuditData) -> list[dict[str, Any]]:
    return [
        asdict(one)
        | {"pulls_to": data.name_of(one.pulls_to) if one.pull else None, "is_shortcut": one.is_shortcut}
        | {"control": name_control(one.control)}
        for one in judge_insertions(answers, data.truth)
    ]
