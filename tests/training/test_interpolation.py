"""Weights between the original and the finetuned model: the formula, the choice of the share, and whole runs."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from robustvit import UserError, finetune, load_model
from robustvit.data.class_matching import match_labels
from robustvit.data.datasets import MaskedPhotos
from robustvit.data.find_photos import find_photos
from robustvit.evaluation.measure import measure
from robustvit.evaluation.measuring import MeasureSettings
from robustvit.training.interpolation import SHARES, choose_share, describe_share, interpolate_weights
from robustvit.training.schedule import Schedule

FAST = {"epochs": 2, "lr": 3e-3, "swaps": 1, "panels": 0, "samples_per_class": 4, "backgrounds": "none"}


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1), st.integers(0, 2**31))
def test_weights_lie_on_the_line_between_both(share, seed):
    rng = np.random.default_rng(seed)
    original, finetuned = rng.normal(size=(2, 3, 2))
    counters = {"batches": torch.tensor(7)}
    found = interpolate_weights(
        {"w": torch.from_numpy(original), "batches": torch.tensor(2)},
        {"w": torch.from_numpy(finetuned)} | counters,
        share,
    )
    plain = [
        [(1 - share) * a + share * b for a, b in zip(*row, strict=True)]
        for row in zip(original, finetuned, strict=True)
    ]
    np.testing.assert_allclose(found["w"].numpy(), plain, rtol=0, atol=1e-12)
    assert found["batches"] == 7


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=10, max_size=10))
def test_the_highest_sum_of_every_second_share_and_its_neighbours_wins_and_of_equal_ones_the_smallest(answers):
    by_share = {0.0: (3, 0)} | dict(zip(SHARES, answers, strict=True))
    share, tried = choose_share(
        lambda at: {"ordinary": by_share[at][0] / 4, "mixed-other": by_share[at][1] / 4, "mixed-same": 1.0}, 25.0
    )
    sums = [sum(pair) if pair[0] >= 2 else -1 for pair in answers]
    first = max((sums[at], -at) for at in (1, 3, 5, 7, 9))  # every second share; of equal sums the smallest share
    near = [at for at in range(10) if at % 2 or abs(at + first[1]) == 1]
    assert share == SHARES[-max((sums[at], -at) for at in near)[1]]
    listed = [0.0, *(SHARES[at] for at in near)]
    assert tried == [{"share": s, "ordinary": by_share[s][0] / 4, "mixed-other": by_share[s][1] / 4} for s in listed]
    assert ("those of the finetuned model" if share == 1 else f"{share:g} of the way") in describe_share(
        share, tried, 25.0
    )
    lost = by_share[share][0] < 2
    assert ("lost more" in describe_share(share, tried, 25.0)) == lost


def test_a_share_that_lost_more_than_allowed_is_not_called_within_it():
    share, tried = choose_share(lambda at: {"ordinary": 0.9 - 0.5 * at, "mixed-other": 0.5}, 2.0)
    assert share == 0.1
    said = describe_share(share, tried, 2.0)
    assert "each of 7 steps tried lost more on the validation photos than the 2 points allowed" in said
    assert "the smallest is kept" in said
    assert "within the allowed loss" in describe_share(share, tried, 5.0)


@pytest.mark.parametrize("wrong", [0, 1.01, -0.5, float("nan"), "half"])
def test_other_shares_are_refused(wrong):
    with pytest.raises(UserError, match="--weight-interpolation auto, or above 0 and at most 1") as caught:
        Schedule(weight_interpolation=wrong)
    assert "\n" not in str(caught.value)


def test_choosing_needs_swaps():
    with pytest.raises(UserError, match="--swaps of at least 1 for --weight-interpolation auto, got 0"):
        Schedule(weight_interpolation="auto").check_swaps(0)
    Schedule(weight_interpolation=0.5).check_swaps(0)


@pytest.fixture(scope="module")
def chosen(tmp_path_factory, model_folder, photos):
    out = tmp_path_factory.mktemp("runs") / "auto"
    images, masks = map(str, photos)
    found = finetune(
        model=str(model_folder), images=images, masks=masks, out=str(out), guidance="swap-augmentation",
        weight_interpolation="auto", **FAST,
    )  # fmt: skip
    return out, found


def test_the_kept_model_lies_where_the_run_says(chosen, model_folder):
    out, found = chosen
    record = json.loads((out / "interpolation.json").read_text())
    ends = [load_file(folder / "model.safetensors") for folder in (model_folder, out / "finetuned")]
    kept = load_file(out / "best" / "model.safetensors")
    for name, weight in kept.items():
        plain = (1 - record["share"]) * ends[0][name].double() + record["share"] * ends[1][name].double()
        torch.testing.assert_close(weight.double(), plain, rtol=0, atol=1e-6)
    assert describe_share(record["share"], record["tried"], 2.0) in found.verdict.notes
    assert any(not torch.equal(ends[0][name], ends[1][name]) for name in kept)


def test_the_share_is_chosen_on_the_validation_photos(chosen, model_folder, photos):
    out, _ = chosen
    record = json.loads((out / "interpolation.json").read_text())
    listed = (out / "selection.csv").read_text().splitlines()
    held = [line for line in listed if ",validation," in f",{line},"]
    model = load_model(f"local-dir:{out / 'finetuned'}")
    every = match_labels(find_photos(*photos), 3, model.class_names)
    validation = MaskedPhotos([p for p in every if any(str(p.image) in line for line in held)], model.preprocessing)
    assert len(validation) > 3
    ends = [load_file(folder / "model.safetensors") for folder in (model_folder, out / "finetuned")]
    for row in record["tried"][::3]:
        model.network.load_state_dict(
            {name: (ends[0][name] + row["share"] * (end - ends[0][name])) for name, end in ends[1].items()}
        )
        seen = measure(model, validation, MeasureSettings(swaps=1, maps=False))
        for name in ("ordinary", "mixed-other"):
            assert row[name] == pytest.approx(np.mean([one.values[name] for one in seen if name in one.values]))


def test_a_run_killed_while_it_interpolates_ends_the_same(chosen, model_folder, photos, tmp_path):
    out = tmp_path / "killed"
    shutil.copytree(chosen[0], out)
    whole = (out / "best" / "model.safetensors").read_bytes()
    shutil.rmtree(out / "best")
    for name in ("verdict.json", "after.json", "interpolation.json"):
        (out / name).unlink()
    images, masks = map(str, photos)
    options = FAST | {"guidance": "swap-augmentation", "weight_interpolation": "auto"}
    found = finetune(model=str(model_folder), images=images, masks=masks, out=str(out), resume=True, **options)
    assert found.verdict == chosen[1].verdict
    assert (out / "best" / "model.safetensors").read_bytes() == whole


def test_a_given_share_and_the_last_epoch(tmp_path, model_folder, photos):
    out, (images, masks) = tmp_path / "run", map(str, photos)
    found = finetune(
        model=str(model_folder), images=images, masks=masks, out=str(out), guidance="swap-relevance", select="last",
        lr_schedule="cosine", weight_interpolation=0.25, **FAST,
    )  # fmt: skip
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["best"] for row in rows] == [False, True]
    assert ["val_loss" in row for row in rows] == [False, True], "only the epoch that is kept is validated"
    assert all({"train_relevance", "train_classification"} <= row.keys() for row in rows)
    assert (out / "finetuned" / "model.safetensors").read_bytes() == (out / "last" / "model.safetensors").read_bytes()
    assert "0.25 of the way" in " ".join(found.verdict.notes)
    assert json.loads((out / "interpolation.json").read_text()) == {"share": 0.25, "tried": []}
