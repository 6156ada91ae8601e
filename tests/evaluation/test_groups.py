"""Measures by group: counted by hand, what is too small to be the worst, and the chart."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from robustvit import UserError
from robustvit.evaluation.group_chart import draw_groups
from robustvit.evaluation.group_report import read_groups
from robustvit.evaluation.groups import report_groups
from robustvit.evaluation.photo_measures import PhotoMeasure


def measured(answers):
    """Measures of photos, from right and wrong answers by group."""
    return [
        PhotoMeasure(f"{group}{number}.png", 0, 1 - one, 0.9, {"ordinary": float(one)}, group=group)
        for group, ones in answers.items()
        for number, one in enumerate(ones)
    ]


OLD = measured({"a": [1] * 9 + [0], "b": [1] * 4 + [0] * 6, "c": [0, 0], None: [1, 1, 1]})
NEW = measured({"a": [1] * 8 + [0] * 2, "b": [1] * 7 + [0] * 3, "c": [1, 0], None: [1, 1, 1]})


def test_every_group_the_worst_the_gap_and_the_means_are_those_counted_by_hand():
    found = report_groups(NEW, OLD, {"a": 30, "b": 10})
    assert [(row.group, row.photos, row.training) for row in found.rows] == [("b", 10, 10), ("a", 10, 30), ("c", 2, 0)]
    assert found.after.worst_group == "b"
    assert (found.after.worst.mean, found.before.worst.mean) == (0.7, 0.4)
    assert found.after.gap.mean == pytest.approx(0.1)
    assert found.after.mean.mean == pytest.approx(0.75)
    assert found.after.weighted.mean == pytest.approx((30 * 0.8 + 10 * 0.7) / 40)
    assert found.changes["worst"].mean == pytest.approx(0.3)
    assert found.changes["weighted"].mean == pytest.approx((30 * -0.1 + 10 * 0.3) / 40)
    assert found.rows[0].changes["ordinary"].mean == pytest.approx(0.3)


def test_what_counts_in_no_row_or_cannot_be_the_worst_is_named():
    notes = " ".join(report_groups(NEW, OLD, {"a": 30, "b": 10}).notes)
    assert "3 photos of no known group" in notes
    assert "fewer than 5 photos cannot be the worst, and count in no mean over groups: c." in notes
    assert "lower than the true one on average" in notes


def test_groups_that_did_not_train_have_no_weight_and_are_named():
    found = report_groups(NEW, None, {"a": 30})
    assert found.after.weighted.mean == pytest.approx(0.8)
    assert any("with weight zero: b." in note for note in found.notes)
    assert report_groups(NEW, None, {"z": 3}).after.weighted is None
    assert any("not here, so not in the means: z." in note for note in report_groups(NEW, None, {"a": 3, "z": 3}).notes)
    assert report_groups(NEW).after.weighted is None


def test_without_groups_there_is_no_report_and_with_one_no_worst():
    assert report_groups(measured({None: [1, 0]})) is None
    one = report_groups(measured({"a": [1] * 6}))
    assert (len(one.rows), one.after) == (1, None)
    assert one.notes == ("No worst group, gap or mean: these need two groups of 5 photos or more; only a has as many.",)
    assert "none has as many" in report_groups(measured({"a": [1], "b": [0]})).notes[-1]


def test_a_report_is_read_back_from_json():
    found = report_groups(NEW, OLD, {"a": 30, "b": 10})
    assert read_groups(json.loads(json.dumps(asdict(found)))) == found
    with pytest.raises(UserError, match="holds no measures by group"):
        read_groups({"rows": [{"group": "a"}]})


def test_the_chart_draws_every_group_and_strange_names():
    found = report_groups(measured({"日本 $x$ & <b>": [1, 0, 1, 1, 0], "y" * 90: [1] * 6}))
    text = draw_groups(found)
    assert text.startswith("<svg")
    assert "日本" in text
    assert "<b>" not in text
    assert "y" * 90 not in text
