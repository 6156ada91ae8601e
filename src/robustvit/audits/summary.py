"""Measures over photos: means with intervals, by class, compared with chance and with another model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean

from robustvit.audits.audited_photo import AuditedPhoto
from robustvit.audits.measures import AUDIT_MEASURES, DIFFERENCES
from robustvit.common.intervals import (
    ClusteredAnswers,
    Interval,
    crossed_difference,
    crossed_interval,
    mean_interval,
    paired_difference,
)
from robustvit.common.verdict_files import Comparison

_PLACED = ("position", "size", "rotation")
# On backgrounds that photos share.
_SHARED = ("mixed-same", "mixed-other", "mixed-rand", "turned", *_PLACED)
_NO_SHARES = ("energy", "uniform", "miou")  # neither predictions nor shares of predictions
_CHANCE = ("ordinary", "mixed-same", "only-fg", "only-bg-t", "only-bg-b", "no-fg")


@dataclass(frozen=True)
class Beyond:
    """An accuracy compared with chance.

    Attributes:
        chance: accuracy if the same answers were assigned to the photos at random: the sum over classes of the share of
            photos times the share of answers (the expected agreement of Cohen's kappa).
        excess: accuracy minus chance, with an interval over photos and, if backgrounds were swapped, over backgrounds.
    """

    chance: float
    excess: Interval


def beyond_chance(
    labels: Sequence[Hashable],
    answers: Sequence[Sequence[Hashable]],
    donors: Sequence[Sequence[int]] | None = None,
) -> Beyond:
    """Compare answers with chance; see ``Beyond``.

    Args:
        labels: class of each photo, or all its classes together.
        answers: predicted classes of each photo, one or more of equal weight.
        donors: photo whose background each answer belongs to, if backgrounds were swapped.
    """
    shares = {label: count / len(labels) for label, count in Counter(labels).items()}
    lucky = [[shares.get(one, 0.0) for one in said] for said in answers]
    right = [[float(one == label) for one in said] for label, said in zip(labels, answers, strict=True)]
    if donors is not None:
        places = [index for index, said in enumerate(answers) for _ in said]
        lent = list(chain(*donors))
        excess = crossed_difference(
            ClusteredAnswers(list(chain(*lucky)), places, lent), ClusteredAnswers(list(chain(*right)), places, lent)
        )
    else:
        excess = paired_difference(list(map(fmean, lucky)), list(map(fmean, right)), shares=True)
    return Beyond(fmean(map(fmean, lucky)), excess)


def beyond_chances(photos: Sequence[AuditedPhoto]) -> dict[str, Beyond]:
    """Compare with chance every accuracy for which chance is meaningful, by measure."""
    found = {}
    for measure in _CHANCE:
        said = [(photo.truth, answers) for photo in photos if (answers := _answers_to(photo, measure))]
        if said:
            lent = [[donor for _, donor in answers] for _, answers in said] if measure.startswith("mixed-") else None
            labels = [label for label, _ in said]
            found[measure] = beyond_chance(labels, [[one for one, _ in answers] for _, answers in said], lent)
    return found


def _answers_to(photo: AuditedPhoto, measure: str) -> list[tuple[Hashable, int]]:
    """Return the predicted classes, each with the photo that lent the background (-1 for the original background)."""
    read = photo.plain.read
    if measure == "ordinary":
        return [(read(photo.plain), -1)]
    if measure.startswith("mixed-"):
        return [(read(one), one.donor) for one in photo.plain.swapped if one.kind == measure]
    return [(read(photo.answers[measure]), -1)] if measure in photo.answers else []


def means(photos: Sequence[AuditedPhoto], names: Sequence[str] = tuple(AUDIT_MEASURES)) -> dict[str, Interval]:
    """Return the means of the measures that apply, with intervals."""
    having = {name: [photo for photo in photos if name in photo.values] for name in names}
    return {name: _average(name, able) for name, able in having.items() if able}


def _average(name: str, photos: Sequence[AuditedPhoto]) -> Interval:
    """Return the mean of a measure that all photos have; on shared backgrounds the interval covers these too."""
    if name in DIFFERENCES:
        kind, less = (_shared_answers(photos, one) for one in DIFFERENCES[name])
        return crossed_difference(less, kind)
    if name in _SHARED:
        return crossed_interval(_shared_answers(photos, name))
    return mean_interval([photo.values[name] for photo in photos], shares=name not in _NO_SHARES)


def _shared_answers(photos: Sequence[AuditedPhoto], name: str) -> ClusteredAnswers:
    """Return the answers on other photos' backgrounds.

    The values tell whether they are right, for ``turned`` whether they are flipped, and for moved objects the share
    that is right.
    """
    if name in _PLACED:
        return ClusteredAnswers(
            *zip(*((one.values[name], at, one.placed_on) for at, one in enumerate(photos)), strict=True)
        )
    if name == "turned":
        rows = [(one in photo.turned, index, one.donor) for index, photo in enumerate(photos) for one in photo.tried]
    else:
        rows = [
            (said == photo.truth, index, donor)
            for index, photo in enumerate(photos)
            for said, donor in _answers_to(photo, name)
        ]
    return ClusteredAnswers(*map(list, zip(*rows, strict=True)))


def _contrast(photos: Sequence[AuditedPhoto], name: str) -> ClusteredAnswers:
    """Return one of ``DIFFERENCES`` as values of answers, whose mean over a photo is the photo's difference."""
    kind, less = DIFFERENCES[name]
    rows = []
    for index, photo in enumerate(photos):
        right = {one: [(said == photo.truth, donor) for said, donor in _answers_to(photo, one)] for one in (kind, less)}
        both = len(right[kind]) + len(right[less])
        for one, sign in ((kind, 1), (less, -1)):
            rows += [(sign * both / len(right[one]) * said, index, donor) for said, donor in right[one]]
    return ClusteredAnswers(*map(list, zip(*rows, strict=True)))


def compare_photos(
    before: Sequence[AuditedPhoto], after: Sequence[AuditedPhoto], names: Sequence[str] = tuple(AUDIT_MEASURES)
) -> dict[str, Comparison]:
    """Compare the measures that two models both have over the same photos, with paired differences."""
    found = {}
    for name in names:
        pairs = [(b, a) for b, a in zip(before, after, strict=True) if name in b.values and name in a.values]
        if pairs:
            old, new = [b for b, _ in pairs], [a for _, a in pairs]
            found[name] = Comparison(name, _average(name, old), _average(name, new), _compare(name, old, new))
    return found


def _compare(name: str, before: Sequence[AuditedPhoto], after: Sequence[AuditedPhoto]) -> Interval:
    if name in DIFFERENCES:
        return crossed_difference(_contrast(before, name), _contrast(after, name))
    if name in _SHARED:
        return crossed_difference(_shared_answers(before, name), _shared_answers(after, name))
    old, new = ([photo.values[name] for photo in side] for side in (before, after))
    return paired_difference(old, new, shares=name not in _NO_SHARES)
