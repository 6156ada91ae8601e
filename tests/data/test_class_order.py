"""The order of a model's outputs: known, agreed on, or asked for; never guessed without a word."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from timm.data.readers.reader_image_folder import find_images_and_targets
from torch import nn

from helpers.drawn_photos import write_photos
from robustvit import UserError, evaluate
from robustvit.data.class_matching import match_labels
from robustvit.data.class_order import ALPHABET, NATURAL, find_better_order, list_plausible_orders
from robustvit.data.photo import Photo
from robustvit.models.classifier import Classifier, Preprocessing
from robustvit.models.libraries.library import first_imagenet_names

NUMBERS = [str(number) for number in range(12)]
WORDS = [f"class{number}" for number in range(1, 13)]
CAPITALS = ["Apple", "Bee", "Cat", "ant", "bat", "cow"]


def labels(names, classes, named=(), *, listed=False):
    photos = [Photo(Path("a.jpg") if listed else Path(name, "a.jpg"), class_name=name) for name in names]
    return [photo.label for photo in match_labels(photos, classes, named)]


@pytest.mark.parametrize("names", [NUMBERS, WORDS, CAPITALS, NUMBERS[1:]])
def test_folders_that_programs_sort_differently_are_asked_about(names):
    with pytest.raises(UserError, match="in more than one order") as caught:
        labels(names, len(names))
    words = str(caught.value)
    for order in (sorted(names), plain_natural(names)):
        assert ", ".join(f"{i} {name}" for i, name in enumerate(order)) in words, "both mappings, in full"
    assert words.endswith("--class-names NAME,NAME,...")
    assert "\n" not in words
    for order in (sorted(names), plain_natural(names)):
        assert labels(names, len(names), order) == [order.index(name) for name in names], "and --class-names decides"


def plain_natural(names):
    import re

    return sorted(names, key=lambda name: [int(s) if s.isdigit() else s for s in re.split(r"(\d+)", name.lower())])


def test_the_orders_are_those_of_the_programs(tmp_path):
    from torchvision.datasets import ImageFolder

    for name in [*WORDS, *CAPITALS]:
        (tmp_path / name).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / name / "0.png")
    orders = list_plausible_orders([*WORDS, *CAPITALS], 18)
    assert orders[ALPHABET] == ImageFolder(tmp_path).class_to_idx
    assert orders[NATURAL] == find_images_and_targets(str(tmp_path))[1]


@pytest.mark.parametrize("names", [["01", "02", "03", "10"], NUMBERS[:10], ["cat", "dog", "horse"], ["a1", "a2"]])
def test_an_order_that_all_agree_on_is_said(names, capsys):
    from robustvit.data import class_matching as module

    module._say_once.cache_clear()
    assert labels(names, len(names)) == list(range(len(names)))
    said = " ".join(capsys.readouterr().err.split())
    assert ", ".join(f"{i} {name}" for i, name in enumerate(names)) + " (ImageFolder and timm agree on it)" in said


def test_numbers_of_some_folders_are_asked_about_where_imagefolder_counts_otherwise(capsys):
    with pytest.raises(UserError, match=r"2 2, 10 10: numbers.*; or 2 10, 4 2: the alphabet"):
        labels(["10", "2"], 12)
    assert labels(["1", "3"], 10) == [1, 3]
    assert labels(["10", "2"], 12, listed=True) == [10, 2], "in a list, numbers are outputs"
    assert "2 2, 10 10 (numbers (3 is output 3))" in " ".join(capsys.readouterr().err.split())


def test_numbers_for_a_model_with_names_are_outputs_and_said(capsys):
    assert labels(["1", "0"], 3, ("tench", "goldfish", "shark")) == [1, 0]
    assert "taken as outputs of the model: 0 0 (tench), 1 1 (goldfish)" in " ".join(capsys.readouterr().err.split())
    assert labels(["10", "2"], 3, ("1", "10", "2")) == [1, 2], "names that are numbers are names"
    assert labels(["01", "10"], 3, ("1", "10", "2")) == [0, 1], "whatever their zeros"
    with pytest.raises(UserError, match="numbered from 0"):
        labels(["1", "2", "3"], 3, ("tench", "goldfish", "shark"))


def test_words_that_name_several_classes_are_asked_about():
    names = first_imagenet_names()
    for word, wnids in (("crane", "n02012849 or n03126707"), ("maillot", "n03710637 or n03710721")):
        with pytest.raises(UserError, match=f"{word}' names several classes .*: name it by its wnid, {wnids}"):
            labels([word], 1000, names)
    assert labels(["cardigan", "Cardigan", "n03126707"], 1000, names) == [474, 264, 517]
    with pytest.raises(UserError, match=r"outputs 264 \(Cardigan\) and 474 \(cardigan\)"):
        labels(["CARDIGAN"], 1000, names)
    with pytest.raises(UserError, match="number"):
        labels(["bank"], 3, ("bank", "river", "bank"))
    assert labels(["Mu\u0308ller"], 2, ("M\u00fcller", "b")) == [0]


def test_an_order_that_fits_far_better_is_named():
    truth = {name: i for i, name in enumerate(plain_natural(WORDS))}
    predicted = [truth[name] for name in WORDS for _ in range(3)]
    classes = [name for name in WORDS for _ in range(3)]
    wrong = [sorted(WORDS).index(name) for name in classes]
    said = find_better_order(classes, wrong, predicted, 12, sorted(WORDS))
    assert "100.0 % would be right instead of 8.3 %" in said
    assert "0 class1, 1 class2, 2 class3" in said
    assert find_better_order(classes, predicted, predicted, 12, plain_natural(WORDS)) == ""
    assert find_better_order(classes[:6], wrong[:6], predicted[:6], 12, sorted(WORDS)) == "", "too few to tell"
    from_one = [int(name) for name in NUMBERS[1:11] for _ in range(2)]
    classes = [str(number) for number in from_one]
    assert "numbers from 1" in find_better_order(classes, from_one, [number - 1 for number in from_one], 20)
    assert find_better_order(classes, from_one, [0] * 20, 20) == "", "a bad model is no other order"


class Colours(nn.Module):
    """Answers with the number of the nearest of some greys."""

    def __init__(self, count):
        super().__init__()
        self.head = nn.Linear(1, count)
        centres = torch.arange(count) / count
        with torch.no_grad():
            self.head.weight[:, 0], self.head.bias[:] = 2 * centres, -(centres**2)

    def forward(self, images):
        return 100 * self.head(images.mean(dim=(1, 2, 3))[:, None])


def test_evaluate_asks_then_warns_of_the_wrong_order(tmp_path, capsys):
    for place, name in enumerate(sorted(NUMBERS)):  # as ImageFolder trained it
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), (round(255 * place / 12),) * 3).save(tmp_path / "photos" / name / "0.png")
    preprocessing = Preprocessing((8, 8), mean=(0.0,) * 3, std=(1.0,) * 3, crop_share=1.0)

    def measured(names=()):
        model = Classifier(Colours(12), preprocessing=preprocessing, class_names=names)
        return evaluate(model=model, images=str(tmp_path / "photos"), relevance="input_gradient")

    with pytest.raises(UserError, match="in more than one order"):
        measured()
    right = measured(sorted(NUMBERS))
    assert right.measures["ordinary"].mean == 1
    assert not right.notes
    wrong = measured(NUMBERS)
    assert wrong.measures["ordinary"].mean < 0.2
    assert "100.0 % would be right instead of 16.7 %" in wrong.notes[0]
    assert "fit another order of the classes far better" in " ".join(capsys.readouterr().err.split())


def test_a_run_that_is_resumed_keeps_its_order(tmp_path):
    from robustvit.data.gather import SelectionSettings, gather_photos
    from robustvit.data.given_photos import PhotoSources

    images, masks = write_photos(tmp_path, 4, classes=("2", "10", "1"))
    model = Classifier(Colours(3), preprocessing=Preprocessing((8, 8)))
    sources = PhotoSources(images=str(images), masks=str(masks))

    def gather(**options):
        settings = SelectionSettings(1, "all", 3, 0, **options)
        return gather_photos(sources, model, settings, labelled=True, predict=lambda photos: list(photos))

    with pytest.raises(UserError, match="in more than one order"):
        gather()
    found = gather(order={"1": 0, "10": 1, "2": 2})  # what an older version took without asking
    assert {(photo.class_name, photo.label) for photo in found.train} == {("1", 0), ("10", 1), ("2", 2)}
    assert model.class_names == ("1", "10", "2")
