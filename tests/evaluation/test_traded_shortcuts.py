"""One shortcut for another: a guided model that a frame fools more than the original is told so, with an interval."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from helpers.small_models import SIZE
from robustvit.common.intervals import Interval
from robustvit.evaluation import traded_shortcuts
from robustvit.evaluation.measuring import draw_indices
from robustvit.evaluation.photo_measures import PhotoMeasure
from robustvit.evaluation.pulls import RISE, cost_rises, risen_costs
from robustvit.evaluation.traded_shortcuts import describe_trade, other_costs
from robustvit.models.classifier import Classifier, Preprocessing


class ByBrightness(nn.Module):
    """Class 1 for bright photos; with ``framed``, class 0 for all with a dark upper row."""

    num_classes = 2

    def __init__(self, framed):
        super().__init__()
        self.framed = framed
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, images):
        bright = self.weight * images[..., 8:-8, 8:-8].mean(dim=(1, 2, 3))
        if self.framed:
            bright = torch.where(images[..., 0, :].mean(dim=(1, 2)) < -0.95, -1.0, bright)
        return torch.stack([-bright, bright], dim=1)


def model(framed):
    return Classifier(ByBrightness(framed), preprocessing=Preprocessing((SIZE, SIZE), crop_share=1.0))


class Photos(torch.utils.data.Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, index):
        level = 0.2 if index % 2 == 0 else 0.8
        return {"image": torch.full((3, SIZE, SIZE), level)}


LABELS = [index % 2 for index in range(40)]


def measured(labels=LABELS):
    """Both models are right on the photos as they are."""
    one = [PhotoMeasure(str(at), label, at % 2, 1.0) for at, label in enumerate(labels)]
    return one, one


def test_a_frame_that_costs_only_the_second_model_is_named():
    risen = other_costs(model(False), model(True), Photos(), measured())
    assert list(risen) == ["black frame"]
    assert risen["black frame"].mean == pytest.approx(0.5)
    assert risen["black frame"].low > 0.05
    assert other_costs(model(True), model(False), Photos(), measured()) == {}
    assert other_costs(model(True), model(True), Photos(), measured()) == {}


def test_photos_without_a_class_do_not_count_and_many_are_thinned_out(monkeypatch):
    few = measured([None] * 10 + LABELS[10:])
    assert other_costs(model(False), model(True), Photos(), few)["black frame"].count == 30
    monkeypatch.setattr(traded_shortcuts, "MOST_PHOTOS", 20)
    assert other_costs(model(False), model(True), Photos(), few)["black frame"].count == 20


def counted(model, asked):
    """The model, and a list of how many pictures it was asked about at a time."""
    model.register_forward_pre_hook(lambda _, given: asked.append(len(given[0])))
    return model


@pytest.mark.parametrize(("framed", "pictures"), [(False, 4 * 9), (True, 4 * 9 + 31)])
def test_only_what_seems_to_cost_more_is_put_into_all_photos(monkeypatch, framed, pictures):
    monkeypatch.setattr(traded_shortcuts, "FIRST_PHOTOS", 9)
    asked = []
    found = other_costs(model(False), counted(model(framed), asked), Photos(), measured())
    assert sum(asked) == pictures, "four insertions into nine photos, and the frame into the other 31"
    assert [rise.count for rise in found.values()] == [40] * framed


def test_stopping_early_adds_no_false_alarms_and_misses_few_rises():
    """Answers drawn for 150 photos: the rule of two rounds against that of one, as ``other_costs`` applies them."""
    rng = np.random.default_rng(0)
    named = {}
    for rise in (0.0, 0.05, 0.2):
        one, two = 0, 0
        for _ in range(400):
            labels = np.zeros(150, int)
            before = {"": labels, "frame": (rng.random(150) < 0.15).astype(int)}
            after = {"": labels, "frame": np.where(rng.random(150) < rise, 1, before["frame"])}
            whole = bool(risen_costs(before, after, labels))
            first = [{name: said[::3] for name, said in side.items()} for side in (before, after)]
            one += whole
            two += whole and cost_rises(first[0], first[1], labels[::3])["frame"].mean > RISE
        named[rise] = one, two
    assert named[0.0][1] <= named[0.0][0] == 0
    assert named[0.05][1] <= named[0.05][0] <= 20, "of 400: a rise of what is allowed is not called one"
    assert named[0.2][1] >= 0.9 * named[0.2][0] > 200


def test_the_line_says_whether_backgrounds_gained():
    risen = {"black frame": Interval(0.5, 0.3, 0.7, 40)}
    (line,) = describe_trade(risen, Interval(0.2, 0.1, 0.3, 40))
    assert line.startswith("One shortcut for another: the model gained on backgrounds, but black frame")
    assert "+50.0 points [+30.0, +70.0]" in line
    (line,) = describe_trade(risen, Interval(0.0, -0.1, 0.1, 40))
    assert line.startswith("Beside the backgrounds, black frame")
    (line,) = describe_trade({"grey": Interval(0.1, 0.05, 0.15, 40)}, None)
    assert line.startswith("Beside the backgrounds, photos made grey cost it +10.0 points")
    assert describe_trade({}, None) == []


@pytest.mark.parametrize("count", [0, 30, 50, 51, 60, 101, 201, 400])
def test_what_is_asked_first_is_as_many_as_said_and_of_all_classes_though_they_alternate(count):
    found = draw_indices(range(count), 50)
    assert len(found) == len(set(found)) == min(50, count)
    assert found == sorted(found) == draw_indices(range(count), 50)
    for classes in (2, 3, 4, 8)[: 4 * (count > 0)]:
        assert {index % classes for index in found} == set(range(classes))
