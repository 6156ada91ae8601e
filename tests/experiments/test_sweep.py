"""Sweeps: what runs and what does not, what the tables say, and what is refused."""

from __future__ import annotations

import json
import math
import shutil
import signal
import statistics

import pytest
from PIL import Image
from scipy import stats

from helpers.drawn_photos import CLASSES, write_photos
from helpers.run_server import kill
from helpers.small_models import tiny_network
from helpers.sweeps import FAST, count_calls, read, write_yaml
from robustvit import UserError, finetune, sweep
from robustvit.cli import main as cli
from robustvit.evaluation.photo_measures import MEASURES
from robustvit.experiments.sweeps.experiment_grid import read_experiment
from robustvit.experiments.sweeps.finetune_options import effective_options
from robustvit.experiments.sweeps.plots import plot_sensitivity
from robustvit.experiments.sweeps.results import average_seeds, read_rows
from robustvit.experiments.trials import run_trial
from robustvit.models.classifier import Classifier
from robustvit.models.save import save_model


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
