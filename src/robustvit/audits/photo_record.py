"""What the record of an audit says of single photos: answers, flips by class, and the worst case."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from robustvit.audits.audit_data import AuditData
from robustvit.audits.audited_photo import AuditedPhoto, Tried
from robustvit.audits.pictures import Case
from robustvit.audits.placements import PlacedAnswers
from robustvit.common.errors import printable


def record_photo(index: int, data: AuditData) -> dict[str, Any]:
    """Convert what was measured of a photo to plain values."""
    mask, labels = data.masks[index], data.model.photos[index].plain.labels
    return {
        "image": printable(str(data.files[index])),
        "mask": None if mask is None else printable(str(mask)),
        "class": data.names[index],
        "labels": None if labels is None else [data.name_of(label) for label in labels],
        "background": None if data.backgrounds is None else data.backgrounds.members[index],
        **{side: _record_side(one.photos[index], one.shifts.get(index), data) for side, one in data.sides.items()},
    }


def _record_side(photo: AuditedPhoto, shifted: PlacedAnswers | None, data: AuditData) -> dict[str, Any]:
    harmful, placed = photo.most_harmful, shifted.right.items() if shifted else ()
    return {
        "predicted": data.say(photo, photo.plain),
        "probability": photo.plain.probability,
        "right": photo.is_right,
        "values": photo.values,
        "answers": {name: data.say(photo, said) for name, said in photo.answers.items()},
        "swapped": [asdict(one) | {"predicted": data.say(photo, one)} for one in photo.plain.swapped],
        "turned": [_record_try(photo, one, data) for one in photo.turned],
        "most_harmful": None if harmful is None else _record_try(photo, harmful, data),
        "tried": [_record_try(photo, one, data) for one in photo.tried],
        "placed_on": shifted.background if shifted else None,
        "placed": [{**asdict(placement), "right": right} for placement, right in placed],
    }


def _record_try(photo: AuditedPhoto, one: Tried, data: AuditData) -> dict[str, Any]:
    return {
        "donor": one.donor,
        "donor_class": data.names[one.donor] if data.several else data.name_of(one.lent),
        "predicted": data.say(photo, one.answer),
        "probability": one.answer.probability,
        "own_class": one.answer.right,
    }


def record_case(case: Case | None, data: AuditData) -> dict[str, Any] | None:
    """Convert the worst case to plain values."""
    if case is None:
        return None
    photo = data.model.photos[case.index]
    flips = [_record_try(photo, one, data) for one in photo.turned if one.donor == case.donor]
    row = {"index": case.index, "donor": case.donor} | (flips[-1] if flips else {})
    return {name: value for name, value in row.items() if name != "own_class"}


def count_flips(data: AuditData) -> list[dict[str, Any]]:
    """Count by class the objects whose answer a background of another class flips, the most frequent first."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for side, one in data.sides.items():
        for photo, name in zip(one.photos, data.names, strict=True):
            for lent in {taken for tried in photo.tried for taken in photo.taken(tried)}:
                counts.setdefault((name, data.name_of(lent)), Counter())[side] += 1
    rows = [
        {"class": name, "background": lent, **{side: count[side] for side in data.sides}}
        for (name, lent), count in counts.items()
    ]
    return sorted(rows, key=lambda row: (-row["model"], row["class"], row["background"]))
