"""Numbers that go wrong: images of one colour, constant maps, classes without photos, single photos, odd sizes."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.drawn_photos import CLASSES, write_photos
from helpers.hostile import said
from helpers.small_models import SIZE, tiny_network, tiny_torchvision, tiny_transformers
from robustvit import explain, finetune, load_model, relevance, relevance_loss
from robustvit.cli.main import main
from robustvit.data.datasets import MaskedPhotos
from robustvit.data.photo import Photo
from robustvit.evaluation.map_scores import map_iou, pointing_hit
from robustvit.evaluation.measure import measure
from robustvit.evaluation.measuring import MeasureSettings
from robustvit.evaluation.verdict import compare, decide
from robustvit.explanation.maps import energy_inside
from robustvit.explanation.methods import RELEVANCE_METHODS
from robustvit.guidance.paper_losses import confidence_loss
from robustvit.guidance.registry import GUIDANCE, guided_loss
from robustvit.models.classifier import Classifier
from robustvit.models.save import save_model

FAST = {"epochs": 2, "lr": 3e-4, "swaps": 1, "panels": 1, "samples_per_class": 2, "tracker": "none"}


def half_mask(count: int = 1) -> torch.Tensor:
    mask = torch.zeros(count, 1, SIZE, SIZE)
    mask[..., : SIZE // 2] = 1
    return mask


@pytest.mark.parametrize("method", RELEVANCE_METHODS)
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_an_image_of_one_colour_has_a_map(network, method, level):
    maps = relevance(Classifier(network), torch.full((2, 3, SIZE, SIZE), level), method=method)
    assert torch.isfinite(maps).all()
    assert maps.min() >= 0
    assert maps.max() <= 1


@pytest.mark.parametrize("guidance", GUIDANCE)
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_an_image_of_one_colour_has_a_loss_and_gradients(network, guidance, level):
    model = Classifier(network)
    loss = guided_loss(
        model, torch.full((2, 3, SIZE, SIZE), level), half_mask(2), torch.tensor([0, 1]), guidance=guidance
    ).loss
    if loss.requires_grad:
        loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters() if weight.grad is not None)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_constant_map_has_losses_gradients_and_measures(value):
    maps = torch.full((1, 1, 8, 8), value, requires_grad=True)
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1
    loss = relevance_loss(maps, mask)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(maps.grad).all()
    for number in (energy_inside(maps, mask), map_iou(maps, mask), pointing_hit(maps, mask)):
        assert torch.isfinite(number).all()
        assert 0 <= float(number) <= 1


@pytest.mark.parametrize("mask", [torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)])
def test_masks_without_object_or_background_have_a_loss(mask):
    maps = torch.rand(1, 1, 8, 8, requires_grad=True)
    loss = relevance_loss(maps, mask)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(maps.grad).all()


@pytest.mark.parametrize("scale", [0.0, 1e4, -1e4])
def test_certain_and_undecided_logits_have_a_loss(scale):
    logits = (torch.tensor([[1.0, 0.0, -1.0]]) * scale).requires_grad_()
    loss = confidence_loss(logits)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_a_batch_of_one_is_the_one_in_a_batch_of_many(network):
    torch.manual_seed(1)
    model, images, masks, labels = (
        Classifier(network),
        torch.rand(3, 3, SIZE, SIZE),
        half_mask(3),
        torch.tensor([0, 1, 2]),
    )
    together = guided_loss(model, images, masks, labels)
    alone = [guided_loss(model, images[i : i + 1], masks[i : i + 1], labels[i : i + 1]).loss for i in range(3)]
    assert float(together.loss) == pytest.approx(float(sum(alone)) / 3, rel=1e-4)


@pytest.mark.parametrize("kind", ["photo", "whole set"])
def test_a_run_on_photos_of_one_colour(tmp_path, model_folder, kind):
    images, masks = write_photos(tmp_path, 5)
    chosen = sorted(images.rglob("*.png"))
    for level, path in enumerate(chosen if kind == "whole set" else chosen[:1], start=100):
        Image.new("RGB", (SIZE, SIZE), (level, level, level)).save(path)  # equal files would be copies
    finetune(model=str(model_folder), images=str(images), masks=str(masks), out=str(tmp_path / "r"), **FAST)
    rows = [json.loads(line) for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()]
    assert all(math.isfinite(row["train_loss"]) and row["skipped_steps"] == 0 for row in rows)
    text = (tmp_path / "r" / "verdict.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text


@pytest.mark.parametrize("guidance", ["robustvit", "gradmask", "swap-augmentation", "last-layer"])
def test_a_run_with_batches_of_one(tmp_path, model_folder, photos, guidance):
    options = {"guidance": guidance, "batch_size": 1, "epochs": 1, "panels": 0}
    finetune(
        model=str(model_folder), images=str(photos[0]), masks=str(photos[1]), out=str(tmp_path / "r"), **FAST | options
    )
    row = json.loads((tmp_path / "r" / "metrics.jsonl").read_text())
    assert math.isfinite(row["train_loss"])
    assert row["skipped_steps"] == 0


def test_a_run_where_a_class_has_no_photos(tmp_path, capsys):
    images, masks = write_photos(tmp_path, 5, classes=CLASSES[:2])
    folder = save_model(Classifier(tiny_network(), class_names=CLASSES), tmp_path / "m")
    finetune(model=str(folder), images=str(images), masks=str(masks), out=str(tmp_path / "r"), **FAST)
    assert "NaN" not in (tmp_path / "r" / "verdict.json").read_text()
    (images / "stripe").mkdir()
    words = ["--model", folder, "--images", images, "--masks", masks, "--out", tmp_path / "s"]
    code = main(["finetune", *map(str, words), "--epochs", "1", "--tracker", "none", "--swaps", "0", "--panels", "0"])
    assert code == 0, capsys.readouterr().err


def test_a_run_of_one_class_alone(tmp_path, model_folder):
    images, masks = write_photos(tmp_path, 6, classes=CLASSES[:1])
    found = finetune(model=str(model_folder), images=str(images), masks=str(masks), out=str(tmp_path / "r"), **FAST)
    assert not found.verdict.accepted
    assert "nan" not in str(found).lower()


def test_a_class_with_a_single_photo_is_refused(tmp_path, model_folder, capsys):
    images, masks = write_photos(tmp_path, 1)
    words = ["--model", model_folder, "--images", images, "--masks", masks, "--out", tmp_path / "r"]
    assert "at least 2 photos of class" in said(capsys, "finetune", *words)
    assert not (tmp_path / "r").exists()


def test_measures_of_no_usable_photo_give_no_numbers_and_no_improvement(network):
    classifier = Classifier(network, class_names=CLASSES)
    folder_photos = MaskedPhotos([], classifier.preprocessing)
    found = measure(classifier, folder_photos, MeasureSettings(swaps=1))
    assert found == []
    verdict = decide(compare(found, found))
    assert not verdict.accepted
    assert "nan" not in verdict.sentence.lower()


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (SIZE + 1, SIZE - 3), (13, 200), (977, 11)])
def test_photos_whose_size_no_patch_divides(tmp_path, model_folder, size):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size, 3)).astype(np.uint8)).save(tmp_path / "a.png")
    explain([str(tmp_path / "a.png")], model=str(model_folder), out=str(tmp_path / "out"))
    (drawn,) = [path for path in (tmp_path / "out").rglob("*.png")]
    assert Image.open(drawn).size[0] > 10


@pytest.mark.parametrize("size", [50, 45, 8])
def test_models_whose_size_the_patch_does_not_divide(size):
    """timm cuts the edge off: the map is of the patches that are whole, spread over the image."""
    model = Classifier(tiny_network(img_size=size))
    images = torch.rand(2, 3, size, size)
    maps = relevance(model, images)
    assert maps.shape == (2, 1, size, size)
    assert torch.isfinite(maps).all()
    guided = guided_loss(model, images, torch.ones(2, 1, size, size).tril(), torch.tensor([0, 1]))
    guided.loss.backward()
    assert torch.isfinite(guided.loss)


@pytest.mark.parametrize("make", [tiny_network, tiny_torchvision, tiny_transformers])
def test_images_of_another_size_than_the_models_are_refused_by_a_clear_word(make):
    model = Classifier(make())
    with pytest.raises((ValueError, AssertionError), match=r"(?i)size|height|width"):
        relevance(model, torch.rand(1, 3, SIZE + 3, SIZE + 3))


def test_photos_without_an_object_in_the_crop_are_measured_without_nan(tmp_path, network):
    classifier = Classifier(network, class_names=CLASSES)
    mask = np.zeros((SIZE, 4 * SIZE), np.uint8)
    mask[:, :3] = 255  # at the very edge, which the centre crop leaves out
    Image.effect_noise((4 * SIZE, SIZE), 60).convert("RGB").save(tmp_path / "a.png")
    Image.fromarray(mask).save(tmp_path / "m.png")
    photos = MaskedPhotos([Photo(tmp_path / "a.png", tmp_path / "m.png", "disc", 0)], classifier.preprocessing)
    (found,) = measure(classifier, photos, MeasureSettings(swaps=1))
    assert all(map(math.isfinite, found.values.values()))
    assert set(found.values) == {"ordinary"}


def test_a_model_that_answers_nan_is_named(tmp_path, photos, capsys):
    network = tiny_network()
    folder = save_model(Classifier(network, class_names=CLASSES), tmp_path / "m")
    assert load_model(str(folder)).num_classes == 3
    with torch.no_grad():
        network.head.weight.fill_(1e38)  # finite themselves, what comes of them is not
    save_model(Classifier(network, class_names=CLASSES), folder)
    words = ["--model", folder, "--images", photos[0], "--masks", photos[1]]
    assert "NaN or infinity" in said(capsys, "evaluate", *words)
