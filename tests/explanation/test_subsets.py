"""Sufficient input subsets against a closed form and a loop over pixels, and the command that draws them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn

from helpers.drawn_photos import CLASSES
from helpers.shipped import MODEL
from helpers.small_models import SIZE, tiny_network
from helpers.state import state_of
from robustvit import UserError, subset, sufficient_subset
from robustvit.cli import main as cli
from robustvit.data.embedded.scenes import make_scene
from robustvit.explanation.subsets.panel import draw_classes, find_classes
from robustvit.explanation.subsets.search import list_sizes
from robustvit.models.classifier import Classifier
from robustvit.models.load import load_model
from robustvit.models.weights import weights_hash


class Linear(nn.Module):
    """Class 1's log-odds are a weighted sum of the pixels of the first channel, plus a bias."""

    def __init__(self, weights, bias=0.0):
        super().__init__()
        self.weights, self.bias = nn.Parameter(weights), bias

    def forward(self, images):
        logit = (images[:, 0] * self.weights).sum(dim=(1, 2)) + self.bias
        return torch.stack([torch.zeros_like(logit), logit], dim=1)


@pytest.mark.parametrize("remove", [1, 5, 0.1])
@pytest.mark.parametrize("target", [0, 1])
def test_closed_form_of_a_linear_model(remove, target):
    """The gradient is each pixel's share of the log-odds, so the n largest shares are the best n pixels there are."""
    generator = torch.Generator().manual_seed(2)
    weights = torch.randn(8, 6, dtype=torch.float64, generator=generator)
    images = torch.rand(4, 3, 8, 6, dtype=torch.float64, generator=generator)
    found = sufficient_subset(Linear(weights), images, target, remove=remove)
    shares = (images[:, 0] * weights).flatten(1) * (1 if target else -1)
    for i in range(4):
        ordered = sorted(shares[i].tolist(), reverse=True)
        needed = next(n for n in range(49) if sum(ordered[:n]) >= math.log(9))
        assert int(found.size[i]) == needed
        assert set(shares[i][found.mask[i].flatten()].tolist()) == set(ordered[:needed])
        assert float(found.confidence[i]) == pytest.approx(1 / (1 + math.exp(-sum(ordered[:needed]))))
    assert found.found.all()
    assert torch.allclose(found.empty, torch.tensor(0.5).double())


def blended(places, image, fill):
    """A mask of ones at some places, and the image blended by it with the filling."""
    mask = torch.zeros(image.shape[-2:], dtype=image.dtype)
    for place in places:
        mask[place] = 1
    mask.requires_grad_()
    return mask, (fill + mask * (image - fill))[None]


def plain_order(probability, image, remove, fill):
    """One pixel after the other, by autograd's gradient of the probability itself in the mask."""
    left = [(r, c) for r in range(image.shape[-2]) for c in range(image.shape[-1])]
    order, sizes = [], [len(left)]
    while left:
        mask, picture = blended(left, image, fill)
        (gradient,) = torch.autograd.grad(probability(picture), mask)
        for place in sorted(left, key=lambda place: float(gradient[place]))[:remove]:
            order.append(place)
            left.remove(place)
        sizes.append(len(left))
    return order, sizes


def plain_subset(network, image, target, threshold, remove, fill):
    """Places, or None, with the probability, and the order of removal; one image at a time."""

    def probability(picture):
        return network(picture).softmax(dim=1)[0, target]

    order, sizes = plain_order(probability, image, remove, fill)

    def of_last(count):
        return float(probability(blended(order[len(order) - count :], image, fill)[1]).detach())

    values = [of_last(size) for size in sizes]
    enough = [size for size, value in zip(sizes, values, strict=True) if value >= threshold]
    if not enough:
        return None, max(values), order
    high = enough[-1]
    low = max((size for size in sizes if size < high), default=high)
    while high - low > 1:
        middle = (high + low) // 2
        high, low = (middle, low) if of_last(middle) >= threshold else (high, middle)
    return order[len(order) - high :], of_last(high), order


def small_network():
    """Sharp enough that some pixels decide."""
    network = tiny_network(img_size=16, patch_size=4).double()
    with torch.no_grad():
        network.head.weight.mul_(6)
    return network


def small_images(count):
    return torch.rand(count, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("fill", ["grey", "mean", 0.3])
def test_equals_the_plain_loop(fill):
    network, images = small_network(), small_images(4)
    target = torch.tensor([0, 1, 2, 1])
    colours = torch.full((4, 3), 0.0 if fill in ("grey", "mean") else fill, dtype=torch.float64)
    colours = images.mean(dim=(2, 3)) if fill == "mean" else colours
    whole = network(images).softmax(dim=1).gather(1, target[:, None])[:, 0].detach()
    threshold = float(whole.quantile(0.4))
    ours = sufficient_subset(network, images, target, confidence=threshold, remove=13, fill=fill)
    assert torch.allclose(ours.whole, whole, atol=1e-12)
    for i in range(4):
        places, value, order = plain_subset(
            network, images[i], int(target[i]), threshold, 13, colours[i, :, None, None]
        )
        assert [divmod(int(place), 16) for place in ours.order[i, 0].flatten().argsort()] == order
        assert bool(ours.found[i]) == (places is not None)
        assert {tuple(place) for place in ours.mask[i, 0].nonzero().tolist()} == set(places or [])
        assert float(ours.confidence[i]) == pytest.approx(value, abs=1e-12)
    assert ((ours.size > 0) & (ours.size < 256)).any()


class Wavering(nn.Module):
    """Sure of class 1 with 3 pixels of ones and with 9 or more, but not with others."""

    def forward(self, images):
        count = images[:, 0].sum(dim=(1, 2))
        margin = 4 * (count - 2.5) * (count - 3.5) * (count - 8.5)
        return torch.stack([torch.zeros_like(margin), margin], dim=1)


def test_a_smaller_number_between_the_steps_may_be_missed():
    """What the documents say of the result holds, and no more: probability need not rise with every pixel."""
    images = torch.ones(1, 3, 4, 4, dtype=torch.float64)
    found = sufficient_subset(Wavering(), images, 1, confidence=0.9, fill="black", remove=5)  # 16, 11, 6, 1, 0
    assert found.size == 9
    smaller = torch.where(found.order >= 16 - 3, images, 0.0)
    assert Wavering()(smaller).softmax(dim=1)[0, 1] > 0.9
    assert sufficient_subset(Wavering(), images, 1, confidence=0.9, fill="black", remove=1).size == 3


def test_subset_suffices_and_without_its_least_pixel_does_not():
    network, images = small_network(), small_images(6)
    target = network(images).argmax(dim=1)
    threshold = float(network(images).softmax(dim=1).amax(dim=1).min().detach()) - 1e-6
    found = sufficient_subset(network, images, target, confidence=threshold, fill="black", remove=0.05)
    assert found.found.all()

    def probability(mask):
        logits = network(torch.where(mask, images, 0.0))
        return logits.softmax(dim=1).gather(1, target[:, None])[:, 0].detach()

    assert torch.allclose(probability(found.mask), found.confidence, atol=1e-12)
    assert (probability(found.mask) >= threshold).all()
    assert torch.equal(found.size, found.mask.sum(dim=(1, 2, 3)))
    assert torch.equal(found.mask, found.order >= 256 - found.size[:, None, None, None])
    least = found.order == 256 - found.size[:, None, None, None]
    fewer = probability(found.mask & ~least)
    assert (fewer[found.size > 0] < threshold).all()
    assert (found.size > 0).any()
    assert torch.equal(found.order.flatten(1).sort(dim=1).values, torch.arange(256).expand(6, -1)), "each pixel once"
    assert torch.allclose(found.share, found.size / 256)


def test_batch_is_one_by_one():
    network, images = small_network(), small_images(3)
    target = torch.tensor([2, 0, 1])
    together = sufficient_subset(network, images, target, confidence=0.4, remove=9)
    for i in range(3):
        alone = sufficient_subset(network, images[i : i + 1], int(target[i]), confidence=0.4, remove=9)
        for name in ("mask", "found", "order"):
            assert torch.equal(getattr(alone, name)[0], getattr(together, name)[i]), name
        assert torch.allclose(alone.confidence[0], together.confidence[i], atol=1e-12)


def test_unreachable_is_said_and_the_filling_alone_may_do():
    weights = torch.full((4, 4), 0.1)
    images = torch.ones(2, 3, 4, 4)
    found = sufficient_subset(Linear(weights), images, 1, confidence=0.9, remove=3)
    assert not found.found.any()
    assert not found.mask.any()
    assert found.confidence.tolist() == pytest.approx([1 / (1 + math.exp(-1.6))] * 2), "the highest on the way"
    found = sufficient_subset(Linear(weights, bias=5.0), images, 1, confidence=0.9, remove=3)
    assert found.found.all()
    assert found.size.tolist() == [0, 0]
    assert torch.equal(found.confidence, found.empty)


def test_another_class_is_forced_although_the_whole_image_speaks_against_it():
    weights = torch.tensor([[4.0, -9.0], [-9.0, 1.0]])
    found = sufficient_subset(Linear(weights), torch.ones(1, 3, 2, 2), 1, confidence=0.9, remove=1)
    assert found.whole < 0.01
    assert found.mask[0, 0].tolist() == [[True, False], [False, False]]


def test_order_holds_where_the_probability_is_next_to_nothing_or_one():
    """In float32 the gradient of a probability of 1e-60, or of one of 1, would be zero everywhere."""
    for sign, empty in ((1, 200.0), (1, -140.0), (-1, 0.0)):
        weights = sign * torch.arange(16.0).view(4, 4)
        found = sufficient_subset(Linear(weights, bias=empty), torch.ones(1, 3, 4, 4), 1, remove=2)
        assert torch.equal(found.order.flatten(), weights.flatten().argsort().argsort())


def test_ties_are_broken_by_the_same_lot_everywhere():
    images = torch.ones(2, 3, 6, 6)
    order = sufficient_subset(Linear(torch.zeros(6, 6)), images, 0, remove=4).order
    assert torch.equal(order[0], order[1])
    assert not torch.equal(order[0].flatten(), torch.arange(36))


def test_fillings():
    classifier = Classifier(tiny_network(img_size=16, patch_size=4))
    images = small_images(1).float()
    with torch.no_grad():
        empty = {
            "grey": classifier.mean.expand(3, 16, 16),
            "mean": images[0].mean(dim=(1, 2))[:, None, None].expand(3, 16, 16),
            "black": torch.zeros(3, 16, 16),
            0.7: torch.full((3, 16, 16), 0.7),
        }
        for fill, picture in empty.items():
            found = sufficient_subset(classifier, images, 1, fill=fill, max_steps=1)
            assert torch.allclose(found.empty, classifier(picture[None]).softmax(dim=1)[:, 1], atol=1e-6), fill


def test_sizes_on_the_way():
    assert list_sizes(10, 4) == [10, 6, 2, 0]
    assert list_sizes(10, 0.2) == [10, 8, 6, 4, 2, 0]
    assert list_sizes(10, 0.01) == list(range(10, -1, -1)), "at least one at a time"
    assert list_sizes(10, 4, max_steps=2) == [10, 6, 0]
    assert list_sizes(10, 10, max_steps=5) == [10, 0]
    assert len(list_sizes(224 * 224)) - 1 == 201
    done = []
    sufficient_subset(Linear(torch.ones(2, 5)), torch.ones(1, 3, 2, 5), 1, remove=4, after_step=lambda: done.append(1))
    assert len(done) == 3


@pytest.mark.parametrize("training", [True, False])
def test_model_is_left_as_it_was_after_success_and_failure(training):
    network = tiny_network(patch_drop_rate=0.3, attn_drop_rate=0.3).train(training)
    network.blocks[1].train(not training)
    network.set_grad_checkpointing(True)
    before, images = state_of(network), torch.rand(2, 3, SIZE, SIZE)
    first = sufficient_subset(network, images, max_steps=3)
    assert torch.equal(first.order, sufficient_subset(network, images, max_steps=3).order), "dropout must be off"
    assert state_of(network) == before
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not images.requires_grad
    handle = network.blocks[1].register_forward_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("inside")))
    with pytest.raises(RuntimeError, match="inside"):
        sufficient_subset(network, images, max_steps=3)
    handle.remove()
    assert state_of(network) == before


def test_works_without_gradients_for_frozen_and_convolutional_models():
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=3)
    statistics = {name: value.clone() for name, value in network.state_dict().items()}
    images = torch.rand(2, 3, 32, 32)
    expected = sufficient_subset(network, images, max_steps=3, remove=0.1)
    assert all(torch.equal(value, statistics[name]) for name, value in network.state_dict().items())
    network.requires_grad_(False)
    with torch.inference_mode():
        found = sufficient_subset(network, images.clone(), max_steps=3, remove=0.1)
    assert torch.equal(found.order, expected.order)
    assert not found.confidence.requires_grad


def test_mistakes_are_refused():
    network, images = Linear(torch.ones(4, 4)), torch.ones(2, 3, 4, 4)
    wrong = [
        ({"confidence": 0.0}, "between 0 and 1"),
        ({"confidence": 1.0}, "between 0 and 1"),
        ({"remove": 0}, "remove"),
        ({"remove": 1.5}, "remove"),
        ({"remove": 17}, "up to 16"),
        ({"max_steps": 0}, "max-steps"),
        ({"fill": "blur"}, "grey, mean, black"),
        ({"target": 2}, "from 0 to 1"),
        ({"target": torch.tensor([0, 1, 0])}, "one for each image"),
    ]
    for options, words in wrong:
        with pytest.raises(UserError, match=words):
            sufficient_subset(network, images, **({"target": 1} | options))
    with pytest.raises(UserError, match="finite"):
        sufficient_subset(Linear(torch.full((4, 4), torch.nan)), images, 1)
    with pytest.raises(UserError, match="at least 2 classes"):
        sufficient_subset(nn.Sequential(nn.Flatten(), nn.Linear(48, 1)), images, 0)


def test_classes_by_name_index_and_lot():
    classifier = Classifier(tiny_network(), class_names=("disc, round", "frame", "Stripe"))
    assert find_classes(classifier, None) == []
    assert find_classes(classifier, "disc, round") == [0], "a name may hold a comma"
    assert find_classes(classifier, "stripe, 1,Stripe") == [2, 1]
    assert find_classes(classifier, 2) == [2]
    assert find_classes(classifier, ["frame", 0]) == [1, 0]
    with pytest.raises(UserError, match="nearest is 'Stripe'"):
        find_classes(classifier, "strype")
    with pytest.raises(UserError, match="below 3"):
        find_classes(Classifier(tiny_network()), "7")
    drawn = draw_classes(10, [4], [1], 5, seed=0)
    assert len(set(drawn)) == 5
    assert not {1, 4} & set(drawn)
    assert drawn == draw_classes(10, [4], [1], 5, seed=0)
    assert drawn != draw_classes(10, [4], [1], 5, seed=1)
    assert set(draw_classes(3, [0, 1], [], 2, seed=0)) > {2}, "those first that no photo has"
    assert sorted(draw_classes(3, [0], [], 5, seed=0)) == [1, 2]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    for label, name in ((0, "heart"), (1, "star")):
        Image.fromarray(make_scene(label, label, np.random.default_rng([7, label])).image).save(folder / f"{name}.png")
    return folder


def test_command_draws_a_panel_and_writes_the_numbers(capsys, tmp_path, scenes):
    out = tmp_path / "new" / "panel.png"
    arguments = ["subset", "--model", MODEL, scenes / "heart.png", scenes / "star.png", "--class", "telephone,7"]
    arguments += ["--random-classes", 1, "--confidence", 0.6, "--remove", 0.08, "--fill", "mean", "--out", out]
    assert cli.main([*map(str, arguments)]) == 0
    text = capsys.readouterr().out
    written = json.loads(out.with_suffix(".json").read_text())
    assert list(written["photos"]) == [str(scenes / "heart.png"), str(scenes / "star.png")]
    rows = list(written["photos"].values())
    assert [[one["forced"] for one in row] for row in rows] == [[False, True, True, True]] * 2
    assert [row[0]["name"] for row in rows] == ["heart", "star"]
    assert [[one["name"] for one in row[1:3]] for row in rows] == [["telephone", "music"]] * 2
    for one in (one for row in rows for one in row):
        assert one["found"] == (one["confidence"] >= 0.6) == (one["pixels"] is not None)
        assert one["name"] in text
        assert one["share"] is None or one["share"] == pytest.approx(one["pixels"] / 112**2)
    assert sum(one["found"] for row in rows for one in row[1:]) >= 1, "another class was forced"
    assert written["settings"]["confidence"] == 0.6
    assert written["settings"]["class"] == "telephone,7"
    assert written["weights"] == weights_hash(load_model(MODEL))
    assert written["versions"]["torch"]
    check_picture(out, rows, scenes)
    assert cli.main([*map(str, arguments)]) == 2, "nothing is overwritten"


def check_picture(out, rows, scenes):
    """Every pixel is a block of 3 x 3; kept ones have the photo's colour, removed ones are grey."""
    with Image.open(out) as picture:
        drawn = np.asarray(picture.convert("RGB"))
    side, dots = 3 * 112, 140
    gap, title = round(0.12 * dots), round(0.62 * dots)
    assert drawn.shape == (gap + 2 * (title + side + gap), gap + 5 * (side + gap), 3)
    for number, (row, name) in enumerate(zip(rows, ("heart", "star"), strict=True)):
        photo = np.asarray(Image.open(scenes / f"{name}.png").convert("RGB"))
        top = title + number * (title + side + gap) + gap
        for column in range(5):
            left = gap + column * (side + gap)
            cell = drawn[top : top + side, left : left + side]
            assert np.array_equal(cell, cell[::3, ::3].repeat(3, axis=0).repeat(3, axis=1))
            pixels = cell[::3, ::3]
            kept = (pixels == photo).all(axis=-1)
            assert kept.all() if column == 0 else (kept | (abs(pixels.astype(int) - 127.5) < 1).all(axis=-1)).all()
            if column:
                assert abs(int(kept.sum()) - (row[column - 1]["pixels"] or 0)) <= 3, (
                    "some pixels may be grey themselves"
                )


def test_a_seed_fixes_everything(tmp_path, scenes):
    def subsets(name, seed):
        options = {"model": str(MODEL), "random_classes": 1, "remove": 0.2, "confidence": 0.5, "seed": seed}
        return list(subset([str(scenes / "heart.png")], out=str(tmp_path / name), **options).photos.values())

    first = subsets("a.png", 0)
    assert first == subsets("b.png", 0)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert subsets("c.png", 1) != first


MISTAKES = {
    "class": (["PHOTO", "--class", "umbrela", "--out", "p.png"], "nearest is 'umbrella'"),
    "index": (["PHOTO", "--class", "10", "--out", "p.png"], "below 10"),
    "confidence": (["PHOTO", "--confidence", "1", "--out", "p.png"], "--confidence"),
    "percent": (["PHOTO", "--confidence", "90", "--out", "p.png"], "--confidence"),
    "fill": (["PHOTO", "--fill", "blur", "--out", "p.png"], "--fill"),
    "remove": (["PHOTO", "--remove", "0", "--out", "p.png"], "remove"),
    "too many": (["PHOTO", "--remove", "20000", "--out", "p.png"], "up to 12544"),
    "steps": (["PHOTO", "--max-steps", "0", "--out", "p.png"], "steps"),
    "lot": (["PHOTO", "--random-classes", "-1", "--out", "p.png"], "--random-classes"),
    "no image": (["words.txt", "--out", "p.png"], "not an image"),
    "no file": (["none.png", "--out", "p.png"], "none.png"),
    "no photo": (["--out", "p.png"], "IMAGES"),
    "not a PNG": (["PHOTO", "--out", "p.html"], "PNG"),
    "picture exists": (["PHOTO", "--out", "old.png"], "old.png exists"),
    "record exists": (["PHOTO", "--out", "r.png"], "r.json exists"),
    "no place": (["PHOTO", "--out", "words.txt/p.png"], "is a file"),
}


@pytest.mark.parametrize("case", list(MISTAKES))
def test_mistakes_are_one_line_and_nothing_is_written(capsys, tmp_path, monkeypatch, scenes, case):
    monkeypatch.chdir(tmp_path)
    for name in ("words.txt", "old.png", "r.json"):
        (tmp_path / name).write_text("words")
    arguments, word = MISTAKES[case]
    arguments = [str(scenes / "heart.png") if argument == "PHOTO" else argument for argument in arguments]
    assert cli.main(["subset", "--model", str(MODEL), *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert word in said.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.png", "r.json", "words.txt"]


def test_few_classes_and_none_found(tmp_path, model_folder, photos):
    found = subset(
        [str(photos[0] / "disc" / "000.png")], model=str(model_folder), out=str(tmp_path / "p.PNG"), remove=0.05
    )
    (row,) = found.photos.values()
    assert {one.name for one in row} == set(CLASSES), "a model of three classes has two to force"
    assert "none found" in str(found), "an untrained model is sure of nothing"
    assert found.record == tmp_path / "p.json"
