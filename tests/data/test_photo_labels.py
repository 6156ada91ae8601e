"""Photos of several labels: lists in every form, masks for each class, and what a model sees of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from helpers.small_models import SIZE, tiny_network
from robustvit import UserError, load_model
from robustvit.common.photo_options import PhotoOptions
from robustvit.data.datasets import MaskedPhotos
from robustvit.data.mask_filter import find_usable_photos
from robustvit.data.photo import Photo
from robustvit.data.several_labels import LabelledPhotos, join_labels, label_several, note_absent
from robustvit.data.swap_pairs import pair_by_labels

NAMES = ("cat", "cow", "dog")
SHOWN = {"a.png": ("cat", "dog"), "b.png": ("dog",), "c.png": ()}
BOXES = {"cat": (0, 0, 20, 20), "cow": (20, 0, 40, 20), "dog": (20, 20, 44, 44)}


@pytest.fixture
def model():
    return load_model(tiny_network(3), head="multi-label", class_names=list(NAMES))


@pytest.fixture
def folder(tmp_path):
    for number, (name, classes) in enumerate(SHOWN.items()):
        Image.new("RGB", (SIZE, SIZE), (40 * number, 90, 10)).save(tmp_path / name)
        for label in (*classes, "all"):
            mask = Image.new("L", (SIZE, SIZE))
            for one in classes if label == "all" else (label,):
                mask.paste(255, BOXES[one])
            place = tmp_path / ("whole" if label == "all" else f"masks/{label}") / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if classes:
                mask.save(place)
    return tmp_path


def listed(folder, text, model, **options):
    (folder / "list.csv").write_text(text)
    given = PhotoOptions(images=str(folder / "list.csv"), **options)
    return label_several(find_usable_photos(given, several=True)[0], model)


FORMS = {
    "columns of 0 and 1": "image,cat,cow,dog\na.png,1,0,1\nb.png,0,0,1\nc.png,0,0,0\n",
    "true and false": "image,cat,cow,dog\na.png,True,False,True\nb.png,False,False,True\nc.png,False,False,False\n",
    "names with a bar": "image,label\na.png,cat|dog\nb.png,dog\nc.png,\n",
    "names with a comma": 'file_name,labels\na.png,"dog, cat"\nb.png,dog\nc.png,\n',
    "a row for each": "image,label\na.png,cat\na.png,dog\nb.png,dog\nc.png,\n",
    "a column beside": "image,age,cat,cow,dog\na.png,10,1,0,1\nb.png,1,0,0,1\nc.png,77,0,0,0\n",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_labels_are_read_in_every_form(folder, model, text):
    found = listed(folder, text, model)
    assert [(one.image.name, one.labels) for one in found] == [("a.png", (0, 2)), ("b.png", (2,)), ("c.png", ())]
    assert [one.label for one in found] == [0, 2, None], "a photo counts to its rarest class"


def test_groups_in_a_column_called_label_are_not_taken_for_classes(folder, model):
    text = "image,shown,label\na.png,cat|dog,north\nb.png,dog,south\nc.png,,north\n"
    found = listed(folder, text, model, label_column="shown", group_by="label")
    assert [(one.labels, one.group) for one in found] == [((0, 2), "north"), ((2,), "south"), ((), "north")]


def test_another_separator_is_named_and_two_are_asked_about(folder, model):
    text = "image,label\na.png,cat dog\nb.png,dog\nc.png,\n"
    assert listed(folder, text, model, label_separator=" ")[0].labels == (0, 2)
    with pytest.raises(
        UserError, match=r"'cat dog' is not a class of the model, but cat and dog are: .*--label-separator ' '"
    ):
        listed(folder, text, model)
    with pytest.raises(UserError, match="--label-separator"):
        listed(folder, 'image,label\na.png,"cat|dog,cow"\nb.png,dog\n', model)


def test_a_class_that_no_photo_shows_is_named(folder, model):
    found = listed(folder, "image,label\na.png,cat|dog\nb.png,dog\nc.png,\n", model)
    notes = []
    note_absent(found, model, notes)
    assert notes == ["No photo shows cow: means over classes are those of the other 2 classes."]


def test_what_is_unsure_is_asked_about_with_its_line(folder, model):
    for open_cell in ("", "-1.0"):
        with pytest.raises(UserError, match=r"line 3: expected 0 or 1 in the column cat"):
            listed(folder, f"image,cat,cow,dog\na.png,1,0,1\nb.png,{open_cell},0,1\n", model)


def test_a_class_that_says_that_nothing_is_there_is_no_class_of_the_model(folder, model):
    found = listed(folder, "image,label\na.png,cat|dog\nc.png,No Finding\n", model, no_object="No Finding")
    assert found[1].labels == ()


def test_a_model_without_names_is_asked_about(folder):
    bare = load_model(tiny_network(3), head="multi-label")
    with pytest.raises(UserError, match="--class-names"):
        listed(folder, FORMS["names with a bar"], bare)


MASKS = {
    "a folder for each class": (FORMS["names with a bar"], {"masks": "masks"}, True),
    "one folder": (FORMS["columns of 0 and 1"], {"masks": "whole"}, False),
    "a column": ("image,label,mask\na.png,cat|dog,whole/a.png\nb.png,dog,whole/b.png\nc.png,,\n", {}, False),
    "a column for each class": (
        "image,label,mask_cat,mask_dog\na.png,cat|dog,masks/cat/a.png,masks/dog/a.png\nb.png,dog,,masks/dog/b.png\n"
        "c.png,,,\n",
        {},
        True,
    ),
    "a row for each": (
        "image,label,mask\na.png,cat,masks/cat/a.png\na.png,dog,masks/dog/a.png\nb.png,dog,masks/dog/b.png\nc.png,,\n",
        {},
        True,
    ),
}


@pytest.mark.parametrize(("text", "options", "each"), MASKS.values(), ids=MASKS)
def test_each_class_has_its_mask_or_all_share_one(folder, model, text, options, each):
    given = {name: str(folder / value) for name, value in options.items()}
    data = LabelledPhotos(listed(folder, text, model, **given), model.preprocessing, classes=3)
    first, second, third = (data[index] for index in range(3))
    assert first["targets"].tolist() == [1, 0, 1]
    cat, dog = (
        MaskedPhotos([Photo(folder / "a.png", folder / "masks" / name / "a.png")], model.preprocessing)[0]["mask"][0]
        for name in ("cat", "dog")
    )
    assert torch.equal(first["mask"][0], torch.maximum(cat, dog))
    if each:
        assert torch.equal(first["class_masks"], torch.stack((cat, dog)))
        assert second["class_masks"][0].any()
        assert not second["class_masks"][1].any(), "behind the last class there is nothing"
    else:
        assert torch.equal(first["class_masks"], first["mask"])
    assert third["empty"]
    assert third["targets"].tolist() == [0, 0, 0]
    assert first["kept"] > 0.5


def test_a_photo_with_a_class_without_a_mask_lends_and_borrows_nothing(folder, model):
    (folder / "masks/cat/a.png").unlink()
    data = LabelledPhotos(
        listed(folder, FORMS["names with a bar"], model, masks=str(folder / "masks")), model.preprocessing, classes=3
    )
    assert data[0]["kept"] == 0
    assert not data[0]["class_masks"][0].any()
    assert data[0]["class_masks"][1].any()


def test_photo_and_masks_are_augmented_together(folder, model):
    photos = listed(folder, FORMS["names with a bar"], model, masks=str(folder / "masks"))
    data = LabelledPhotos(photos, model.preprocessing, classes=3, augment=True)
    first, again = data[0], data[0]
    assert torch.equal(first["class_masks"], again["class_masks"])
    data.seed = 1
    assert not torch.equal(first["class_masks"], data[0]["class_masks"])
    assert torch.equal(data[0]["class_masks"].amax(0, keepdim=True), data[0]["mask"])


def test_backgrounds_of_other_classes_share_no_label():
    labels = [(0, 1), (1,), (2,), (0, 2), (3,), ()]
    for kind in ("mixed-other", "mixed-same"):
        chosen = pair_by_labels(labels, [True] * 5 + [False], kind, swaps=2, seed=1)
        for index, donors in enumerate(chosen):
            assert index not in donors
            assert 5 not in donors, "it cannot lend"
            for donor in donors:
                assert bool(set(labels[index]) & set(labels[donor])) == (kind == "mixed-same")
    assert all(len(donors) == 2 for donors in pair_by_labels(labels, [True] * 6, "mixed-other", swaps=2)[:5])


def test_photos_alone_in_their_class_are_drawn_together():
    rows = [Photo(Path(f"{n}.png"), class_name=name, label=n) for n, name in enumerate(("a", "b", "c", "c"))]
    rows[3] = replace(rows[3], label=2)
    found = join_labels(rows)
    assert [one.class_name for one in found] == ["(rare)", "(rare)", "c", "c"]
    assert [one.labels for one in found] == [(0,), (1,), (2,), (2,)]
