"""Sweeps: names of trials, what runs and what does not, what the tables say, and what is refused."""

from __future__ import annotations

import csv
import inspect
import itertools
import json
import math
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from functools import wraps
from pathlib import Path

import pytest
import yaml
from PIL import Image
from scipy import stats

from helpers.drawn_photos import CLASSES, write_photos
from helpers.run_server import PATIENCE, kill, wait_for
from helpers.small_models import tiny_network
from robustvit import UserError, finetune, sweep
from robustvit.cli import main as cli
from robustvit.common.intervals import paired_interval
from robustvit.evaluation.photo_measures import MEASURES
from robustvit.experiments.sweeps.experiment import SHIPPED_EXPERIMENTS, read_experiment
from robustvit.experiments.sweeps.finetune_options import FINETUNE_OPTIONS, effective_options
from robustvit.experiments.sweeps.plots import plot_rates, plot_sensitivity
from robustvit.experiments.sweeps.rate_outcomes import RateOutcome
from robustvit.experiments.sweeps.results import average_seeds, read_rows
from robustvit.experiments.trials import run_trial, trial_key
from robustvit.models.classifier import Classifier
from robustvit.models.save import save_model

FAST = {"epochs": 1, "lr": 3e-4, "swaps": 1, "panels": 0, "samples_per_class": 2, "tracker": "none"}


@pytest.fixture
def base(model_folder, photos):
    return FAST | {"model": f"local-dir:{model_folder}", "images": str(photos[0]), "masks": str(photos[1])}


def write_yaml(path: Path, content) -> str:
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return str(path)


def count_calls(monkeypatch) -> list[dict]:
    """The options of every run that is made from here on."""
    calls = []

    @wraps(finetune)
    def called(**options):
        calls.append(options)
        return finetune(**options)

    monkeypatch.setattr("robustvit.training.finetune.finetune", called)
    return calls


def key_of(options):
    return trial_key(effective_options(options, "test"))


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


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


@pytest.fixture(scope="module")
def swept(tmp_path_factory, model_folder, photos):
    """A sweep of which one trial fails, run once, and the calls it made."""
    folder = tmp_path_factory.mktemp("sweep")
    shared = FAST | {"model": f"local-dir:{model_folder}", "images": str(photos[0]), "masks": str(photos[1])}
    grid = {
        "samples_per_class": [1, 3],
        "masks": [{"name": "ours"}, {"name": "missing", "masks": "nowhere"}],
        "seed": [0, 1],
    }
    path = write_yaml(folder / "experiment.yaml", {"base": shared, "grid": grid})
    return path, folder / "out", sweep(path, out=str(folder / "out"))


def test_results_are_what_the_verdicts_say(swept):
    _, out, found = swept
    rows = read(out / "results.csv")
    assert [(row["samples_per_class"], row["masks"], row["seed"]) for row in rows] == [
        (samples, masks, seed) for samples in "13" for masks in ("ours", "missing") for seed in "01"
    ]
    for row in rows:
        folder = out / row["trial"]
        if row["masks"] == "missing":
            assert row["outcome"] == "failed"
            assert "nowhere" in row["error"]
            assert not folder.exists()
            assert row["ordinary before"] == row["verdict"] == row["seconds"] == ""
            continue
        assert row["outcome"] == "finished"
        verdict = json.loads((folder / "verdict.json").read_text())
        assert row["verdict"] == verdict["sentence"]
        assert row["accepted"] == {True: "yes", False: "no"}.get(
            verdict["accepted"], "open" if verdict["outcome"] else "cannot tell"
        )
        assert {one["measure"] for one in verdict["comparisons"]} == set(MEASURES)
        for one in verdict["comparisons"]:
            for side in ("before", "after", "difference"):
                name = f"{one['measure']} {side}"
                values = [float(row[name]), float(row[f"{name} low"]), float(row[f"{name} high"])]
                assert values == [one[side]["mean"], one[side]["low"], one[side]["high"]]
        after = json.loads((folder / "after.json").read_text())
        right = [photo["values"]["ordinary"] for photo in after]
        assert float(row["ordinary after"]) == pytest.approx(sum(right) / len(right))
        assert int(row["photos"]) == len(right)
        assert float(row["seconds"]) > 0
    assert found.exit_code == 1
    assert "failed: " in str(found)
    assert "masks=missing" in str(found)


def test_means_over_seeds_by_hand(swept):
    _, out, _ = swept
    rows = read(out / "results.csv")
    summary = read(out / "summary.csv")
    assert [(row["samples_per_class"], row["masks"], row["seeds"]) for row in summary] == [
        ("1", "ours", "2"), ("1", "missing", "0"), ("3", "ours", "2"), ("3", "missing", "0"),
    ]  # fmt: skip
    for line in summary:
        for name in ("miou after", "energy difference"):
            members = [row for row in rows if all(row[axis] == line[axis] for axis in ("samples_per_class", "masks"))]
            values = [float(row[name]) for row in members if row["outcome"] == "finished"]
            if not values:
                assert line[name] == line[f"{name} sd"] == line[f"{name} low"] == ""
                continue
            mean, deviation = statistics.mean(values), statistics.stdev(values)
            low, high = stats.t.interval(0.95, len(values) - 1, loc=mean, scale=deviation / math.sqrt(len(values)))
            found = [float(line[name + end]) for end in ("", " sd", " low", " high")]
            assert found == pytest.approx([mean, deviation, low, high])


def test_one_seed_has_no_spread():
    row = {"trial": "a", "outcome": "finished", "seed": 0}
    row |= {f"{measure} {side}": 0.5 for measure in MEASURES for side in ("before", "after", "difference")}
    (found,) = average_seeds([row])
    assert found["ordinary after"] == 0.5
    assert found["ordinary after sd"] == found["ordinary after low"] == ""


def test_second_call_runs_nothing_that_is_finished(swept, monkeypatch):
    path, out, first = swept
    calls = count_calls(monkeypatch)
    before = {place: place.stat().st_mtime_ns for place in out.rglob("*") if place.parent != out}
    again = sweep(path, out=str(out))
    assert [call["masks"] for call in calls] == ["nowhere"] * 4, "what failed is tried again, and nothing else"
    assert {place: place.stat().st_mtime_ns for place in out.rglob("*") if place.parent != out} == before
    done = [row for row in first.rows if row["outcome"] == "finished"]
    assert [row for row in again.rows if row["outcome"] == "finished"] == done


def test_more_seeds_add_to_a_sweep(tmp_path, swept, base, monkeypatch):
    _, out, _ = swept
    out = shutil.copytree(out, tmp_path / "out")
    path = write_yaml(tmp_path / "more.yaml", {"base": base | {"samples_per_class": 1}, "grid": {"seed": [1, 0, 2]}})
    calls = count_calls(monkeypatch)
    found = sweep(path, out=str(out))
    assert [call["seed"] for call in calls] == [2], "the others are the same runs as before"
    assert [row["outcome"] for row in found.rows] == ["finished"] * 3


def test_plot_of_samples_per_class(swept, tmp_path):
    _, out, _ = swept
    with Image.open(out / "against_samples_per_class.png") as picture:
        assert picture.width > picture.height > 200
    drawn = plot_sensitivity(out / "results.csv", tmp_path / "again")
    assert [path.name for path in drawn] == ["again.png", "again.svg"]
    with pytest.raises(UserError, match="samples_per_class"):
        plot_sensitivity(out / "results.csv", tmp_path / "again", x="masks")


def test_plotted_points_are_the_means_over_seeds(swept, tmp_path, monkeypatch):
    _, out, _ = swept
    drawn = []
    monkeypatch.setattr(
        "robustvit.experiments.sweeps.plots.save_figure", lambda figure, path: drawn.append(figure) or []
    )
    plot_sensitivity(out / "results.csv", tmp_path / "plot")
    rows = [row for row in average_seeds(read_rows(out / "results.csv")) if row["seeds"]]
    for axis, measure in zip(drawn[0].axes, ("ordinary", "mixed-other"), strict=True):
        (container,) = axis.containers
        points = container.lines[0]
        assert container.get_label() == "masks=ours"
        assert points.get_xdata().tolist() == [1, 3]
        assert points.get_ydata().tolist() == pytest.approx([100 * row[f"{measure} after"] for row in rows])
        reach = [100 * (row[f"{measure} after sd"]) for row in rows]
        bars = [(segment[1][1] - segment[0][1]) / 2 for segment in container.lines[2][0].get_segments()]
        assert bars == pytest.approx(reach)


def test_each_models_original_is_drawn(tmp_path, monkeypatch):
    def row(model, samples, before):
        values = {f"{measure} {time}": before + 0.1 * (time == "after") for measure in ("ordinary", "mixed-rand")
                  for time in ("before", "after")}  # fmt: skip
        return {
            "trial": f"{model}{samples}",
            "outcome": "finished",
            "model": model,
            "samples_per_class": samples,
        } | values

    drawn = []
    monkeypatch.setattr(
        "robustvit.experiments.sweeps.plots.save_figure", lambda figure, path: drawn.append(figure) or []
    )
    monkeypatch.setattr(
        "robustvit.experiments.sweeps.plots.average_seeds", lambda rows: [one | {
            "seeds": 1, "ordinary after sd": None, "mixed-rand after sd": None} for one in rows]
    )  # fmt: skip
    rows = [row(model, samples, before) for model, before in (("s", 0.5), ("b", 0.8)) for samples in (1, 3)]
    monkeypatch.setattr("robustvit.experiments.sweeps.plots.read_rows", lambda path: rows)
    plot_sensitivity(tmp_path / "results.csv", tmp_path / "plot", x="samples_per_class")
    for axis in drawn[0].axes:
        levels = {round(line.get_ydata()[0]): line.get_color() for line in axis.lines if line.get_linestyle() == ":"}
        assert levels == {50 + 30 * number: one.lines[0].get_color() for number, one in enumerate(axis.containers)}


@pytest.fixture
def figures(monkeypatch) -> list:
    drawn: list = []
    monkeypatch.setattr(
        "robustvit.experiments.sweeps.plots.save_figure", lambda figure, path: drawn.append(figure) or []
    )
    return drawn


def test_wide_ranges_are_logarithmic_and_one_seed_has_its_interval_over_photos(tmp_path, monkeypatch, figures):
    def row(lr, middle):
        values = {}
        for measure in ("ordinary", "mixed-other"):
            values |= {f"{measure} before": 0.5, f"{measure} before low": 0.4, f"{measure} before high": 0.6}
            values |= {f"{measure} after": middle, f"{measure} after low": middle - 0.1}
            values |= {f"{measure} after high": middle + 0.05}
        return {"trial": str(lr), "outcome": "finished", "lr": lr} | values

    rows = [row(lr, middle) for lr, middle in ((1e-6, 0.5), (1e-5, 0.51), (1e-4, 0.52))]
    monkeypatch.setattr("robustvit.experiments.sweeps.plots.read_rows", lambda path: rows)
    plot_sensitivity(tmp_path / "results.csv", tmp_path / "plot", x="lr")
    for axis in figures[0].axes:
        assert axis.get_xscale() == "log"
        assert [label.get_text() for label in axis.get_xticklabels()] == ["1e-6", "1e-5", "1e-4"]
        ends = [segment[:, 1].tolist() for segment in axis.containers[0].lines[2][0].get_segments()]
        assert ends == [pytest.approx([100 * middle - 10, 100 * middle + 5]) for middle in (0.5, 0.51, 0.52)]
        low, high = axis.get_ylim()
        assert high - low >= 10
        assert "95 % CI over photos" in figures[0].get_supxlabel()


def test_the_plot_of_rates_shows_intervals_near_the_limit_and_names_what_is_far_away(tmp_path, figures):
    changes = {1e-6: paired_interval(4, 3, 137), 1e-5: paired_interval(5, 9, 137), 1e-4: paired_interval(2, 90, 137)}
    outcomes = [
        RateOutcome(lr, (0.8, 0.8 + one.mean, 0.8 + one.mean), (0.4, 0.4 + rise, 0.4 + rise), 3, "", (one, one))
        for (lr, one), rise in zip(changes.items(), (-0.02, -0.05, 0.9), strict=True)
    ]
    plot_rates(outcomes, 2.0, None, tmp_path / "rates")
    left, right = figures[0].axes
    ends = [bar.lines[2][0].get_segments()[0][:, 1].tolist() for bar in left.containers]
    near = [changes[1e-6], changes[1e-5]]
    assert ends == [pytest.approx([100 * one.low, 100 * one.high]) for one in near]
    assert left.get_ylim() == (-10, 10)
    assert [text.get_text() for text in left.texts] == ["−64.2"]
    assert [text.get_text() for text in right.texts] == ["+0.9"]
    assert right.get_ylim() == pytest.approx((-0.075, 0.075))


def test_folder_that_is_named_as_an_experiment_of_ours(tmp_path, base, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("seeds").mkdir()
    assert len(read_experiment("seeds", base).grid()) == 5


def test_dry_run_says_what_it_would_do_and_writes_nothing(tmp_path, swept, capsys):
    path, out, _ = swept
    assert cli.main(["sweep", path, "--out", str(tmp_path / "new"), "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert text.count("to run  ") == 8
    assert "8 trials, 8 of them to run" in text
    assert not (tmp_path / "new").exists()
    assert cli.main(["sweep", path, "--out", str(out), "--dry-run"]) == 0
    assert "8 trials, 4 of them to run" in capsys.readouterr().out


def test_same_run_under_two_names_is_made_once(tmp_path, base, monkeypatch):
    ways = [{"name": "spelled", "lr": 3e-4}, {"name": "default"}]
    path = write_yaml(tmp_path / "e.yaml", {"base": base, "grid": {"way": ways}})
    calls = count_calls(monkeypatch)
    sweep(path, out=str(tmp_path / "out"))
    assert len(calls) == 1


def test_crash_of_one_trial_is_a_line_too(tmp_path, base, monkeypatch, capsys):
    def crash(**options):
        if options["seed"] == 1:
            raise RuntimeError("out of\nmemory")
        return finetune(**options)

    monkeypatch.setattr("robustvit.training.finetune.finetune", crash)
    path = write_yaml(tmp_path / "e.yaml", {"base": base, "grid": {"seed": [0, 1, 2]}})
    assert cli.main(["sweep", path, "--out", str(tmp_path / "out")]) == 1
    assert read(tmp_path / "out" / "results.csv")[1]["error"] == "RuntimeError: out of memory"
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.slow
def test_killed_sweep_ends_like_one_that_was_not(tmp_path, base, server):
    experiment = {"base": base | {"epochs": 4}, "grid": {"seed": [0, 1]}}
    path = write_yaml(tmp_path / "e.yaml", experiment)
    trials = read_experiment(path).grid()
    command = ["sweep", path, "--out"]
    assert server.run([*command, tmp_path / "whole"]) == 0
    out = tmp_path / "killed"
    stopped = (out / trials[1].key / "state.pt").is_file, lambda running: kill(running[0]), out
    assert server.interrupt([*command, out], *stopped) == [-signal.SIGKILL]
    first = out / trials[0].key / "verdict.json"
    assert first.is_file()
    written = first.stat().st_mtime_ns
    assert not (out / trials[1].key / "verdict.json").exists()
    assert [row["outcome"] for row in read(out / "results.csv")] == ["finished", "not run"]
    assert server.run([*command, out]) == 0
    assert "continuing" in server.said()
    assert first.stat().st_mtime_ns == written, "a finished trial is left alone"
    for trial in trials:
        for name in ("best/model.safetensors", "last/model.safetensors", "metrics.jsonl", "after.json", "verdict.json"):
            assert (out / trial.key / name).read_bytes() == (tmp_path / "whole" / trial.key / name).read_bytes(), name
    one, other = (
        [{name: value for name, value in row.items() if name != "seconds"} for row in read(place / "results.csv")]
        for place in (out, tmp_path / "whole")
    )
    assert one == other
    assert json.loads((out / trials[1].key / "trial.json").read_text())["resumed"]


def test_trial_killed_while_its_first_file_was_written_starts_anew(tmp_path, base):
    options = effective_options(base, "test")
    folder = tmp_path / "trial"
    folder.mkdir()
    (folder / ".config.yaml.new").write_text("robus")
    assert run_trial(options, folder) == ""
    assert (folder / "verdict.json").is_file()


def test_photos_that_changed_since_fail_the_trial_that_was_begun(tmp_path, model_folder):
    images, masks = write_photos(tmp_path / "data", 6)
    options = effective_options(
        FAST | {"model": str(model_folder), "images": str(images), "masks": str(masks)}, "test"
    )  # fmt: skip
    assert run_trial(options, tmp_path / "trial") == ""
    (tmp_path / "trial" / "verdict.json").unlink()
    for kind in (images, masks):
        shutil.copy(kind / "disc" / "000.png", kind / "disc" / "new.png")
    assert "the photos are not those" in run_trial(options, tmp_path / "trial")


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


def test_places_and_engines_that_will_not_do(tmp_path, base, capsys, monkeypatch):
    path = write_yaml(tmp_path / "e.yaml", {"base": base, "grid": {"seed": [0]}})
    theirs = tmp_path / "thesis"
    theirs.mkdir()
    (theirs / "chapter.txt").write_text("words")
    searching = write_yaml(tmp_path / "s.yaml", {"base": base, "search": {"lr": [1e-5, 1e-4]}, "trials": 1})
    gone = write_yaml(tmp_path / "g.yaml", {"base": base | {"masks": "nowhere"}, "grid": {"seed": [0, 1]}})
    monkeypatch.setattr("robustvit.experiments.sweeps.engines.find_spec", lambda name: None)
    for arguments, word in (
        ([path, "--out", str(theirs)], "was not written by robustvit sweep"),
        ([path, "--out", path], "is a file"),
        (["nowhere.yaml", "--out", "x"], "cannot read nowhere.yaml"),
        (["sensitivty", "--out", "x"], "one of seeds, sensitivity"),
        ([path, "--out", "x", "--base", "nowhere.yaml"], "cannot read nowhere.yaml"),
        ([path, "--out", "x", "--cpus", "2"], "--cpus needs --engine ray"),
        ([path, "--out", "x", "--trials-at-once", "2"], "--trials-at-once needs --engine ray"),
        ([path, "--out", "x", "--engine", "ray"], "pip install 'robustvit[sweep]'"),
        ([searching, "--out", "x"], "needs optuna"),
        ([path, "--out", "x", "--engine", "slurm"], "local, ray"),
        ([gone, "--out", "x"], "expected a folder of masks, found none at nowhere"),
    ):
        assert cli.main(["sweep", *arguments]) == 2, arguments
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert word in error
    assert [one.name for one in theirs.iterdir()] == ["chapter.txt"]


@pytest.mark.slow
def test_search_proposes_finds_again_and_goes_on(tmp_path, base, monkeypatch):
    pytest.importorskip("optuna")
    space = {"lr": ["1e-5", "1e-3", "log"], "samples_per_class": [1, 4], "train": ["all", "attention"]}
    path = write_yaml(tmp_path / "s.yaml", {"base": base, "search": space, "trials": 2})
    first = sweep(path, out=str(tmp_path / "out"))
    assert len(first.rows) == 2
    for row in first.rows:
        assert 1e-5 <= row["lr"] <= 1e-3
        assert row["samples_per_class"] in (1, 2, 3, 4)
        config = yaml.safe_load((tmp_path / "out" / row["trial"] / "config.yaml").read_text())
        assert config["lr"] == row["lr"]
    assert "Best: " in str(first)
    calls = count_calls(monkeypatch)
    assert sweep(path, out=str(tmp_path / "out")).rows == first.rows
    assert calls == []
    more = write_yaml(tmp_path / "m.yaml", {"base": base, "search": space, "trials": 3})
    assert sweep(more, out=str(tmp_path / "out")).rows[:2] == first.rows
    assert len(calls) == 1


def test_objective_ranks_by_outcome_then_allowed_loss_then_gain(tmp_path):
    from robustvit.common.intervals import Interval
    from robustvit.common.verdict import Comparison, Verdict, write_verdict
    from robustvit.experiments.trials import objective

    def judged(gain, lost):
        point = Interval(0.5, 0.4, 0.6, 300)
        rows = [Comparison(name, point, point, Interval(value, value - 0.015, value + 0.015, 300))
                for name, value in (("ordinary", -lost), ("mixed-rand", gain))]  # fmt: skip
        write_verdict(Verdict(True, "words", tuple(rows)), tmp_path / "verdict.json")
        return objective("mixed-rand", 2.0, tmp_path)

    pairs = ((0.3, 0.0), (0.1, 0.0), (0.5, 0.01), (0.9, 0.03), (0.01, 0.0), (0.9, 0.2), (-1.0, 0.2))
    values = [judged(*pair) for pair in pairs]
    assert values == sorted(values, reverse=True)
    assert objective("mixed-other", 2.0, tmp_path) == values[-1], "as runs of older versions count"
    assert objective("miou", 2.0, tmp_path) is None


@pytest.mark.slow
def test_ray_gives_what_this_process_gives_and_leaves_nothing_behind(tmp_path, base):
    """Grid and search through Ray, in a process of its own: same files, finished runs not repeated, all ended."""
    pytest.importorskip("ray")
    grid = write_yaml(tmp_path / "g.yaml", {"base": base, "grid": {"masks": [
        {"name": "ours"}, {"name": "missing", "masks": "nowhere"}]}})  # fmt: skip
    space = {"lr": [1e-5, 1e-3, "log"]}
    searches = [write_yaml(tmp_path / f"s{n}.yaml", {"base": base, "search": space, "trials": n}) for n in (1, 2)]
    here = sweep(grid, out=str(tmp_path / "here"))
    script = f"""
import os, ray
real = ray.init
def small(*_, **options):
    assert options["_node_ip_address"] == "127.0.0.1" and options["include_dashboard"] is False
    return real(**options | {{"num_cpus": 1, "object_store_memory": 80_000_000}})
ray.init = small
from robustvit import sweep
there = sweep({grid!r}, out={str(tmp_path / "there")!r}, engine="ray", cpus=1, trials_at_once=1)
assert there.exit_code == 1 and not ray.is_initialized()
ray.init(_node_ip_address="127.0.0.1", include_dashboard=False, log_to_driver=False)
for path in {searches!r}:
    sweep(path, out={str(tmp_path / "search")!r}, engine="ray")
assert ray.is_initialized(), "whoever started it ends it"
ray.shutdown()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    there = read(tmp_path / "there" / "results.csv")
    for row, same in zip(here.rows, there, strict=True):
        for name, value in row.items():
            assert name == "seconds" or str(value) == same[name], name
        if row["outcome"] == "finished":
            for name in ("best/model.safetensors", "metrics.jsonl", "after.json"):
                one, other = (tmp_path / place / row["trial"] / name for place in ("here", "there"))
                assert one.read_bytes() == other.read_bytes(), name
    rows = read(tmp_path / "search" / "results.csv")
    assert [row["outcome"] for row in rows] == ["finished"] * 2
    folders = [place for place in (tmp_path / "search").iterdir() if (place / "verdict.json").is_file()]
    assert {place.name for place in folders} == {row["trial"] for row in rows}, "the first call's run was not repeated"
    assert not processes_of_session(process.pid)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ray_that_is_stopped_says_so(tmp_path, base, number):
    """Ray's own handlers would let the command end as if all trials had been made, or with another code."""
    pytest.importorskip("ray")
    path = write_yaml(tmp_path / "e.yaml", {"base": base | {"epochs": 1000}, "grid": {"seed": [0]}})
    (trial,) = read_experiment(path).grid()
    out = tmp_path / "out"
    start = "from robustvit.cli.main import main; raise SystemExit(main())"
    command = [sys.executable, "-c", start, "sweep", path, "--out", str(out), "--engine", "ray"]
    process = subprocess.Popen(
        command, start_new_session=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert wait_for((out / trial.key / "metrics.jsonl").is_file, process.pid)
        process.send_signal(number)
        said, error = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 128 + number
    assert error.startswith("robustvit sweep: stopped by")
    assert "Traceback" not in error
    assert "finished" not in said
    assert not processes_of_session(process.pid)


def processes_of_session(session: int) -> list[str]:
    """Processes that are still there of those that a process started."""
    deadline, left = time.monotonic() + PATIENCE, ["?"]
    while left and time.monotonic() < deadline:
        left = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                fields = (place / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                left.append((place / "cmdline").read_text().replace("\0", " "))
        time.sleep(0.2)
    return left


def test_ray_that_has_no_room_says_so():
    pytest.importorskip("ray")
    from robustvit.experiments.sweeps.ray_engine import RayEngine

    with pytest.raises(UserError, match=r"--gpus of at most 0 \(all of them\), got 1"):
        RayEngine(None, 1, 1, None)._check_room({"CPU": 4.0})
    RayEngine(None, 4, 0, None)._check_room({"CPU": 4.0})


def test_models_are_an_axis_too(tmp_path, base, photos):
    other = save_model(Classifier(tiny_network(depth=2), class_names=CLASSES), tmp_path / "other")
    models = [base["model"], f"local-dir:{other}"]
    shared = {name: value for name, value in base.items() if name != "model"}
    path = write_yaml(tmp_path / "e.yaml", {"base": shared, "grid": {"model": models}})
    found = sweep(path, out=str(tmp_path / "out"))
    assert [row["model"] for row in found.rows] == models
    assert [row["outcome"] for row in found.rows] == ["finished"] * 2
    assert not list((tmp_path / "out").glob("against_*")), "nothing that varies is a number"


def test_classes_without_an_object_can_be_swept(tmp_path, base):
    shutil.copytree(base["masks"], tmp_path / "masks")
    name = CLASSES[-1]
    shutil.rmtree(tmp_path / "masks" / name)
    without = base | {"masks": str(tmp_path / "masks")}
    content = {"base": without | {"no_object": name}, "grid": {"negatives": ["uniform"]}}
    sweep(write_yaml(tmp_path / "s.yaml", content), out=str(tmp_path / "out"))
    (row,) = read(tmp_path / "out" / "results.csv")
    assert (row["outcome"], row["negatives"]) == ("finished", "uniform")
    lost = sweep(write_yaml(tmp_path / "t.yaml", {"base": without, "grid": {"seed": [0]}}), out=str(tmp_path / "lost"))
    assert f"lacks {name}; if its photos show no object, say so with --no-object" in str(lost)
