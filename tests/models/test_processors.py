"""Preprocessing of transformers' models: as their image processors say, or said if there is none."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.small_models import SIZE, tiny_transformers
from robustvit import UserError, load_model
from robustvit.data.datasets import evaluation_transform
from robustvit.models.libraries.processors import convert_processor
from robustvit.models.preprocessing import Preprocessing

IMAGES = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
IMAGENET = pytest.approx((0.485, 0.456, 0.406))
HALF = (0.5, 0.5, 0.5)


def clip():
    transformers = pytest.importorskip("transformers")
    vision = {"image_size": SIZE, "patch_size": 8, "hidden_size": 24, "intermediate_size": 48}
    vision |= {"num_hidden_layers": 2, "num_attention_heads": 3}
    return transformers.CLIPForImageClassification(transformers.CLIPConfig(vision_config=vision, num_labels=3))


@pytest.mark.parametrize(
    ("build", "mean", "squash"),
    [
        (lambda: tiny_transformers(), HALF, True),
        (lambda: tiny_transformers("DeiT"), IMAGENET, True),
        (lambda: tiny_transformers("ViTMSN"), IMAGENET, True),
        (lambda: tiny_transformers("IJepa"), HALF, True),
        (clip, pytest.approx((0.4815, 0.4578, 0.4082), abs=1e-4), False),
    ],
)
def test_a_folder_without_a_processor_says_what_was_taken(build, mean, squash, tmp_path, capsys):
    build().save_pretrained(tmp_path)
    found = load_model(tmp_path).preprocessing
    assert (found.mean, found.squash, found.input_size) == (mean, squash, (SIZE, SIZE))
    said = " ".join(capsys.readouterr().err.split())
    assert f"no preprocessor_config.json says how photos are prepared: {found}" in said
    given = load_model(tmp_path, preprocessing={"mean": 0.1, "std": 0.2})
    assert given.preprocessing.std == (0.2, 0.2, 0.2)
    assert "preprocessor_config" not in capsys.readouterr().err, "nothing was guessed"


def with_processor(folder, **settings):
    tiny_transformers().save_pretrained(folder)
    usual = {"image_processor_type": "ViTImageProcessor", "do_resize": True, "size": {"height": SIZE, "width": SIZE}}
    usual |= {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "resample": 2}
    usual |= {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}
    (folder / "preprocessor_config.json").write_text(json.dumps(usual | settings))
    return folder


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"rescale_factor": 1 / 127.5},
        {"rescale_factor": 0.00392156862745098},
        {"do_rescale": False, "image_mean": [127, 120, 110], "image_std": [60, 61, 62]},
        {"do_rescale": False, "do_normalize": False},
        {"do_normalize": False},
        {"image_mean": 0.5, "image_std": 0.25},
    ],
)
def test_pixels_are_scaled_as_the_processor_scales_them(settings, tmp_path, capsys):
    transformers = pytest.importorskip("transformers")
    classifier = load_model(with_processor(tmp_path, **settings))
    assert "preprocessor_config" not in capsys.readouterr().err
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3)).astype(np.uint8))
    theirs = transformers.AutoImageProcessor.from_pretrained(tmp_path)(photo, return_tensors="pt")["pixel_values"]
    ours = (evaluation_transform(classifier.preprocessing)(photo)[None] - classifier.mean) / classifier.std
    assert torch.allclose(theirs.float(), ours, rtol=1e-4, atol=1e-4 * float(theirs.float().abs().max()))


def test_efficientnets_processor_divides_twice():
    transformers = pytest.importorskip("transformers")
    size = {"height": SIZE, "width": SIZE}
    for more in ({"include_top": True}, {"rescale_offset": True, "rescale_factor": 1 / 127.5, "include_top": False}):
        theirs = transformers.EfficientNetImageProcessor(size=size, **more)
        own = convert_processor(theirs.to_dict(), Preprocessing())
        photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3)).astype(np.uint8))
        mean, std = (torch.tensor(values)[:, None, None] for values in (own.mean, own.std))
        ours = (evaluation_transform(own)(photo)[None] - mean) / std
        assert torch.allclose(theirs(photo, return_tensors="pt")["pixel_values"], ours, atol=1e-4), more


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"rescale_factor": 0}, "rescale_factor above 0"),
        ({"rescale_factor": -1 / 255}, "rescale_factor above 0"),
        ({"do_flip_channel_order": True}, "do_flip_channel_order"),
        ({"size": {"longest_edge": 64}}, "longest_edge"),
    ],
)
def test_what_cannot_be_followed_is_refused(settings, word, tmp_path):
    usual = {"size": {"height": SIZE, "width": SIZE}}
    with pytest.raises(UserError, match=word):
        convert_processor(usual | settings, Preprocessing())


def test_a_head_of_another_size_than_the_configuration_says(tmp_path):
    tiny_transformers().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    names = {str(index): f"name {index}" for index in range(5)}
    for classes, change in (
        (5, {"id2label": names, "label2id": {name: int(index) for index, name in names.items()}}),
        (2, {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}}),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(UserError, match=rf"config\.json says {classes} classes .* its weights have a head of 3"):
            load_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config | {"hidden_size": 48, "num_attention_heads": 3}))
    with pytest.raises(UserError, match=r"does not belong to its weights, .* is \("):
        load_model(tmp_path)


def test_names_of_classes_that_are_missing_or_of_another_model():
    network = tiny_transformers()
    for names in (None, {}, {0: "a", 1: "b"}):
        network.config.id2label = names
        assert load_model(network).class_names == ()
    network.config.id2label = {"2": "c", "0": "a", "1": "b"}
    assert load_model(network).class_names == ("a", "b", "c")
