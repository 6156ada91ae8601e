"""Validation photos that cannot choose are refused, by what they lack: classes or masks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from robustvit import UserError
from robustvit.data.photo import Photo
from robustvit.training.choice import check_choice, no_choice
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
    said = str(no_choice(TWO))
    assert "cover nearly the whole frame" in said
    assert "two classes" not in said
