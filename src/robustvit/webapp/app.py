"""The app: a page in the browser that shows where models look in your photos."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from robustvit.common.command_options import command, settings_of
from robustvit.common.errors import UserError
from robustvit.common.option_groups import RunningOptions, ServingOptions
from robustvit.models.options import ShownModels

if TYPE_CHECKING:
    from gradio import Blocks

    from robustvit.models.classifier import Classifier
    from robustvit.webapp.limits import Limits
    from robustvit.webapp.serving import Server
    from robustvit.webapp.shown_models import LoadedModels

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
        from robustvit.webapp.middleware import is_loopback

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


@_takes_options
def start_app(
    *, models: ShownModels, mask_model: str | None = None, serving: ServingOptions, running: RunningOptions
) -> Server:
    """Start the app in threads of this process and return; options as for ``app``."""
    if find_spec("gradio") is None:
        raise UserError("the app needs Gradio, which is not installed: pip install 'robustvit[app]'")
    if serving.port is not None and not 0 < serving.port < 65536:
        raise UserError(f"expected --port from 1 to 65535, got {serving.port}")
    credentials = _credentials(serving.auth)
    with ExitStack() as stack:
        from robustvit.webapp.limits import Limits
        from robustvit.webapp.serving import free_port, prepare_folder, start
        from robustvit.webapp.shown_models import load_shown

        free_port(serving.host, serving.port)  # before models are loaded
        shown, finder = load_shown(stack, models), None
        shown.audit["device"] = running.device
        if mask_model is not None:
            from robustvit.models.load import load_model

            finder = load_model(mask_model, head="none")
            shown.audit.update(mask_model=mask_model, mask_checkpoint=None, mask_feature=None, mask_centre=None)
        folder, limits = prepare_folder(), Limits()
        blocks = _build(shown, finder, folder, limits)
        # Audits load the embedded model's files, so they must exist as long as the server runs.
        server = start(blocks, folder, limits, serving=serving, auth=credentials)
        server.keep_open(stack.pop_all())
        return server


def _credentials(auth: str | None) -> tuple[str, str] | None:
    if auth is None:
        return None
    name, _, password = auth.partition(":")
    if not name or not password:
        raise UserError("expected --auth as NAME:PASSWORD, both not empty")
    return name, password


def _build(shown: LoadedModels, finder: Classifier | None, folder: Path, limits: Limits) -> Blocks:
    """Build the pages; ``finder`` is the backbone for TokenCut, the first model by default."""
    from robustvit.common.devices import make_accelerator
    from robustvit.webapp.actions import Actions
    from robustvit.webapp.audit_tab import AuditJobs
    from robustvit.webapp.examples import write_examples
    from robustvit.webapp.layout import build
    from robustvit.webapp.memory import Results
    from robustvit.webapp.prediction import Explorer

    place = make_accelerator(device=shown.audit["device"]).device
    explorer = Explorer({title: model.to(place) for title, model in shown.models.items()}, limits)
    examples = write_examples(folder / "examples", explorer.class_names)
    finder = (finder or next(iter(shown.models.values()))).to(place)
    results = Results(folder / "results")
    actions = Actions(explorer, examples, results, finder, shown.trained)
    return build(actions, AuditJobs(shown.audit, folder, results, limits), shown.intro)
