"""Deletion and insertion curves against a loop over pixels, and the command that compares methods by them."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
import timm
import torch

from helpers.small_models import SIZE, tiny_network
from robustvit import UserError, faithfulness
from robustvit.cli import main as cli
from robustvit.explanation.deletion import deletion_insertion, make_filling
from robustvit.models.classifier import Classifier
from robustvit.models.save import save_model


def plain_curves(network, image, relevance, target, steps, empty):
    """One image, one pixel after the other."""
    rows, columns = relevance.shape
    places = sorted(((float(relevance[r, c]), r, c) for r in range(rows) for c in range(columns)), reverse=True)
    curves = []
    for start, end in ((image, empty), (empty, image)):
        changed, values, done = start.clone(), [], 0
        for step in range(steps + 1):
            while done < round(step / steps * len(places)):
                _, r, c = places[done]
                changed[:, r, c] = end[:, r, c]
                done += 1
            values.append(float(network(changed[None]).softmax(dim=1)[0, target].detach()))
        curves.append(values)
    areas = [sum((a + b) / 2 for a, b in pairwise(c)) / steps for c in curves]
    return curves, areas


@pytest.mark.parametrize("fill", ["mean", "blur"])
@pytest.mark.parametrize("steps", [1, 7])
def test_equals_the_plain_loop(fill, steps):
    network = tiny_network().double()
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(3, 3, SIZE, SIZE, dtype=torch.float64, generator=generator)
    maps = torch.rand(3, 1, SIZE, SIZE, dtype=torch.float64, generator=generator)
    target = torch.tensor([2, 0, 1])
    ours = deletion_insertion(network, images, maps, target, steps=steps, fill=fill)
    empty = make_filling(images, fill)
    for i in range(3):
        curves, areas = plain_curves(network, images[i], maps[i, 0], target[i], steps, empty[i])
        assert ours.deletion[i].tolist() == pytest.approx(curves[0], abs=1e-6)
        assert ours.insertion[i].tolist() == pytest.approx(curves[1], abs=1e-6)
        assert float(ours.deletion_auc[i]) == pytest.approx(areas[0], abs=1e-6)
        assert float(ours.insertion_auc[i]) == pytest.approx(areas[1], abs=1e-6)


class Bright(torch.nn.Module):
    """Class 1 is as likely as the top left corner is bright."""

    num_classes = 2

    def forward(self, images):
        bright = images[:, :, :4, :4].mean(dim=(1, 2, 3))
        return torch.stack([torch.zeros_like(bright), 20 * (bright - 0.5)], dim=1)


def test_right_map_beats_wrong_map_and_ties_have_no_favourite_place():
    images = torch.full((1, 3, 16, 16), 0.2)
    images[:, :, :4, :4] = 1
    right = torch.zeros(1, 16, 16)
    right[:, :4, :4] = 1
    good, bad, tied = (
        deletion_insertion(Bright(), images, maps, steps=16) for maps in (right, 1 - right, torch.ones(1, 16, 16))
    )
    assert good.deletion_auc < tied.deletion_auc < bad.deletion_auc
    assert good.insertion_auc > tied.insertion_auc > bad.insertion_auc
    assert good.deletion[0, 1] < 0.1, "the first sixteenth of the pixels is the corner"
    assert good.deletion[0, 0] == good.insertion[0, -1]


def test_fillings():
    images = torch.rand(2, 3, 20, 30)
    assert torch.allclose(make_filling(images, "mean")[1, 2, 5, 5], images[1, 2].mean())
    blurred = make_filling(images, "blur")
    assert blurred.shape == images.shape
    assert blurred.std() < images.std() / 3
    with pytest.raises(UserError, match="blur"):
        make_filling(images, "white")


def test_mistakes_are_refused():
    images = torch.rand(2, 3, SIZE, SIZE)
    with pytest.raises(UserError, match="like the images"):
        deletion_insertion(tiny_network(), images, torch.rand(2, 1, 6, 6))
    with pytest.raises(UserError, match="finite"):
        deletion_insertion(tiny_network(), images, torch.full((2, SIZE, SIZE), torch.nan))
    with pytest.raises(UserError, match="steps"):
        deletion_insertion(tiny_network(), images, torch.rand(2, SIZE, SIZE), steps=0)


def test_command_measures_every_method(capsys, tmp_path, model_folder, photos):
    out = tmp_path / "new" / "scores.json"
    arguments = ["--model", model_folder, "--images", photos[0] / "disc", "--steps", 3, "--out", out]
    assert cli.main(["faithfulness", *map(str, arguments)]) == 0
    text = capsys.readouterr().out
    written = json.loads(out.read_text())
    for name in ("gae", "attnlrp", "rollout", "raw_attention", "grad_cam", "input_gradient", "random"):
        assert f"\n  {name} " in text
        score = written["scores"][name]
        assert score["deletion"]["low"] <= score["deletion"]["mean"] <= score["deletion"]["high"]
        assert len(score["photos"]) == len(written["photos"]) == 10
    assert written["settings"]["steps"] == 3
    assert cli.main(["faithfulness", *map(str, arguments)]) == 2, "nothing is overwritten"


def test_unsupported_methods_are_listed_with_the_reason(tmp_path, photos):
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=3)
    folder = save_model(Classifier(network), tmp_path / "cnn")
    found = faithfulness(model=str(folder), images=str(photos[0] / "disc"), methods="gae, grad_cam", steps=2)
    assert set(found.scores) == {"grad_cam", "random"}
    assert "no attention" in found.unsupported["gae"]
    assert "not measured" in str(found)
    for wrong, word in ({"methods": "gae"}, "no attention"), ({"methods": "magic"}, "magic"), ({"steps": 0}, "steps"):
        with pytest.raises(UserError, match=word):
            faithfulness(model=str(folder), images=str(photos[0]), **wrong)
