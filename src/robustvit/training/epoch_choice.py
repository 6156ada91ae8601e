"""The choice of the weights that a run keeps: whether validation photos can make it, and by which score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from robustvit.common.errors import UserError
from robustvit.common.outcomes import rank
from robustvit.common.progress import warn
from robustvit.common.wording import pluralize
from robustvit.data.gather import RunPhotos
from robustvit.data.photo import Photo
from robustvit.evaluation.deciding_metric import check_metric
from robustvit.evaluation.measured_intervals import measure_difference, measure_interval, measure_name
from robustvit.evaluation.metrics import ACCURACY, DECIDING, WORST_GROUP
from robustvit.evaluation.photo_measures import PhotoMeasure
from robustvit.evaluation.worst_group import MIN_GROUP
from robustvit.training.schedule import Schedule


def explain_no_choice(photos: Sequence[Photo]) -> UserError:
    """Return the error that says why validation photos cannot choose by swapped backgrounds."""
    classes = sorted({str(photo.class_name) for photo in photos if photo.label is not None})
    masked = [photo for photo in photos if photo.mask is not None]
    count = pluralize(len(photos), "validation photo")
    if len(classes) < 2:
        found = f"expected validation photos of at least two classes, found {' and '.join(classes) or 'none'}"
    elif not masked:
        found = f"expected validation photos with masks, none of {count} has one"
    else:
        found = (
            f"expected validation photos whose object can be put on another background, none of {count} is: their "
            f"masks, such as {masked[0].mask}, cover nearly the whole frame, or lie outside what the model sees"
        )
    return UserError(
        f"{found}; swapped backgrounds choose for --select robust and --weight-interpolation auto: give others "
        "(--val-images), train on fewer photos (--samples-per-class), or use --recipe paper"
    )


def check_choice(schedule: Schedule, photos: Sequence[Photo]) -> None:
    """Refuse validation photos that cannot make the choice of a schedule."""
    labels, masked = {photo.label for photo in photos} - {None}, any(photo.mask is not None for photo in photos)
    if schedule.chooses_by_swaps and (not masked or len(labels) < 2):
        raise explain_no_choice(photos)


def check_metric_choice(schedule: Schedule, gathered: RunPhotos) -> list[str]:
    """Refuse a metric that the photos of a run cannot have; return a note if it decides the verdict alone."""
    for photos in (gathered.verdict, gathered.validation if schedule.chooses_by_swaps else []):
        if photos:
            check_metric(schedule.metric, photos)
    if schedule.metric == ACCURACY or schedule.chooses_by_swaps:
        return []
    note = (
        f"--metric {schedule.metric} decides the verdict alone: the epoch is chosen by --select {schedule.select}. "
        "With --select robust the metric chooses it."
    )
    warn(note)
    return [note]


def check_measured(metric: str, found: Sequence[PhotoMeasure]) -> None:
    """Refuse a metric without a value on the measured validation photos, before anything is trained.

    ``check_metric`` counts all photos; here only those count whose object could be put on another background.
    """
    if all(measure_interval(found, measure_name(metric, kind)) for kind in ("ordinary", "mixed-other")):
        return
    if metric != WORST_GROUP:
        raise UserError(
            f"expected validation photos whose answers give {DECIDING[metric]}, on their own and on other backgrounds, "
            "got none: give other photos (--val-images), or use another --metric"
        )
    sizes = Counter(one.group for one in found if one.group is not None)
    able = Counter(one.group for one in found if one.group is not None and "mixed-other" in one.values)
    lacking = [
        f"{able[group]} of {size} in {group}" for group, size in sorted(sizes.items()) if able[group] < MIN_GROUP
    ]
    shown = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more such groups" if len(lacking) > 3 else "")
    raise UserError(
        f"expected two groups with {MIN_GROUP} validation photos or more whose object can be put on another background "
        f"for --metric {WORST_GROUP}, got {shown or pluralize(len(sizes), 'group')}: give more validation photos "
        "(--val-images), or use another --metric"
    )


def robust_score(
    before: list[PhotoMeasure], now: list[PhotoMeasure], max_drop: float, metric: str = ACCURACY
) -> dict[str, float]:
    """Return the accuracies of an epoch and the score to minimise, for ``--select robust``; see ``rank``.

    A metric other than accuracy decides the score, and is returned too.
    """
    kinds = {name: measure_name(metric, name) for name in ("mixed-other", "ordinary")}
    gain, ordinary = (measure_difference(before, now, name) for name in kinds.values())
    if gain is None:
        raise UserError("expected photos on backgrounds of other classes for --select robust: use --select loss")
    shifted, plain = (measure_interval(now, name) for name in ("mixed-other", "ordinary"))
    found = {"val_ordinary": plain, "val_mixed_other": shifted}
    if metric != ACCURACY:
        found |= {
            f"val_{metric.replace('-', '_')}_{k.replace('-', '_')}": measure_interval(now, n) for k, n in kinds.items()
        }
    return {name: value.mean for name, value in found.items() if value} | {"score": -rank(gain, ordinary, max_drop)}
