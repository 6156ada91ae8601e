"""Experiment files: names of trials, grids, and mistakes."""

from __future__ import annotations

import inspect
import itertools
import random
from pathlib import Path

import pytest
import yaml

from helpers.sweeps import write_yaml
from robustvit import UserError, finetune
from robustvit.cli import main as cli
from robustvit.experiments.sweeps.experiment_grid import SHIPPED_EXPERIMENTS, read_experiment
from robustvit.experiments.sweeps.finetune_options import FINETUNE_OPTIONS, effective_options
from robustvit.experiments.trials import trial_key


def key_of(options):
    return trial_key(effective_options(options, "test"))


def test_key_does_not_depend_on_how_options_are_written():
    options = {"images": "photos", "model": "vit", "lr": 5e-7, "epochs": 3, "classes": 0.5, "second_order": True}
    key = key_of(options)
    assert len(key) == 12
    generator = random.Random(0)
    for _ in range(20):
        names = generator.sample(list(options), len(options))
        assert key_of({name: options[name] for name in names}) == key
    block = yaml.safe_load("images: photos\nmodel: vit\nlr: 5e-7\nepochs: 3\nclasses: 0.5\nsecond_order: yes\n")
    flow = yaml.safe_load(
        "{second_order: true, classes: .5, epochs: 3, 'lr': 5.0e-07, model: 'vit', images: \"photos\"}"
    )
    assert isinstance(block["lr"], str), "YAML leaves a number without a point as a text"
    assert key_of(block) == key_of(flow) == key
    spelled = {"batch_size": 8, "weight_decay": 0.0001, "temperature": 1, "normalization": "model", "masks": None}
    assert key_of(options | spelled | {"precision": False, "workers": 0}) == key, "YAML reads precision: no as false"


def test_recipe_and_its_rate_spelled_out_are_the_same_run():
    options = {"images": "photos", "recipe": "deit-s"}
    assert key_of(options) == key_of(options | {"lr": 1e-6, "temperature": 0.55, "normalization": "paper"})
    assert key_of(options) != key_of(options | {"lr": 2e-6})


@pytest.mark.parametrize(
    "change",
    [{"images": "photos/"}, {"seed": 1}, {"lr": 1.1e-6}, {"classes": 1}, {"classes": 1.0}, {"classes": ["a", "b"]},
     {"second_order": True}, {"val_images": "other"}],
    ids=str,
)  # fmt: skip
def test_every_option_counts_in_the_key(change):
    options = {"images": "photos", "model": "vit", "lr": 1e-6}
    assert key_of(options) != key_of(options | change)
    assert key_of({"images": "p", "model": "v", "classes": 1}) != key_of({"images": "p", "model": "v", "classes": 1.0})


def test_every_option_of_finetune_but_its_folder_can_be_swept():
    assert set(FINETUNE_OPTIONS) == set(inspect.signature(finetune).parameters) - {
        "at_inference",
        "out",
        "resume",
        "save_every",
    }
    assert set(effective_options({"images": "p", "model": "v"}, "test")) == set(FINETUNE_OPTIONS)


def test_grid_is_every_combination(tmp_path, base):
    grid = {
        "classes": [2, 3],
        "way": [{"name": "gentle", "lr": 1e-5, "train": "attention"}, {"name": "plain", "lr": 1e-4}],
        "seed": [0, 1, 2],
    }
    trials = read_experiment(write_yaml(tmp_path / "e.yaml", {"base": base, "grid": grid})).grid()
    expected = list(itertools.product([2, 3], ["gentle", "plain"], [0, 1, 2]))
    assert [tuple(trial.labels.values()) for trial in trials] == expected
    for trial, (classes, way, seed) in zip(trials, expected, strict=True):
        assert trial.options["classes"] == classes
        assert trial.options["seed"] == seed
        assert (trial.options["lr"], trial.options["train"]) == {"gentle": (1e-5, "attention"), "plain": (1e-4, "all")}[
            way
        ]
    assert len({trial.key for trial in trials}) == 12


def test_shipped_experiments_are_complete_but_for_the_data(base):
    assert SHIPPED_EXPERIMENTS == ("seeds", "sensitivity")
    for name in SHIPPED_EXPERIMENTS:
        shared = {key: value for key, value in base.items() if key not in ("samples_per_class",)}
        assert len(read_experiment(name, shared).grid()) >= 5
        with pytest.raises(UserError, match="expected images"):
            read_experiment(name).grid()


def test_folder_that_is_named_as_an_experiment_of_ours(tmp_path, base, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("seeds").mkdir()
    assert len(read_experiment("seeds", base).grid()) == 5


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("grid: {seeds: [0, 1]}", "did you mean seed?"),
        ("grid: {learning-rate: [1]}", "unknown option"),
        ("base: {epoch: 3}\ngrid: {seed: [0]}", "did you mean epochs?"),
        ("base: {out: here}\ngrid: {seed: [0]}", "unknown option 'out'"),
        ("grids: {seed: [0]}", "did you mean grid?"),
        ("base: {epochs: 3}", "grid or search"),
        ("grid: {seed: [0]}\nsearch: {lr: [1, 2]}", "give one of them"),
        ("grid: {seed: 3}", "list of values for seed"),
        ("grid: {seed: []}", "list of values for seed"),
        ("grid: {}", "at least one option"),
        ("grid: [seed]", "one `name: value` per line"),
        ("grid: {seed: [0, 0]}", "duplicate"),
        ("grid: {seed: [a, b]}", "expected seed to be a whole number, got 'a'"),
        ("grid: {select: [loss, luck]}", "one of loss, robust"),
        ("grid: {lr: [1e-5, fast]}", "lr=fast: expected lr to be a number"),
        ("grid: {lr: [1e-5], way: [{name: a, lr: 1e-4}]}", "lr is set by both lr and way"),
        ("grid: {way: [{lr: 1e-4}]}", "expected a name"),
        ("grid: {way: [{name: a, rate: 1}]}", "unknown option 'rate'"),
        ("grid: {way: [a, b]}", "unknown option 'way'"),
        ("grid: {seed: [0]}\ntrials: 3", "belongs to search"),
        ("search: {lr: [1e-5, 1e-3, log]}", "expected trials"),
        ("search: {lr: [1e-5, 1e-3, log]}\ntrials: 0", "at least 1"),
        ("search: {lr: [1e-3, 1e-5]}\ntrials: 2", "from a lower to a higher"),
        ("search: {lr: [0, 1, log]}\ntrials: 2", "above 0"),
        ("search: {lr: 3}\ntrials: 2", "as [low, high]"),
        ("search: {train: [all, none]}\ntrials: 2", "one of all, attention"),
        ("search: {lr: [1e-5, 1e-3]}\ntrials: 2\nmaximise: luck", "one of ordinary"),
        ("search: {}\ntrials: 2", "at least one option"),
        ("!!python/object/apply:os.system ['touch here']", "as YAML"),
        ("grid: {seed: [0", "as YAML"),
        ("- grid", "to hold options"),
        ("", "to hold options"),
    ],
)
def test_mistakes_in_an_experiment_are_one_line(tmp_path, base, capsys, monkeypatch, content, word):
    monkeypatch.chdir(tmp_path)
    Path("e.yaml").write_text(content)
    write_yaml(Path("base.yaml"), {name: value for name, value in base.items() if name != "lr"})
    shared = [] if "out: here" in content else ["--base", "base.yaml"]
    assert cli.main(["sweep", "e.yaml", "--out", "out", *shared]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert word in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base.yaml", "e.yaml"]
