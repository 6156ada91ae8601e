"""Rivals that train nothing: views of the object against slow loops, their measures photo by photo, and who wins."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.drawn_photos import CLASSES
from helpers.small_models import tiny_network
from robustvit import Classifier, UserError, evaluate, relevance
from robustvit.common.intervals import for_several, paired_difference
from robustvit.data.backgrounds import Backgrounds
from robustvit.data.class_matching import match_labels
from robustvit.data.datasets import MaskedPhotos, SwappedPhotos
from robustvit.data.find_photos import find_photos
from robustvit.data.swaps import ObjectBox
from robustvit.evaluation.measure import measure
from robustvit.evaluation.measuring import MeasureSettings
from robustvit.evaluation.object_views import VIEWS, crop_window
from robustvit.evaluation.photo_measures import PhotoMeasure, Swapped
from robustvit.evaluation.rival_results import RivalBar, ask_about_objects, judge_rivals
from robustvit.evaluation.rivals import RivalPlan, fewer_swaps, find_objects, measure_rivals

PLAN = RivalPlan(("crop", "mask", "blur"))


def plain_window(box, height, width, margin):
    """The smallest integer window by search: of the frame's shape, holding the box and its margin where it can."""
    longer = max(box.bottom - box.top, box.right - box.left)
    rows, columns = box.bottom - box.top + 2 * margin * longer, box.right - box.left + 2 * margin * longer
    return min(1.0, max(rows / height, columns / width))


@pytest.mark.parametrize("margin", [0.0, 0.1, 1.0])
def test_a_crop_holds_its_object_and_has_the_shape_of_the_frame(margin):
    rng = np.random.default_rng(0)
    for _ in range(200):
        height, width = rng.integers(8, 60, size=2).tolist()
        top, left = int(rng.integers(height - 1)), int(rng.integers(width - 1))
        box = ObjectBox(top, left, int(rng.integers(top + 1, height + 1)), int(rng.integers(left + 1, width + 1)))
        window = crop_window(box, height, width, margin)
        assert 0 <= window.top < window.bottom <= height
        assert 0 <= window.left < window.right <= width
        share = plain_window(box, height, width, margin)
        assert window.bottom - window.top == max(1, round(share * height))
        assert window.right - window.left == max(1, round(share * width))
        # Whole pixels: the window may miss the box by the rounding of its own size, never by more.
        assert window.top <= box.top + 1
        assert window.bottom >= box.bottom - 1
        assert window.left <= box.left + 1
        assert window.right >= box.right - 1


def test_views_show_the_object_and_hide_the_rest():
    images = torch.rand(2, 3, 32, 40, generator=torch.Generator().manual_seed(1))
    objects = torch.zeros(2, 1, 32, 40)
    objects[:, :, 10:20, 12:22] = 1
    found = {name: view(images, objects) for name, view in VIEWS.items()}
    inside = objects.bool().expand_as(images)
    for name in ("mask", "blur"):
        assert torch.equal(found[name][inside], images[inside]), name
    assert not found["mask"][~inside].any()
    assert found["blur"][~inside].std() < images[~inside].std() / 2
    top, left, bottom, right = crop_window(ObjectBox(10, 12, 20, 22), 32, 40)
    cut = images[:, :, top:bottom, left:right]
    plain = torch.nn.functional.interpolate(cut, size=(32, 40), mode="bilinear", antialias=True)
    assert torch.allclose(found["crop"], plain)


@pytest.mark.parametrize("view", VIEWS.values(), ids=list(VIEWS))
def test_a_picture_without_an_object_stays_as_it_is(view):
    images = torch.rand(2, 3, 24, 24)
    objects = torch.zeros(2, 1, 24, 24)
    objects[1, 0, 4:9, 4:9] = 1
    assert torch.equal(view(images, objects)[0], images[0])
    assert not torch.equal(view(images, objects)[1], images[1])


def flood(inside, start):
    """The connected part of a start, neighbours above, below and beside it."""
    waiting, found = [start], set()
    while waiting:
        row, column = waiting.pop()
        if (row, column) in found or not (0 <= row < len(inside) and 0 <= column < len(inside[0])):
            continue
        if inside[row][column]:
            found.add((row, column))
            waiting += [(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)]
    return found


def test_the_object_is_the_connected_part_with_most_relevance():
    maps = torch.rand(3, 1, 9, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    maps[2] = 0.4
    found = find_objects(maps)
    for one, objects in zip(maps[:2, 0], found[:2, 0], strict=True):
        inside = (one > one.mean()).tolist()
        parts = {frozenset(flood(inside, (r, c))) for r in range(9) for c in range(7) if inside[r][c]}
        best = max(parts, key=lambda part: sum(float(one[at]) for at in part))
        assert {tuple(at) for at in objects.nonzero().tolist()} == set(best)
    assert not found[2].any(), "a constant map has no object"


@pytest.fixture(scope="module")
def classifier():
    return Classifier(tiny_network(), class_names=CLASSES)


@pytest.fixture(scope="module")
def dataset(photos, classifier):
    return MaskedPhotos(match_labels(find_photos(*photos), 3, CLASSES), classifier.preprocessing)


@pytest.fixture(scope="module")
def plain(classifier, dataset):
    return measure(classifier, dataset, MeasureSettings(swaps=1, backgrounds="textures"))


@pytest.mark.parametrize("ahead", [True, False])
def test_a_rival_that_is_behind_on_the_first_photos_is_not_asked_about_the_others(classifier, dataset, plain, ahead):
    few, asked = fewer_swaps(plain, ("unseen",), 1), []
    turned = [replace(one, predicted=one.label if not ahead else -1, values={"ordinary": float(not ahead)},
                      swapped=[replace(s, predicted=one.label if not ahead else -1) for s in one.swapped])
              for one in few]  # fmt: skip
    for one in turned:
        one.rate_swaps()
    bar = RivalBar("the original", ("the guided model", turned))
    hook = classifier.register_forward_pre_hook(lambda _, given: asked.append(len(given[0])))
    plan, settings = replace(PLAN, kinds=("mask",)), MeasureSettings(backgrounds="textures")
    found = ask_about_objects(classifier, dataset, few, replace(plan, first=12), settings, bar)
    several = sum(asked)
    whole = ask_about_objects(classifier, dataset, few, plan, settings, bar)
    hook.remove()
    assert (several == sum(asked) - several) == ahead
    if ahead:
        assert found == whole
        assert not found.left_out
    else:
        assert found.left_out.startswith("Asked about 12 of 30 photos: none is ahead on these. --at-inference mask")
        assert found.left_out in str(found)
        assert {one.difference.count for rival in found.rivals for one in rival.comparisons} == {12}


@pytest.mark.parametrize("by", ["relevance", "masks"])
def test_rivals_are_measured_on_the_pictures_that_the_model_was_measured_on(classifier, dataset, plain, by):
    plan = replace(PLAN, by=by)
    found = measure_rivals(classifier, dataset, plain, plan, MeasureSettings(backgrounds="textures", batch_size=7))
    assert list(found) == ["crop", "crop and photo", "mask", "mask and photo", "blur", "blur and photo"]
    textures = Backgrounds("textures", dataset.preprocessing)

    def picture(index, swap):
        if swap is None:
            return dataset[index]
        if swap.kind == "unseen":
            item = dataset[index]
            return item | {"image": torch.where(item["mask"] > 0.5, item["image"], textures[swap.donor])}
        return SwappedPhotos(dataset, [(index, swap.donor)])[0]

    for index in (0, 17):
        for place, swap in [(-1, None), *enumerate(plain[index].swapped)]:
            item = picture(index, swap)
            image = item["image"][None]
            whole = classifier(image).softmax(dim=1)
            objects = item["mask"][None] if by == "masks" else find_objects(relevance(classifier, image).detach())
            for kind in plan.kinds:
                alone = classifier(VIEWS[kind](image, objects)).softmax(dim=1)
                for name, expected in ((kind, alone), (f"{kind} and photo", (alone + whole) / 2)):
                    said = found[name][index] if swap is None else found[name][index].swapped[place]
                    assert said.probability == pytest.approx(float(expected.detach().max()), abs=1e-4), (name, swap)
    for index, photo in enumerate(found["crop"]):
        kinds = {swap.kind for swap in photo.swapped}
        assert kinds == {swap.kind for swap in plain[index].swapped}
        for kind in kinds:
            right = [swap.predicted == photo.label for swap in photo.swapped if swap.kind == kind]
            assert photo.values[kind] == sum(right) / len(right)


def test_fewer_swaps_keep_the_first_of_the_kinds_asked_for(classifier, dataset):
    every = measure(classifier, dataset, MeasureSettings(swaps=2))
    few = fewer_swaps(every, ("mixed-other",), 1)
    for old, new in zip(every, few, strict=True):
        assert new.swapped == [one for one in old.swapped if one.kind == "mixed-other"][:1]
        assert set(new.values) <= {"ordinary", "mixed-other"}
        assert all(new.values["mixed-other"] == (one.predicted == new.label) for one in new.swapped)


def answers(right, wrong=0):
    """Measures of 40 photos: of the swapped ones ``right`` are right; of the ordinary ones ``wrong`` are wrong."""
    return [
        PhotoMeasure(f"{i}.png", 0, 0, 1.0, {"ordinary": float(i >= wrong), "mixed-other": float(i < right)},
                     [Swapped("mixed-other", 100 + i, int(i >= right), 1.0)])
        for i in range(40)
    ]  # fmt: skip


def test_a_rival_that_surely_gains_wins_over_the_model_that_would_be_used():
    plan = RivalPlan(("crop",))
    said = {"crop": answers(38), "crop and photo": answers(30)}
    bar = RivalBar("the original", ("the guided model", answers(12)))
    found = judge_rivals(answers(8), said, plan, bar)
    assert "the original cropped to the object (3 forward passes a photo instead of 1) is better" in found.winner
    assert "than the guided model" in found.winner
    changes = {one.measure: one for one in found.rivals[0].comparisons}
    assert changes["mixed-other"].difference.mean == pytest.approx(30 / 40)
    assert judge_rivals(answers(8), said, plan, RivalBar("it", ("the guided model", answers(38)))).winner == ""


def grouped(large, small, scores=None):
    """Measures of 300 photos of one group and 40 of another, with these shares of right answers everywhere."""
    found = []
    for group, count, share in (("large", 300, large), ("small", 40, small)):
        for i in range(count):
            said = int(i >= share * count)
            found.append(PhotoMeasure(
                f"{group}{i}.png", 0, said, 1.0, {"ordinary": 1.0 - said},
                [Swapped("mixed-other", 1000 + len(found), said, 1.0, scores or {})], group, scores or {},
            ))  # fmt: skip
            found[-1].rate_swaps()
    return found


def test_a_rival_is_judged_by_the_worst_group_where_that_decides():
    plan, guided = RivalPlan(("crop",)), ("the guided model", grouped(0.75, 0.75))
    said = {"crop": grouped(0.99, 0.1), "crop and photo": grouped(0.99, 0.1)}
    assert "cropped" in judge_rivals(guided[1], said, plan, RivalBar("it", guided)).winner
    assert not judge_rivals(guided[1], said, plan, RivalBar("it", guided, metric="worst-group")).winner
    better = {name: grouped(0.99, 0.99) for name in said}
    poor = ("the guided model", grouped(0.9, 0.1))
    winner = judge_rivals(poor[1], better, plan, RivalBar("it", poor, metric="worst-group")).winner
    assert "of accuracy in the worst group on backgrounds of other classes" in winner
    assert "of ordinary accuracy in the worst group" in winner


def test_no_rival_is_named_by_a_metric_that_needs_scores():
    plain, said = grouped(0.5, 0.5, {0: 0.5}), {"crop": grouped(0.99, 0.99), "crop and photo": grouped(0.99, 0.99)}
    found = judge_rivals(plain, said, RivalPlan(("crop",)), RivalBar(metric="auroc"))
    assert found.winner == ""
    assert "compared by accuracy only" in str(found)


def test_a_rival_keeps_the_groups_of_photos_and_not_the_scores_of_the_model(classifier, dataset):
    settings = MeasureSettings(swaps=1)
    whole = [replace(one, group="north") for one in measure(classifier, dataset, settings)]
    device = classifier.mean.device
    found = measure_rivals(classifier, dataset, whole, RivalPlan(("mask",)), settings, device=device)["mask"]
    assert {one.group for one in found} == {"north"}
    assert not any(one.scores or any(swap.scores for swap in one.swapped) for one in found)


def test_a_rival_that_loses_too_much_ordinary_accuracy_does_not_win():
    said = {"crop": answers(38, wrong=20), "crop and photo": answers(9)}
    assert judge_rivals(answers(8), said, RivalPlan(("crop",))).winner == ""


def test_the_best_of_several_rivals_that_change_nothing_seldom_wins():
    """Six rivals whose answers change at random, half for the better: one in 20 wins at most, less by both sides."""
    rng = np.random.default_rng(5)
    won = 0
    for _ in range(300):
        changes = rng.choice([-1.0, 0.0, 1.0], p=[0.15, 0.7, 0.15], size=(6, 80))
        before = (changes < 0).astype(float)
        won += any(for_several(paired_difference(b, b + c), 6).low > 0 for b, c in zip(before, changes, strict=True))
    assert won <= 0.05 * 300


@pytest.mark.parametrize(
    ("kinds", "by", "passes"),
    [(("crop",), "relevance", (3, 3)), (("mask",), "masks", (1, 2))],
)
def test_the_cost_of_each_rival_is_known(kinds, by, passes):
    plan = RivalPlan(kinds, by)
    assert tuple(map(plan.passes, plan.names)) == passes
    assert RivalPlan(kinds, method="rollout").passes(kinds[0]) == 2


def test_passes_are_those_that_the_model_makes(classifier, dataset, plain):
    """Every picture: one pass for the map and one for each view; averages cost nothing more."""
    count = 0

    def watch(module, inputs, output):
        nonlocal count
        count += len(inputs[0])

    hook = classifier.network.register_forward_hook(watch)
    try:
        measure_rivals(classifier, dataset, fewer_swaps(plain, (), 0), PLAN, MeasureSettings())
    finally:
        hook.remove()
    assert count == len(dataset) * (1 + len(PLAN.kinds))


def test_evaluate_prints_and_records_rivals(photos, model_folder, tmp_path):
    images, masks = map(str, photos)
    out = tmp_path / "found.json"
    found = evaluate(
        model=str(model_folder), images=images, masks=masks, at_inference="crop,blur", swaps=1, out=str(out)
    )
    text = str(found)
    assert "without training, the model shown the object alone, found in each picture by" in text
    assert "cropped to the object (3 passes a photo)" in text
    assert "None of them is shown" in text
    record = json.loads(out.read_text())
    assert [one["name"] for one in record["at_inference"]["rivals"]] == [
        "crop", "crop and photo", "blur", "blur and photo",
    ]  # fmt: skip
    assert record["settings"]["at_inference"] == "crop,blur"


def test_with_a_baseline_it_is_the_baseline_that_is_used_so(photos, model_folder):
    images, masks = map(str, photos)
    found = evaluate(
        model=str(model_folder), baseline=str(model_folder), images=images, masks=masks, swaps=1,
        at_inference=["mask"], object_by="masks",
    )  # fmt: skip
    assert found.at_inference.who == "the baseline"
    assert "without masks of the photos it is used on" in str(found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at_inference": "crob"}, "crop"),
        ({"at_inference": "crop", "object_by": "masks", "masks": None}, "--masks"),
        ({"at_inference": "crop", "on": "imagenet-a"}, "--at-inference"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(photos, model_folder, options, message):
    given = {"images": str(photos[0]), "masks": str(photos[1])} | options
    with pytest.raises(UserError, match=message):
        evaluate(model=str(model_folder), **given)
