"""The app: a page in the browser that shows where models look in your photos."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustvit.common.command_options import command, settings_of
from robustvit.common.errors import UserError
from robustvit.common.option_groups import RunningOptions, ServingOptions
from robustvit.common.options import Device
from robustvit.models.options import ComparedModels, ShownModels

if TYPE_CHECKING:
    from robustvit.common.run_folder import RunFolder
    from robustvit.data.trained_photos import TrainedPhotos
    from robustvit.models.classifier import Classifier
    from robustvit.webapp.serving import Server

_DEMO = "runs/demo/run"


_takes_options = command(
    first=("model", "baseline", "checkpoint", "serving"),
    normalization="model",
    leave_out=("num_classes", "batch_size", "workers", "precision", "seed"),
)


@_takes_options
def app(
    *,
    models: ShownModels,
    mask_model: str | None = None,
    serving: ServingOptions,
    running: RunningOptions,
) -> None:
    """Open a page that explains photos, swaps backgrounds and audits folders, with two models side by side.

    Runs until Ctrl-C. The page can be reached from this machine only, unless share or host is given.

    Args:
        model: run folder, timm name, transformers:OWNER/NAME, torchvision:NAME, open_clip:ARCHITECTURE/TAG,
            hf-hub:OWNER/NAME or local-dir:FOLDER; default: the demo run at runs/demo, or the small model that comes
            with the package.
        mask_model: backbone for TokenCut; default: the baseline, or else the model itself.

    Raises:
        UserError: Gradio is not installed, the models are unknown or differ in classes, or the port is taken.

    Example:
        robustvit app --model runs/mine
    """
    from robustvit.common.progress import warn

    server = start_app(**settings_of(app, models, serving, running, mask_model=mask_model))
    try:
        from robustvit.webapp.own_page import is_loopback

        print(f"open {server.url} in a browser; stop with Ctrl-C", flush=True)
        if server.share_url:
            print(f"shared at {server.share_url}", flush=True)
        open_to_others = server.share_url or not is_loopback(serving.host)
        if open_to_others and serving.auth is None:
            warn("anyone who knows the address can use the app; --auth NAME:PASSWORD requires a password")
        _wait()
    finally:
        server.close()


def _wait() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    over = threading.Event()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: over.set())
    try:
        while not over.wait(1.0):
            pass
    except KeyboardInterrupt:
        return


@dataclass(frozen=True)
class _Shown:
    """The models to show, and the options for an audit in another process."""

    models: dict[str, Classifier]
    intro: str
    audit: dict[str, Any]
    trained: TrainedPhotos


@_takes_options
def start_app(
    *, models: ShownModels, mask_model: str | None = None, serving: ServingOptions, running: RunningOptions
) -> Server:
    """Start the app in threads of this process and return; options as for ``app``."""
    if find_spec("gradio") is None:
        raise UserError("the app needs Gradio, which is not installed: pip install 'robustvit[app]'")
    device, host, port = running.device, serving.host, serving.port
    if port is not None and not 0 < port < 65536:
        raise UserError(f"expected --port from 1 to 65535, got {port}")
    credentials = _credentials(serving.auth)
    with ExitStack() as stack:
        from robustvit.webapp.serving import free_port, prepare_folder, start

        free_port(host, port)  # before models are loaded
        shown = _load(stack, models)
        shown.audit["device"] = device
        finder = _backbone(mask_model)
        if mask_model is not None:
            shown.audit.update(mask_model=mask_model, mask_checkpoint=None, mask_feature=None, mask_centre=None)
        folder = prepare_folder()
        blocks, pages = _build(shown, finder, folder, device)
        # Audits load the embedded model's files, so they must exist as long as the server runs.
        server = start(blocks, folder, **pages, serving=serving, auth=credentials)
        server.keep_open(stack.pop_all())
        return server


def _credentials(auth: str | None) -> tuple[str, str] | None:
    if auth is None:
        return None
    name, _, password = auth.partition(":")
    if not name or not password:
        raise UserError("expected --auth as NAME:PASSWORD, both not empty")
    return name, password


def _build(shown: _Shown, finder: Classifier | None, folder: Path, device: Device) -> tuple[Any, dict[str, Any]]:
    from robustvit.common.devices import make_accelerator
    from robustvit.webapp.actions import Actions
    from robustvit.webapp.audit_tab import AuditJobs
    from robustvit.webapp.examples import write_examples
    from robustvit.webapp.layout import build
    from robustvit.webapp.limits import Limits
    from robustvit.webapp.markup import SCRIPT, STYLE
    from robustvit.webapp.memory import Results
    from robustvit.webapp.prediction import Explorer

    limits, place = Limits(), make_accelerator(device=device).device
    explorer = Explorer({title: one.to(place) for title, one in shown.models.items()}, limits)
    examples = write_examples(folder / "examples", explorer.class_names)
    finder = (finder or next(iter(shown.models.values()))).to(place)
    results = Results(folder / "results")
    actions = Actions(explorer, examples, results, finder, shown.trained)
    pages = {"limits": limits, "style": STYLE, "script": SCRIPT}
    return build(actions, AuditJobs(shown.audit, folder, results, limits), shown.intro), pages


def _load(stack: ExitStack, given: ShownModels) -> _Shown:
    from robustvit.common.progress import warn
    from robustvit.common.run_folder import RunFolder
    from robustvit.data.trained_photos import photos_behind
    from robustvit.models.baseline import load_baseline
    from robustvit.models.load import load_given

    baseline, checkpoint = given.baseline, given.checkpoint
    model, intro = _choose_model(stack, given)
    shipped = bool(intro)
    run = RunFolder(model) if RunFolder(model).is_run else None
    if run is not None and baseline is None:
        baseline = "original"
    models = ComparedModels(
        model=model,
        baseline=baseline,
        checkpoint=checkpoint,
        normalization=given.normalization or "model",
        class_names=given.class_names,
    )
    classifier = load_given(models)
    try:
        other = load_baseline(models, classifier)
    except UserError as error:
        if run is None or baseline != "original":
            raise
        warn(f"the original model is not shown: {error}")
        intro += "The original model is not shown: start the app with `--baseline FOLDER` to see it. "
        baseline = other = None
    titles = ("Original model", _title(run)) if baseline == "original" else ("Baseline", "Model")
    shown = {titles[1]: classifier} if other is None else {titles[0]: other, titles[1]: classifier}
    settings: dict[str, Any] = {
        "model": model, "baseline": baseline, "checkpoint": checkpoint, "normalization": models.normalization,
        "class_names": models.class_names, **_backbone_options(model, baseline, checkpoint),
    }  # fmt: skip
    if shipped:  # small supervised models separate objects in centred tokens
        settings |= {"mask_feature": "tokens", "mask_centre": True}
    trained = photos_behind(model, baseline, checkpoint)
    return _Shown(shown, intro + _names(model, baseline, run), settings, trained)


def _choose_model(stack: ExitStack, given: ShownModels) -> tuple[str, str]:
    """Return the model to show, and a sentence on it if none was named: the demo's run, or the shipped model."""
    from robustvit.common.run_folder import RunFolder

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


def _title(run: RunFolder | None) -> str:
    """Return the title of a run's model: robust only if its verdict says so."""
    from robustvit.common.verdict import read_verdict

    return read_verdict(run.verdict).title if run is not None and run.verdict.is_file() else "Guided model"


def _backbone_options(model: str, baseline: str | None, checkpoint: str | None) -> dict[str, Any]:
    """Return the backbone for TokenCut in an audit without masks: the baseline, or else the model."""
    from robustvit.common.run_folder import RunFolder

    if baseline != "original":
        return {"mask_model": baseline or model, "mask_checkpoint": None if baseline else checkpoint}
    config = RunFolder(model).config()
    return {"mask_model": config["model"] or config["recipe"], "mask_checkpoint": config["checkpoint"]}


def _names(model: str, baseline: str | None, run: RunFolder | None) -> str:
    """Return the names of the models, and the verdict of a run, as Markdown."""
    from robustvit.common.verdict import read_verdict

    words = (
        []
        if Path(model.removeprefix("local-dir:")).is_absolute() and baseline is None
        else [_format_name("Model", model)]
    )
    if baseline not in (None, "original"):
        words.append(_format_name("Baseline", str(baseline)))
    if run is not None and run.verdict.is_file():
        words.append(f"Verdict of its run: {read_verdict(run.verdict).sentence}")
    return " ".join(words)


def _format_name(title: str, source: str) -> str:
    """Return a model's name for visitors: only the last part of a folder."""
    path = Path(source.removeprefix("local-dir:"))
    return f"{title}: `{path.name if path.is_absolute() else source}`."


def _backbone(name: str | None) -> Classifier | None:
    from robustvit.models.load import load_model

    return None if name is None else load_model(name, head="none")
