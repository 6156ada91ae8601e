"""FOUND: a convolution on the keys of a backbone, against plain code, with weights that the test writes."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from helpers.small_models import SIZE, tiny_network
from robustvit import Classifier, UserError, make_masks
from robustvit.data.mask_files import read_mask
from robustvit.masks.sources.found import Found, fetch_weights, load_convolution
from robustvit.models.save import save_model

WIDTH = 24


def convolution(seed=0):
    generator = torch.Generator().manual_seed(seed)
    weight = 10 * torch.randn(1, WIDTH, 1, 1, generator=generator)
    return {"weight": weight, "bias": torch.zeros(1) + seed / 10}


@pytest.fixture
def weights(tmp_path):
    """As the authors save them."""
    path = tmp_path / "found.pt"
    torch.save({"decoder": convolution()}, path)
    return path


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for name, size in (("a.png", (48, 64)), ("b.png", (50, 40))):
        image = Image.fromarray(rng.integers(0, 90, (*size, 3), dtype=np.uint8))
        ImageDraw.Draw(image).ellipse((12, 12, 36, 36), fill=(220, 200, 40))
        image.save(tmp_path / "photos" / name)
    return tmp_path / "photos"


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return save_model(Classifier(tiny_network()), tmp_path_factory.mktemp("backbone") / "tiny")


def plain_mask(image, state, threshold):
    """Keys of the last block from its own layer, one patch after the other, in float64."""
    classifier = Classifier(tiny_network().double())
    caught = []
    classifier.network.blocks[-1].attn.qkv.register_forward_hook(lambda _, __, output: caught.append(output))
    pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].double() / 255
    with torch.no_grad():
        classifier(pixels)
    keys = caught[0][0, 1:, WIDTH : 2 * WIDTH].tolist()
    weight = state["weight"].flatten().tolist()
    logits = [sum(w * k for w, k in zip(weight, key, strict=True)) + float(state["bias"]) for key in keys]
    grid = torch.tensor(logits, dtype=torch.float64).reshape(1, 1, SIZE // 8, SIZE // 8)
    large = torch.nn.functional.interpolate(grid, (SIZE, SIZE), mode="bilinear", align_corners=False)
    return (large.sigmoid() > threshold)[0, 0].numpy()


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8])
def test_found_against_a_plain_one(photos, weights, threshold):
    image = Image.open(photos / "a.png").crop((0, 0, SIZE, SIZE))
    source = Found(Classifier(tiny_network()), weights=str(weights), size=SIZE, threshold=threshold, refine=False)
    found = source.finish(source.prepare([image], [None])[0])
    expected = plain_mask(image, convolution(), threshold)
    assert 0 < expected.mean() < 1
    assert (found.mask.astype(bool) != expected).mean() < 0.002
    assert found.measures["share"] == pytest.approx(found.mask.mean())


def test_found_command(photos, weights, backbone):
    made = make_masks(str(photos), out=str(photos.parent / "masks"), method="found", model=str(backbone),
                      weights=str(weights), size=64, device="cpu")  # fmt: skip
    assert len(made.records) == 2
    with made.manifest.open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["source"], row["threshold"], row["prompt"]) for row in rows} == {("found", "0.5", "")}
    assert all(row["model"] for row in rows)
    for record in made.records:
        assert record.mask is None or read_mask(record.mask).shape == Image.open(record.image).size[::-1]


def test_another_convolution_makes_the_masks_anew(photos, weights, backbone):
    options = {"method": "found", "model": str(backbone), "weights": str(weights), "size": 64, "device": "cpu"}
    first = make_masks(str(photos), out=str(photos.parent / "masks"), refine=False, **options)
    assert make_masks(str(photos), out=str(photos.parent / "masks"), refine=False, **options).made == 0
    torch.save(convolution(1), weights)  # bare, under the same name
    again = make_masks(str(photos), out=str(photos.parent / "masks"), refine=False, **options)
    assert (first.made, again.made) == (2, 2)
    assert [one.measures["share"] for one in first.records] != [one.measures["share"] for one in again.records]


@pytest.mark.parametrize(
    "saved",
    [
        {"decoder": convolution()},
        convolution(),
        {"state_dict": {f"model.decoder.{name}": one for name, one in convolution().items()}},
        {"conv1x1.weight": convolution()["weight"], "conv1x1.bias": convolution()["bias"]},
    ],
)
def test_layouts_of_files(tmp_path, saved):
    torch.save(saved, tmp_path / "w.pt")
    loaded = load_convolution(str(tmp_path / "w.pt"), Classifier(tiny_network()))
    assert torch.equal(loaded.weight, convolution()["weight"])
    assert torch.equal(loaded.bias, convolution()["bias"])


@pytest.mark.parametrize(
    ("saved", "words"),
    [
        ({"decoder": {"weight": torch.zeros(1, 384, 1, 1), "bias": torch.zeros(1)}}, "1 x 24 x 1 x 1"),
        ({"decoder": {"weight": torch.zeros(1, WIDTH, 1, 1)}}, "lacks bias"),
        ({"epoch": 3}, "expected a state dict"),
    ],
)
def test_other_files_are_refused(tmp_path, saved, words):
    torch.save(saved, tmp_path / "w.pt")
    with pytest.raises(UserError, match=words):
        load_convolution(str(tmp_path / "w.pt"), Classifier(tiny_network()))


def test_the_authors_weights_are_fetched_once(tmp_path, monkeypatch, weights):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    asked = []

    def download(url, file, progress):
        asked.append(url)
        with open(file, "wb") as target:
            target.write(weights.read_bytes())

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    assert fetch_weights() == fetch_weights()
    assert len(asked) == 1
    assert "decoder_weights.pt" in asked[0]
    load_convolution(fetch_weights(), Classifier(tiny_network()))


def test_without_network_the_line_says_what_to_do(photos, backbone, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(UserError, match="--weights FILE, or use --method tokencut") as caught:
        make_masks(str(photos), out=str(photos.parent / "masks"), method="found", model=str(backbone), size=64)
    assert "\n" not in str(caught.value)
    assert not (photos.parent / "masks").exists()
