"""TokenCut under the paper's protocol: positions as DINO interpolates them, and the photos that the authors skip."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from plain.dino_positions import plain_positions
from robustvit import UserError, make_masks
from robustvit.data.manifest import read_manifest
from robustvit.explanation.features import patch_features
from robustvit.masks.options import MaskOptions
from robustvit.masks.sources.tokencut import TokenCut, dino_positions
from robustvit.masks.tokencut.cut import CutSettings
from robustvit.models.load import load_model

TINY = "vit_tiny_patch16_224"


@pytest.mark.parametrize("size", [(80, 112), (224, 224), (256, 240)])
def test_positions_are_interpolated_as_dinos(size):
    torch.manual_seed(0)
    network = timm.create_model(TINY, num_classes=0, dynamic_img_size=True).eval()
    seen = []
    network.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.zeros(1, 3, *size)
    with torch.no_grad(), dino_positions(network):
        network(images)
    new = (size[0] // 16, size[1] // 16)
    table = network.pos_embed[0, 1:].detach().double().numpy().reshape(14, 14, -1)
    wanted = table if size == (224, 224) else plain_positions(table, 14, new)
    patches = network.patch_embed(images).detach().double().numpy()[0]
    assert np.abs(seen[0][0, 1:].double().numpy().reshape(*new, -1) - (patches + wanted)).max() < 1e-5
    with torch.no_grad():
        network(images)
    assert torch.equal(seen[0], seen[1]) == (size == (224, 224)), "undone afterwards"


def test_paper_protocol_sees_photos_at_their_own_size(weights):
    """Whole patches, resized with Pillow's Lanczos filter, one photo at a time."""
    model = load_model(TINY, checkpoint=str(weights), head="none")
    source = TokenCut(model, size=None, block=1, settings=CutSettings(protocol="paper"))
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (70, 121, 3), np.uint8))
    assert source.input_size(photo) == (64, 128)  # 4.4 and 7.6 patches
    job = source.prepare([photo, photo], [Path("a"), Path("b")])[1]
    resized = np.asarray(photo.resize((128, 64), Image.Resampling.LANCZOS))
    images = torch.from_numpy(resized.copy()).permute(2, 0, 1)[None].float() / 255
    with dino_positions(model.network):
        expected = patch_features(model, images, block=1)[0].numpy()
    assert np.array_equal(job.features, expected)
    assert job.photo.shape == (70, 121, 3)


def test_paper_protocol_names_photos_that_are_too_large(weights, monkeypatch):
    monkeypatch.setattr("robustvit.masks.sources.tokencut._MOST_PATCHES", 30)
    source = TokenCut(load_model(TINY, checkpoint=str(weights), head="none"), size=None)
    small, large = Image.new("RGB", (80, 80)), Image.new("RGB", (96, 96))
    found = [source.finish(job) for job in source.prepare([large, small], [Path("a"), Path("b")])]
    assert found[0].reason == "too large to cut, more than 30 patches (36)"
    assert found[0].mask.shape == (96, 96)
    assert "too large" not in found[1].reason


def test_paper_protocol_is_recorded_and_skips_are_counted(tmp_path, images, weights):
    Image.new("RGB", (20, 20), "grey").save(images / "frame" / "flat.png")
    small = Image.new("RGB", (96, 96), "white")
    small.paste("blue", (32, 32, 48, 48))
    small.save(images / "frame" / "small.png")
    options = {"model": TINY, "checkpoint": str(weights), "block": 1, "centre": True, "device": "cpu"}
    made = make_masks(str(images), out=str(tmp_path / "masks"), protocol="paper", **options)
    settings = json.loads((tmp_path / "masks" / "settings.json").read_text())
    assert {name: settings[name] for name in ("protocol", "size", "side", "objects", "refine")} == {
        "protocol": "paper", "size": None, "side": "seed", "objects": 1, "refine": True
    }  # fmt: skip
    by_name = {record.image.name: record for record in made.records}
    assert by_name["small.png"].verdict == "none"
    assert by_name["small.png"].reason == "fewer than 520 pixels (256)"
    assert made.skipped["fewer than 520 pixels"] == 1
    assert made.skipped["the photo is of one colour"] == 1
    assert "  1 photo: fewer than 520 pixels" in str(made)
    for record in made.records:
        assert record.verdict in ("good", "none")
        assert (record.mask is None) == (record.verdict == "none")
    with pytest.raises(UserError, match="made with protocol paper, not standard"):
        make_masks(str(images), out=str(tmp_path / "masks"), **options)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"size": 320}, "sets size itself .* leave out --size 320"),
        ({"objects": 3}, "leave out --objects 3"),
        ({"refine": False}, "leave out --refine False"),
        ({"method": "rembg"}, "needs --method tokencut, got rembg"),
        ({"protocol": "papers"}, "expected --protocol to be one of paper, standard, got 'papers'"),
    ],
)
def test_paper_protocol_leaves_few_options_open(tmp_path, images, options, error):
    with pytest.raises(UserError, match=error):
        make_masks(str(images), out=str(tmp_path / "masks"), **({"protocol": "paper"} | options))
    assert not (tmp_path / "masks").exists()


def test_paper_protocol_takes_dinos_base_model():
    assert MaskOptions(protocol="paper").apply_protocol().model == "vit_base_patch16_224.dino"
    assert MaskOptions().apply_protocol() == MaskOptions(protocol="standard")


def test_folders_of_versions_without_protocols_go_on(tmp_path, images, settings):
    out = tmp_path / "masks"
    first = make_masks(str(images), out=str(out), **settings)
    kept = json.loads((out / "settings.json").read_text())
    del kept["protocol"]
    (out / "settings.json").write_text(json.dumps(kept))
    assert make_masks(str(images), out=str(out), **settings).made == 0
    assert read_manifest(out / "manifest.csv") == first.records
