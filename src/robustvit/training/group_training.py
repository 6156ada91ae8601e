"""Groups in the training loop: which photos are drawn, how much they weigh, and the accuracy of the worst group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

from accelerate import Accelerator

from robustvit.common.errors import UserError
from robustvit.common.progress import warn
from robustvit.data.photo import Photo
from robustvit.evaluation.worst_group import MIN_GROUP
from robustvit.guidance.group_weights import GroupDRO, GroupWeighting, Reweighting
from robustvit.training.schedule import Schedule


def number_groups(photos: Sequence[Photo]) -> list[int]:
    """Return the number of each photo's group, from 0 in the order of their names."""
    names = sorted({photo.group for photo in photos if photo.group is not None})
    without = sum(photo.group is None for photo in photos)
    if without or len(names) < 2:
        found = f"{without} of {len(photos)} photos have no group" if without else f"found {', '.join(names)} only"
        raise UserError(
            f"expected training photos of at least two known groups, {found}: name the column or the folders with "
            "--group-by, or take more photos with --samples-per-class"
        )
    rank = {name: number for number, name in enumerate(names)}
    return [rank[str(photo.group)] for photo in photos]


def check_groups(schedule: Schedule, train: Sequence[Photo], validation: Sequence[Photo]) -> None:
    """Refuse photos without the groups that a schedule needs."""
    if schedule.group_method in ("sample", "reweight", "dro"):
        number_groups(train)
    if schedule.select == "worst-group":
        worst_accuracy(validation, [0] * len(validation))
        counts = Counter(photo.group for photo in validation if photo.group is not None)
        if few := [f"{name} ({count})" for name, count in sorted(counts.items()) if count < MIN_GROUP]:
            warn(
                f"--select worst-group: groups with few validation photos choose the epoch by chance: "
                f"{', '.join(few[:5])}. Give more with --val-images."
            )


def drawing_weights(photos: Sequence[Photo], schedule: Schedule) -> list[float] | None:
    """Return how often each photo is drawn, so that every group is drawn equally often; None if each is drawn once."""
    if schedule.group_method != "sample":
        return None
    groups = number_groups(photos)
    counts = Counter(groups)
    return [1 / counts[group] for group in groups]


def make_weighting(photos: Sequence[Photo], schedule: Schedule, accelerator: Accelerator) -> GroupWeighting | None:
    """Return the weights of groups in the loss, if the schedule weighs groups."""
    if schedule.group_method not in ("reweight", "dro"):
        return None
    counts = Counter(number_groups(photos))
    if schedule.group_method == "reweight":
        return Reweighting([counts[group] for group in range(len(counts))])
    reduce: Any = partial(accelerator.reduce, reduction="sum")
    return GroupDRO(len(counts), schedule.group_step, reduce)


def worst_accuracy(photos: Sequence[Photo], right: Sequence[int]) -> float:
    """Return the accuracy in the worst group; ``right`` is 1 for photos with a right answer, else 0.

    Photos without a group do not count.
    """
    answers: dict[str, list[int]] = {}
    for photo, one in zip(photos, right, strict=True):
        if photo.group is not None:
            answers.setdefault(photo.group, []).append(one)
    if len(answers) < 2:
        raise UserError(
            f"expected validation photos of at least two groups for --select worst-group, found {len(answers)}: name "
            "their column or folders with --group-by, or choose another --select"
        )
    return min(sum(group) / len(group) for group in answers.values())
