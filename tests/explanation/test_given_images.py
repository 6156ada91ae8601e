"""Images as people have them are explained as their files are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor

from helpers.small_models import tiny_network
from robustvit import UserError, explain, load_model, relevance
from robustvit.data.datasets import evaluation_transform
from robustvit.data.read_photos import read_photo


@pytest.fixture(scope="module")
def model():
    return load_model(tiny_network(), class_names=("disc", "frame", "stripe"))


@pytest.fixture
def path(photos):
    return sorted(photos[0].rglob("*.png"))[0]


def test_every_form_of_an_image_has_the_map_of_its_file(model, path):
    picture = read_photo(path)
    image = evaluation_transform(model.preprocessing)(picture).as_subclass(torch.Tensor)
    expected = relevance(model, image[None], 1).detach()
    forms = [path, str(path), picture, np.asarray(picture), np.asarray(picture) / 255, image]
    for form in forms:
        found = relevance(model, form, 1)
        assert found.shape == expected.shape[1:]
        assert torch.equal(found.detach(), expected[0])
    together = relevance(model, [path, picture], 1).detach()
    torch.testing.assert_close(together, expected.expand(2, -1, -1, -1))
    assert relevance(model, path.parent).shape[0] == len(list(path.parent.iterdir()))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (3, "expected a path, a folder"),
        (np.zeros((4, 4, 2), np.uint8), "got shape"),
        (np.full((4, 4, 3), 7.0), "floats from 0 to 1"),
        ("nowhere.jpg", "found none"),
    ],
)
def test_other_things_are_refused(model, given, words):
    with pytest.raises(UserError, match=words):
        relevance(model, given)


def test_a_bare_network_takes_tensors_alone(path):
    with pytest.raises(UserError, match="bare network"):
        relevance(tiny_network(), path)


def test_explain_takes_one_photo_and_objects(model, path, tmp_path):
    picture = Image.open(path).convert("RGB")
    (alone,) = explain(str(path), model=model, out=str(tmp_path / "a"))
    objects = explain([picture, np.asarray(picture), pil_to_tensor(picture)], model=model, out=str(tmp_path / "b"))
    assert [one.top for one in objects] == [alone.top] * 3
    assert [str(one.photo) for one in objects] == ["image-1.png", "image-2.png", "image-3.png"]
    assert all(one.picture.is_file() for one in objects)
    assert len(explain(path.parent, model=model, out=str(tmp_path / "c"))) == len(list(path.parent.iterdir()))
