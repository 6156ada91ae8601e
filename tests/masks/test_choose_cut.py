"""The cut of a backbone that is not DINO: the best of a few on a few photos, said, recorded, and kept."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from helpers.drawn_photos import CLASSES, draw_photo
from robustvit import make_masks
from robustvit.data.placed_photos import place_folder
from robustvit.masks.choose_cut import CUTS, choose_cut, list_cuts
from robustvit.masks.options import MaskOptions
from robustvit.masks.sources.tokencut import TokenCut
from robustvit.models.load import load_model

TINY = "vit_tiny_patch16_224"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small backbone whose patches differ by colour, beside a large part that all have in common."""
    torch.manual_seed(0)
    state = timm.create_model(TINY, num_classes=0).state_dict()
    state["patch_embed.proj.weight"].copy_(torch.randn(192, 3, 1, 1).expand(192, 3, 16, 16) / 256)
    state["patch_embed.proj.bias"].copy_(torch.randn(192))
    state["pos_embed"].zero_()
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(state, path)
    return str(path)


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (tmp_path / "photos" / name).mkdir(parents=True)
        draw_photo(rng, label, 96)[0].save(tmp_path / "photos" / name / "0.png")
    return tmp_path / "photos"


@pytest.fixture
def options(weights):
    return MaskOptions(model=TINY, checkpoint=weights, block=1, size=96, refine=False)


def test_dino_keeps_the_cut_of_tokencut_without_a_trial(tmp_path):
    for name in (None, "vit_base_patch16_224.dino", "timm:vit_small_patch8_224.dino", "facebook/dino-vits16"):
        chosen = choose_cut(MaskOptions(model=name), ["never opened"], tmp_path / "masks", CPU)
        assert (chosen.feature, chosen.centre, chosen.threshold) == ("keys", False, 0.2)


def test_what_the_user_chose_is_kept():
    assert {one.threshold for one in list_cuts(MaskOptions(threshold=0.3))} == {0.3}
    assert len(list_cuts(MaskOptions(threshold=0.3))) == 3  # two of the cuts differ in it alone
    assert list_cuts(MaskOptions(feature="values", centre=False, threshold=0.5)) == [
        MaskOptions(feature="values", centre=False, threshold=0.5)
    ]
    assert len(list_cuts(MaskOptions())) == len(CUTS)


def test_the_cut_with_the_highest_mean_confidence_is_chosen(tmp_path, images, options, capsys):
    photos, _ = place_folder(str(images))
    chosen = choose_cut(options, photos, tmp_path / "masks", CPU)
    model = load_model(TINY, checkpoint=options.checkpoint, head="none")
    means = []
    for cut in CUTS:
        source = TokenCut.of(replace(options, **cut), model)
        found = [
            source.finish(source.prepare([Image.open(one.image).convert("RGB")], [one.image])[0]) for one in photos
        ]
        means.append(np.mean([one.confidence for one in found]))
    assert means[0] == 0 < max(means)  # DINO's own cut finds nothing here
    assert chosen == replace(options, **CUTS[int(np.argmax(means))])
    said = capsys.readouterr().err
    assert f"(mean confidence {max(means):.2f})" in said
    assert "--feature, --centre and --threshold choose another" in said


def test_an_own_backbone_makes_masks_without_an_option_and_a_second_call_goes_on(tmp_path, images, weights, capsys):
    given = {"model": TINY, "checkpoint": weights, "block": 1, "size": 96, "device": "cpu"}
    made = make_masks(str(images), out=str(tmp_path / "masks"), **given)
    assert any(record.mask for record in made.records)
    recorded = json.loads((tmp_path / "masks" / "settings.json").read_text())
    assert {name: recorded[name] for name in CUTS[0]} in CUTS
    assert "compares patches by" in capsys.readouterr().err
    (images / "new").mkdir()
    draw_photo(np.random.default_rng(1), 0, 96)[0].save(images / "new" / "1.png")
    again = make_masks(str(images), out=str(tmp_path / "masks"), **given)
    assert again.made == 1
    assert "compares patches by" not in capsys.readouterr().err  # the folder's cut, not another trial
