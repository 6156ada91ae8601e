"""Maps must change with the weights: the test finds a map that does not, and counts as a plain loop does."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from helpers.small_models import SIZE, tiny_network
from helpers.state import state_of
from robustvit import UserError, relevance
from robustvit.cli import main as cli
from robustvit.explanation import randomisation
from robustvit.explanation.methods import RELEVANCE_METHODS
from robustvit.explanation.methods.trace import Trace
from robustvit.explanation.randomisation import measure_sanity
from robustvit.models.classifier import Classifier


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Classifier(tiny_network(depth=4)).eval()


@pytest.fixture
def images():
    return torch.rand(5, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def brightness(model, images, second_order=False):
    """A map of the picture alone, as an edge detector is."""
    return Trace(model(images), lambda target, differentiable: images.mean(dim=1))


def ranks(values):
    """Ranks from 1, ties averaged, by counting."""
    return np.array([(values < v).sum() + ((values == v).sum() + 1) / 2 for v in values])


def test_a_map_that_does_not_depend_on_the_weights_is_found(model, images, monkeypatch):
    monkeypatch.setitem(RELEVANCE_METHODS, "brightness", brightness)
    found = measure_sanity(model, images, ["gae", "brightness"])
    assert found.stages == ["head", "block 4", "block 3", "block 2", "block 1"]
    assert all(one.mean == pytest.approx(1) for one in found.similarity["brightness"])
    assert abs(found.similarity["gae"][-1].mean) < 0.8


def test_weights_are_shuffled_on_a_copy_from_the_head_down(model, images, monkeypatch):
    before, seen = state_of(model.network), []
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}

    def spy(model, images, target, *, method):
        seen.append({name: weight.clone() for name, weight in model.state_dict().items()})
        return relevance(model, images, target, method=method)

    monkeypatch.setattr(randomisation, "relevance", spy)
    measure_sanity(model, images, ["rollout"], seed=3)
    assert state_of(model.network) == before
    assert all(torch.equal(weights[name], weight) for name, weight in model.state_dict().items())
    changed = [{name for name in seen[0] if not torch.equal(seen[0][name], one[name])} for one in seen]
    assert not changed[0]
    assert all("head" in name for name in changed[1])
    assert changed[1]
    for stage, block in enumerate((3, 2, 1, 0), start=2):
        new = changed[stage] - changed[stage - 1]
        assert new
        assert all(f"blocks.{block}." in name for name in new)
    for name in changed[-1]:
        assert torch.equal(seen[0][name].flatten().sort().values, seen[-1][name].flatten().sort().values)


def test_correlation_is_that_of_plain_ranks():
    rng = np.random.default_rng(0)
    ones, others = rng.integers(0, 9, (4, 40)).astype(float), rng.integers(0, 9, (4, 40)).astype(float)
    ones[3] = 2.0
    found = randomisation._correlate(ones, others)
    for index in range(3):
        a, b = ranks(ones[index]), ranks(others[index])
        a, b = a - a.mean(), b - b.mean()
        assert found[index] == pytest.approx((a @ b) / np.sqrt((a @ a) * (b @ b)))
    assert found[3] == 0


def test_the_command_shows_and_records_it(capsys, tmp_path, model_folder, photos):
    out = tmp_path / "scores.json"
    arguments = ["--model", model_folder, "--images", photos[0] / "disc", "--steps", 1, "--methods", "gae,rollout"]
    assert cli.main(["faithfulness", *map(str, arguments), "--randomised", "3", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "from the head down (1: unchanged), 3 photos" in text
    assert "gae, rollout" in text
    written = json.loads(out.read_text())["sanity"]
    assert written["photos"] == 3
    assert len(written["similarity"]["gae"]) == len(written["stages"])
    assert cli.main(["faithfulness", *map(str, arguments), "--randomised", "0"]) == 0
    assert "from the head down" not in capsys.readouterr().out
    assert cli.main(["faithfulness", *map(str, arguments), "--randomised", "-1"]) == 2


def test_a_network_without_blocks_is_refused(images):
    with pytest.raises(UserError):
        measure_sanity(Classifier(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIZE**2, 3))), images, [])
