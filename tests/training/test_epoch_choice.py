"""Validation photos that cannot choose are refused, by what they lack: classes or masks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from robustvit import UserError
from robustvit.data.photo import Photo
from robustvit.evaluation.photo_measures import PhotoMeasure, Swapped
from robustvit.training.epoch_choice import check_choice, check_measured, explain_no_choice
from robustvit.training.schedule import Schedule

SWAPS = Schedule(select="robust")
TWO = [Photo(Path(f"{n}.jpg"), Path(f"{n}.png"), name, n) for n, name in enumerate(("cat", "dog"))]


@pytest.mark.parametrize(
    ("photos", "words"),
    [
        (TWO[:1], "at least two classes, found cat; .*--recipe paper"),
        ([replace(photo, mask=None) for photo in TWO], "with masks, none of 2 validation photos has one"),
    ],
)
def test_what_is_lacking_is_said(photos, words):
    with pytest.raises(UserError, match=words):
        check_choice(SWAPS, photos)
    check_choice(Schedule(select="loss"), photos)


def test_masks_that_leave_nothing_to_swap_are_not_called_a_lack_of_classes():
    check_choice(SWAPS, TWO)
    said = str(explain_no_choice(TWO))
    assert "cover nearly the whole frame" in said
    assert "two classes" not in said


def measured(group, able):
    values = {"ordinary": 1.0} | ({"mixed-other": 1.0} if able else {})
    swapped = [Swapped("mixed-other", 0, 0, 0.9), Swapped("mixed-other", 1, 0, 0.9)] if able else []
    return PhotoMeasure("x.png", 0, 0, 0.9, values, swapped, group)


def test_groups_whose_photos_cannot_be_put_on_other_backgrounds_are_named_before_training():
    """The small group has six photos, which is enough, but only four whose object can be pasted."""
    found = [measured("north", True) for _ in range(20)] + [measured("south", at < 4) for at in range(6)]
    with pytest.raises(UserError, match=r"two groups with 5 validation photos .* got 4 of 6 in south: .*--val-images"):
        check_measured("worst-group", found)
    check_measured("accuracy", found)
    check_measured("worst-group", [*found, measured("south", True)])


def test_scores_that_are_missing_refuse_a_metric_that_ranks():
    with pytest.raises(UserError, match=r"answers give .*got none: .*another --metric"):
        check_measured("auroc", [measured("north", True)] * 5)
