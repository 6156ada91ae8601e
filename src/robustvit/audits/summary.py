"""Measures of photos put together: means with intervals, by class, above chance, and against another model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from robustvit.audits.measures import AUDIT_MEASURES, AuditedPhoto
from robustvit.intervals import Interval, mean_interval, paired_difference
from robustvit.verdict import Comparison

__all__ = ["Beyond", "beyond_chance", "beyond_chances", "by_class", "compare_photos", "means"]

_CHANCE = ("ordinary", "mixed-same", "only-fg", "only-bg-t", "only-bg-b", "no-fg")


@dataclass(frozen=True)
class Beyond:
    """An accuracy held against chance.

    Attributes:
        chance: accuracy if the same answers were dealt out to the photos at random: the sum over classes of the share
            of photos times the share of answers (the expected agreement of Cohen's kappa).
        excess: accuracy minus chance, with an interval over photos.
    """

    chance: float
    excess: Interval


def beyond_chance(labels: Sequence[int], answers: Sequence[Sequence[int]], seed: int = 0) -> Beyond:
    """Hold answers against chance; see ``Beyond``.

    Args:
        labels: class of each photo.
        answers: classes predicted for each photo, one or more of equal weight.
        seed: of the bootstrap.
    """
    shares = {label: count / len(labels) for label, count in Counter(labels).items()}
    lucky = [sum(shares.get(one, 0.0) for one in said) / len(said) for said in answers]
    right = [sum(one == label for one in said) / len(said) for label, said in zip(labels, answers, strict=True)]
    return Beyond(sum(lucky) / len(lucky), paired_difference(lucky, right, shares=True))


def beyond_chances(photos: Sequence[AuditedPhoto], seed: int = 0) -> dict[str, Beyond]:
    """Every accuracy of a model that means something beside chance, by measure."""
    found = {}
    for measure in _CHANCE:
        said = [(photo.label, answers) for photo in photos if (answers := _answers_to(photo, measure))]
        if said:
            found[measure] = beyond_chance([label for label, _ in said], [answers for _, answers in said], seed)
    return found


def means(
    photos: Sequence[AuditedPhoto], seed: int = 0, names: Sequence[str] = tuple(AUDIT_MEASURES)
) -> dict[str, Interval]:
    """Measures of a model over photos, with intervals, as far as they apply."""
    values = {name: [p.values[name] for p in photos if name in p.values] for name in names}
    return {name: _interval(name, found, seed) for name, found in values.items() if found}


def _interval(name: str, values: Sequence[float], seed: int) -> Interval:
    """Wilson's interval is for shares, and a gap of 0 and 1 only is none: it has the interval of a difference."""
    if name == "gap":
        return paired_difference([0.0] * len(values), values, shares=True)
    return mean_interval(values)


def _answers_to(photo: AuditedPhoto, measure: str) -> list[int]:
    if measure == "ordinary":
        return [photo.plain.predicted]
    if measure.startswith("mixed-"):
        return [one.predicted for one in photo.plain.swapped if one.kind == measure]
    return [photo.answers[measure]] if measure in photo.answers else []


def compare_photos(
    before: Sequence[AuditedPhoto],
    after: Sequence[AuditedPhoto],
    seed: int = 0,
    names: Sequence[str] = tuple(AUDIT_MEASURES),
) -> dict[str, Comparison]:
    """Measures of two models over the same photos, with paired differences, as far as both have them."""
    found = {}
    for name in names:
        pairs = [(b.values[name], a.values[name]) for b, a in zip(before, after, strict=True)
                 if name in b.values and name in a.values]  # fmt: skip
        if pairs:
            old, new = [b for b, _ in pairs], [a for _, a in pairs]
            change = paired_difference(old, new)
            found[name] = Comparison(name, _interval(name, old, seed), _interval(name, new, seed), change)
    return found


def by_class(names: Sequence[str]) -> dict[str, list[int]]:
    """Indices of the photos of each class, in the order of the names."""
    members: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        members.setdefault(name, []).append(index)
    return dict(sorted(members.items()))
