"""Trials of a sweep measure the original once, unless something that its measures depend on differs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from helpers.small_models import tiny_network
from robustvit import load_model
from robustvit.common.run_folder import RunFolder
from robustvit.data.class_matching import match_labels
from robustvit.data.datasets import MaskedPhotos
from robustvit.data.find_photos import find_photos
from robustvit.data.overlap import hash_photos
from robustvit.evaluation.measure import measure
from robustvit.evaluation.measuring import MeasureSettings
from robustvit.experiments.trials import start_sweep_folder
from robustvit.training.originals import measure_once, remember_insertions


@pytest.fixture
def call(tmp_path, photos):
    """Measures in a sweep's folder, and how often the model was really measured."""
    start_sweep_folder(tmp_path / "sweep", {})
    model = load_model(tiny_network(), class_names=("disc", "frame", "stripe"))
    listed = match_labels(find_photos(*photos), 3, model.class_names)[:6]
    calls = []

    def run(trial, *, settings=None, model=model, listed=listed):
        data = MaskedPhotos(listed, model.preprocessing)
        settings = settings or MeasureSettings(swaps=1, maps=False)

        def now():
            calls.append(trial)
            return measure(model, data, settings)

        shared = RunFolder(tmp_path / "sweep" / trial).originals
        return measure_once(shared, model, data, settings, hash_photos(listed), now)

    return run, calls, listed, model


def test_a_second_trial_takes_the_same_measures(call):
    run, calls, _, _ = call
    assert run("a") == run("b")
    assert calls == ["a"]


@pytest.mark.parametrize("change", ["seed", "batch", "photos", "label", "weights"])
def test_what_measures_depend_on_is_measured_anew(call, change):
    run, calls, listed, model = call
    run("a")
    settings = MeasureSettings(swaps=1, maps=False)
    if change == "seed":
        run("b", settings=replace(settings, seed=1))
    elif change == "batch":
        run("b", settings=replace(settings, batch_size=2))
    elif change == "photos":
        run("b", listed=listed[:5])
    elif change == "label":
        run("b", listed=[replace(listed[0], label=2), *listed[1:]])
    else:
        with torch.no_grad():
            next(model.parameters()).flatten()[0] += 1
        run("b")
    assert calls == ["a", "b"]


def test_answers_to_insertions_are_asked_once_for_all_trials(tmp_path, call):
    _, _, listed, model = call
    asked = []

    def ask(indices, changes):
        asked.append((tuple(indices), tuple(changes)))
        return {name: [10 * index + len(name) for index in indices] for name in changes}

    data, shared = MaskedPhotos(listed, model.preprocessing), RunFolder(tmp_path / "sweep" / "a").originals
    of_a, of_b = (remember_insertions(shared, model, data, MeasureSettings(), hash_photos(listed))(ask) for _ in "ab")
    changes = {"frame": torch.neg, "grey": torch.neg}
    first = of_a([0, 2], changes)
    assert first == {"frame": [5, 25], "grey": [4, 24]} == of_b([0, 2], changes)
    assert asked == [((0, 2), ("frame", "grey"))]
    assert of_b([1], {"grey": torch.neg}) == {"grey": [14]} == of_a([1], {"grey": torch.neg})
    assert len(asked) == 2
    alone = remember_insertions(None, model, data, MeasureSettings(), hash_photos(listed))(ask)
    assert alone([0], {"grey": torch.neg}) == {"grey": [4]}
    assert len(asked) == 3


def test_a_run_by_itself_shares_nothing(tmp_path):
    (tmp_path / "originals").mkdir()
    assert RunFolder(tmp_path / "run").originals is None
