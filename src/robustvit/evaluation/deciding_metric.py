"""The metric that decides a verdict: which metrics a model and its photos allow, and notes on the sizes of classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.options import HeadKind, MetricName
from robustvit.common.progress import warn
from robustvit.common.wording import pluralize
from robustvit.data.photo import Photo
from robustvit.evaluation.metrics import ACCURACY, DECIDING, METRICS, MOST_SCORED, OF_LABELS, WORST_GROUP
from robustvit.evaluation.worst_group import MIN_GROUP

UNBALANCED = 3  # times the photos of the smallest class: beyond, accuracy says little about the small classes
FEW = 20  # photos of a class: with fewer, average precision is too high by chance


def metric_for(head: HeadKind, asked: MetricName) -> MetricName:
    """Return the metric that decides: as asked for, except that mean average precision replaces accuracy for labels."""
    expect_one_of("--metric", asked, DECIDING)
    if head != "multi-label":
        return asked
    if asked not in (ACCURACY, *OF_LABELS, WORST_GROUP):
        fitting = ", ".join((*OF_LABELS, WORST_GROUP))
        raise UserError(f"expected --metric {fitting} for a multi-label model, got {asked}")
    return OF_LABELS[0] if asked == ACCURACY else asked


def check_metric(metric: str, photos: Sequence[Photo]) -> None:
    """Refuse a metric that these photos cannot have, before anything is measured."""
    expect_one_of("--metric", metric, DECIDING)
    if metric == WORST_GROUP:
        _check_groups(photos)
        return
    if any(photo.labels is not None for photo in photos):
        return  # each class is ranked by itself
    classes = len({photo.label for photo in photos} - {None})
    if METRICS[metric].needs_scores and not 2 <= classes <= MOST_SCORED:
        raise UserError(
            f"expected photos of 2 to {MOST_SCORED} classes for --metric {metric}, which ranks them by score, got "
            f"{pluralize(classes, 'class')}: use --metric balanced-accuracy"
        )


def _check_groups(photos: Sequence[Photo]) -> None:
    """Refuse photos that have no worst group."""
    sizes = Counter(photo.group for photo in photos if photo.group is not None)
    fair = sum(size >= MIN_GROUP for size in sizes.values())
    if fair < 2:
        way = "name their column or folders with --group-by" if not sizes else "take more photos of each"
        raise UserError(
            f"expected photos of two groups with {MIN_GROUP} photos or more for --metric {WORST_GROUP}, got "
            f"{pluralize(fair, 'such group')} among {pluralize(len(sizes), 'group')}: {way}, or use another --metric"
        )


def say_sizes(classes: Sequence[str | None], metric: str) -> list[str]:
    """Show and return a line if the sizes of the classes matter to the metric.

    It proposes balanced accuracy if accuracy would decide on classes of unequal size, and doubts an average precision
    over few photos.
    """
    counts = Counter(name for name in classes if name is not None)
    if len(counts) < 2:
        return []
    (most, many), (least, few) = counts.most_common()[0], min(counts.items(), key=lambda item: (item[1], item[0]))
    if metric == ACCURACY and many > UNBALANCED * few:
        note = (
            f"The largest class, {most}, has {pluralize(many, 'photo')}, the smallest, {least}, {few}: accuracy is "
            "mostly that of the large classes. Consider --metric balanced-accuracy, which counts every class the same."
        )
    elif metric == "average-precision" and few < FEW:
        note = (
            "Average precision is too high by chance where a class has few photos, and its interval does not cover "
            f"that: {least} has {few}. Consider --metric auroc."
        )
    else:
        return []
    warn(note)
    return [note]
