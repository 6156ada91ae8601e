"""Files and numbers of a finished run in its tracker: Weights & Biases or MLflow."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustvit.common.errors import UserError
from robustvit.common.files import read_settings, write_json
from robustvit.common.progress import warn
from robustvit.common.run_folder import RunFolder
from robustvit.common.verdict_files import Verdict

if TYPE_CHECKING:
    from accelerate import Accelerator
    from accelerate.tracking import GeneralTracker

_FILE = "tracker.json"  # in the run folder: where the run is tracked


def track_outcome(accelerator: Accelerator, folder: RunFolder, verdict: Verdict) -> None:
    """Log a verdict's numbers, and its files as artefacts; record where, so that the report can be added.

    If a tracker fails, a warning says so, and the run continues.
    """
    if not accelerator.trackers:
        return
    numbers = {f"verdict/{one.measure} {side}": getattr(one, side).mean
               for one in verdict.comparisons for side in ("before", "after", "difference")}  # fmt: skip
    accelerator.log(numbers)
    if not accelerator.is_main_process:
        return
    files = [folder.verdict, folder.at_inference]
    places = {}
    for tracker in accelerator.trackers:
        try:
            place = _log_artefacts(tracker, [file for file in files if file.is_file()], folder.path.name)
        except Exception as error:  # of any library and server
            warn(f"the verdict could not be logged to {tracker.name}: {first_line(error)}")
            continue
        if place:
            places[tracker.name] = place
    if places:
        write_json(places, folder.path / _FILE)


def track_report(folder: RunFolder, page: Path) -> list[str]:
    """Add the report of a run as an artefact to the trackers of the run, and return their names."""
    places = read_settings(folder.path / _FILE) or {}
    done = []
    for name, place in places.items():
        try:
            _REPORTERS[name](place, page, folder.path.name)
        except Exception as error:  # of any library and server; the page itself is written
            warn(f"the report could not be logged to {name}: {first_line(error)}")
            continue
        done.append(name)
    return done


def _log_artefacts(tracker: GeneralTracker, files: Iterable[Path], name: str) -> dict[str, str]:
    """Log files to an open tracker and return where; empty for a tracker that has no artefacts."""
    if tracker.name == "wandb":
        run = tracker.tracker
        run.log_artifact(_wandb_artefact(f"{name}-verdict", "verdict", files))
        return {"id": run.id, "project": run.project, "entity": run.entity or ""}
    if tracker.name == "mlflow":
        import mlflow

        run = tracker.tracker
        for file in files:
            mlflow.log_artifact(str(file), artifact_path="verdict")
        return {"run_id": run.info.run_id, "uri": mlflow.get_tracking_uri()}
    return {}


def _wandb_artefact(name: str, kind: str, files: Iterable[Path]) -> Any:
    import wandb

    safe = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)
    artefact = wandb.Artifact(safe, type=kind)
    for file in files:
        artefact.add_file(str(file))
    return artefact


def _report_to_wandb(place: dict[str, str], page: Path, name: str) -> None:
    import wandb

    run = wandb.init(id=place["id"], project=place["project"], entity=place["entity"] or None, resume="must")
    run.log_artifact(_wandb_artefact(f"{name}-report", "report", [page]))
    run.finish()


def _report_to_mlflow(place: dict[str, str], page: Path, name: str) -> None:
    import mlflow

    mlflow.MlflowClient(tracking_uri=place["uri"]).log_artifact(place["run_id"], str(page), "report")


_REPORTERS = {"wandb": _report_to_wandb, "mlflow": _report_to_mlflow}


def first_line(error: Exception) -> str:
    """Return the message of any library's error in one line."""
    text = " ".join((str(error) or type(error).__name__).split())[:200]
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
