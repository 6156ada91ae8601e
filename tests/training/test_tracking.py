"""Verdict and report in Weights & Biases and MLflow; both libraries are stand-ins."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from accelerate import PartialState
from accelerate.tracking import WandBTracker  # before the stand-in: Accelerate looks for the real one

from robustvit import UserError
from robustvit.common.intervals import Interval
from robustvit.common.run_folder import RunFolder
from robustvit.common.verdict_files import Comparison, Verdict, write_verdict
from robustvit.training.preparation import start_trackers
from robustvit.training.tracking import track_outcome, track_report

CHANGE = Comparison("ordinary", Interval(0.5, 0.4, 0.6, 30), Interval(0.6, 0.5, 0.7, 30), Interval(0.1, 0.0, 0.2, 30))
VERDICT = Verdict(True, "better", (CHANGE,))


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path / "my run")
    folder.path.mkdir()
    write_verdict(VERDICT, folder.verdict)
    return folder


@pytest.fixture
def wandb(monkeypatch):
    """Weights & Biases as far as it is used: what was logged is in ``said``."""
    found = ModuleType("wandb")
    found.said = []

    class Artifact:
        def __init__(self, name, type):
            self.name, self.type, self.files = name, type, []

        def add_file(self, path):
            self.files.append((Path(path).name, Path(path).read_text()))

    class Run:
        def __init__(self, **options):
            self.options, self.id, self.project, self.entity = options, "abc", "robustvit", None

        def log(self, values, step=None, **_):
            found.said.append(values)

        def log_artifact(self, artefact):
            found.said.append((artefact.name, artefact.type, artefact.files, self.options))

        def finish(self):
            found.said.append("finished")

    found.Artifact, found.init = Artifact, lambda **options: Run(**options)
    monkeypatch.setitem(sys.modules, "wandb", found)
    return found


@pytest.fixture
def mlflow(monkeypatch):
    found = ModuleType("mlflow")
    found.said = []

    class Client:
        def __init__(self, tracking_uri):
            self.uri = tracking_uri

        def log_artifact(self, run_id, path, folder):
            found.said.append((self.uri, run_id, Path(path).name, folder))

    found.log_artifact = lambda path, artifact_path: found.said.append((Path(path).name, artifact_path))
    found.get_tracking_uri = lambda: "file:///runs"
    found.MlflowClient = Client
    monkeypatch.setitem(sys.modules, "mlflow", found)
    return found


def accelerator(*trackers, main=True):
    said = []
    return SimpleNamespace(trackers=list(trackers), is_main_process=main, log=said.append, said=said)


def test_the_verdict_is_a_number_and_an_artefact_of_wandb_and_the_report_follows(run, wandb, tmp_path):
    PartialState()  # of Accelerate, which its loggers ask
    tracker = WandBTracker("robustvit")
    tracker.start()
    with_tracker = accelerator(tracker)
    track_outcome(with_tracker, run, VERDICT)
    assert with_tracker.said == [
        {"verdict/ordinary before": 0.5, "verdict/ordinary after": 0.6, "verdict/ordinary difference": 0.1}
    ]
    [(name, kind, files, _)] = wandb.said
    assert (name, kind) == ("my-run-verdict", "verdict")
    assert json.loads(files[0][1])["sentence"] == "better"
    page = tmp_path / "report.html"
    page.write_text("<p>report</p>")
    assert track_report(run, page) == ["wandb"]
    name, kind, files, options = wandb.said[1]
    assert (name, kind, files) == ("my-run-report", "report", [("report.html", "<p>report</p>")])
    assert options == {"id": "abc", "project": "robustvit", "entity": None, "resume": "must"}
    assert wandb.said[2] == "finished"


def test_the_verdict_and_the_report_are_artefacts_of_the_run_in_mlflow(run, mlflow, tmp_path):
    tracker = SimpleNamespace(name="mlflow", tracker=SimpleNamespace(info=SimpleNamespace(run_id="7")))
    run.at_inference.write_text("{}")
    track_outcome(accelerator(tracker), run, VERDICT)
    assert mlflow.said == [("verdict.json", "verdict"), ("at_inference.json", "verdict")]
    track_report(run, tmp_path / "report.html")
    assert mlflow.said[2] == ("file:///runs", "7", "report.html", "report")


def test_a_tracker_that_fails_costs_a_warning_only(run, wandb, tmp_path, capsys):
    def fail(**_):
        raise ConnectionError("no route to host")

    tracker = SimpleNamespace(name="wandb", tracker=wandb.init())
    track_outcome(accelerator(tracker), run, VERDICT)
    wandb.init = fail
    assert track_report(run, tmp_path / "report.html") == []
    assert "the report could not be logged to wandb: ConnectionError: no route to host" in capsys.readouterr().err
    wandb.Artifact = fail
    shutil.copy(run.verdict, tmp_path)
    track_outcome(accelerator(tracker), run, VERDICT)
    assert "the verdict could not be logged to wandb" in capsys.readouterr().err


@pytest.mark.parametrize("trackers", [[], [SimpleNamespace(name="tensorboard", tracker=None)]])
def test_nothing_is_recorded_where_nothing_can_follow(run, trackers, tmp_path):
    track_outcome(accelerator(*trackers), run, VERDICT)
    assert [file.name for file in run.path.iterdir()] == ["verdict.json"]
    assert track_report(run, tmp_path / "report.html") == []


def test_only_the_main_process_logs_files(run, wandb):
    track_outcome(accelerator(SimpleNamespace(name="wandb", tracker=wandb.init()), main=False), run, VERDICT)
    assert wandb.said == []


def test_a_tracker_that_does_not_start_is_named_in_one_line():
    def fail(name):
        raise RuntimeError("no server\nat all")

    with pytest.raises(UserError, match=r"mlflow could not be started: RuntimeError: no server at all; .*--resume"):
        start_trackers(SimpleNamespace(log_with=["mlflow"], init_trackers=fail))
