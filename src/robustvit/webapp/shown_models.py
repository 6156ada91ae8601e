"""The models that the app shows: those that are named, a run and its original, or the small model of the package."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from robustvit.common.errors import UserError
from robustvit.common.progress import warn
from robustvit.common.run_folder import RunFolder
from robustvit.common.verdict_files import Verdict, read_verdict
from robustvit.data.trained_photos import TrainedPhotos, photos_behind
from robustvit.models.baseline import load_baseline
from robustvit.models.classifier import Classifier
from robustvit.models.load import load_given
from robustvit.models.options import ComparedModels, ShownModels

_DEMO = "runs/demo/run"


@dataclass(frozen=True)
class LoadedModels:
    """The models to show.

    Attributes:
        models: by title.
        intro: their names and the verdict of their run, as Markdown.
        audit: options with which an audit in another process loads them again.
        trained: photos that they were trained on.
    """

    models: dict[str, Classifier]
    intro: str
    audit: dict[str, Any]
    trained: TrainedPhotos


def load_shown(stack: ExitStack, given: ShownModels) -> LoadedModels:
    """Load the models to show; the files of the small model exist as long as the stack is open."""
    model, intro = _choose_model(stack, given)
    small = bool(intro)
    run = RunFolder(model) if RunFolder(model).is_run else None
    models = ComparedModels(
        model=model,
        baseline="original" if run is not None and given.baseline is None else given.baseline,
        checkpoint=given.checkpoint,
        normalization=given.normalization or "model",
        class_names=given.class_names,
    )
    classifier = load_given(models)
    other, note = _load_other(models, classifier, run)
    baseline = None if note else models.baseline
    verdict = read_verdict(run.verdict) if run is not None and run.verdict.is_file() else None
    guided = "Guided model" if verdict is None else verdict.title  # robust only if the verdict says so
    titles = ("Original model", guided) if baseline == "original" else ("Baseline", "Model")
    shown = {titles[1]: classifier} if other is None else {titles[0]: other, titles[1]: classifier}
    audit: dict[str, Any] = {
        "model": model, "baseline": baseline, "checkpoint": given.checkpoint, "normalization": models.normalization,
        "class_names": given.class_names, **backbone_options(model, baseline, given.checkpoint),
    }  # fmt: skip
    if small:  # small supervised models separate objects in centred tokens
        audit |= {"mask_feature": "tokens", "mask_centre": True}
    intro += note + _describe(model, baseline, verdict)
    return LoadedModels(shown, intro, audit, photos_behind(model, baseline, given.checkpoint))


def _choose_model(stack: ExitStack, given: ShownModels) -> tuple[str, str]:
    """Return the model to show, and a sentence on it if none was named: the demo's run, or the shipped model."""
    if given.model is not None:
        return given.model, ""
    if given.checkpoint is not None:
        raise UserError("--checkpoint needs --model: name the model that the weights are for")
    if RunFolder(_DEMO).verdict.is_file():
        return _DEMO, "The demo run. "
    embedded = stack.enter_context(as_file(files("robustvit.data.embedded") / "model"))
    return f"local-dir:{embedded}", (
        "The small model that comes with the package: it classifies ten symbols, and has learned to look at the "
        "texture behind them. `robustvit demo` makes a robust version of it, which is then shown next to it. "
    )


def _load_other(models: ComparedModels, classifier: Classifier, run: RunFolder | None) -> tuple[Classifier | None, str]:
    """Load the model to compare with; a note says so if the original of a run no longer exists."""
    try:
        return load_baseline(models, classifier), ""
    except UserError as error:
        if run is None or models.baseline != "original":
            raise
        warn(f"the original model is not shown: {error}")
        return None, "The original model is not shown: start the app with `--baseline FOLDER` to see it. "


def backbone_options(model: str, baseline: str | None, checkpoint: str | None) -> dict[str, Any]:
    """Return the backbone for TokenCut in an audit without masks: the baseline, or else the model."""
    if baseline != "original":
        return {"mask_model": baseline or model, "mask_checkpoint": None if baseline else checkpoint}
    config = RunFolder(model).config()
    return {"mask_model": config["model"] or config["recipe"], "mask_checkpoint": config["checkpoint"]}


def _describe(model: str, baseline: str | None, verdict: Verdict | None) -> str:
    """Return the names of the models, and the verdict of a run, as Markdown."""
    words = []
    if baseline is not None or not Path(model.removeprefix("local-dir:")).is_absolute():
        words.append(_format_name("Model", model))
    if baseline not in (None, "original"):
        words.append(_format_name("Baseline", str(baseline)))
    if verdict is not None:
        words.append(f"Verdict of its run: {verdict.sentence}")
    return " ".join(words)


def _format_name(title: str, source: str) -> str:
    """Return a model's name for visitors: only the last part of a folder."""
    path = Path(source.removeprefix("local-dir:"))
    return f"{title}: `{path.name if path.is_absolute() else source}`."
