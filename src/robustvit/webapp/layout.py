"""The pages of the app, in Gradio."""

from __future__ import annotations

import html
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import gradio as gr

from robustvit.common.errors import UserError
from robustvit.webapp.actions import OWN_PHOTO, Actions
from robustvit.webapp.audit_tab import AuditJobs
from robustvit.webapp.swapped import OFFERED

if TYPE_CHECKING:
    from gradio.components.image_editor import EditorData, EditorValue

Result = TypeVar("Result")

_READ = 8  # concurrent requests about photos; one model runs at a time
_MODELS: dict[str, Any] = {"concurrency_limit": _READ, "concurrency_id": "models"}
_SAVE = "() => setTimeout(() => document.querySelector('#rv-panel-file')?.click(), 50)"
_DRAW = 560  # longer side of the drawing, in pixels
_METHODS = {
    "gae": "gae, the paper's", "attnlrp": "AttnLRP", "legrad": "LeGrad", "rollout": "attention rollout",
    "raw_attention": "raw attention",
    "grad_cam": "Grad-CAM", "input_gradient": "input gradient",
}  # fmt: skip


def build(actions: Actions, jobs: AuditJobs, intro: str) -> gr.Blocks:
    """Build the pages; ``intro`` is Markdown about the models."""
    with Page(title="RobustViT: where does the model look?", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.Markdown(f"# Where does the model look?\n\n{intro}")
        with gr.Tab("One photo"):
            _photo_tab(page, actions)
        with gr.Tab("Audit of a folder"):
            _audit_tab(jobs)
    page.queue(max_size=200, api_open=False, default_concurrency_limit=_READ)
    return page


class Page(gr.Blocks):
    """Pages of Gradio that refuse values which they cannot have sent, without a traceback in the log."""

    async def preprocess_data(self, *arguments: Any, **options: Any) -> Any:
        """Check and convert the values of a request."""
        try:
            return await super().preprocess_data(*arguments, **options)
        except gr.Error as error:
            error.print_exception = False
            raise
        except Exception as error:
            words = "the request holds a value that the page cannot send: reload the page"
            raise gr.Error(words, print_exception=False) from error


def raise_problem(function: Callable[..., Result]) -> Callable[..., Result]:
    """Raise the message of a ``UserError`` as Gradio's error, which the page shows; others give no details."""

    @wraps(function)
    def call(*arguments: object) -> Result:
        try:
            return function(*arguments)
        except UserError as error:
            raise gr.Error(html.escape(str(error), quote=False), duration=None, print_exception=False) from error

    return call


def show_problem(function: Callable[..., object], *further: object) -> Callable[..., object]:
    """Show the message of a ``UserError`` instead of the answer, so that no older answer stays.

    ``function`` returns HTML, or a tuple that begins with it; ``further`` is the rest of the tuple after the message.
    """

    @wraps(function)
    def call(*arguments: object) -> object:
        try:
            return function(*arguments)
        except UserError as error:
            words = f'<p class="rv-problem" role="alert">{html.escape(str(error))}</p>'
            return (words, *further) if further else words

    return call


def _file_input(label: str, **options: Any) -> gr.Image:
    """A photo input that passes on the uploaded file, so that it is checked before it is decoded."""
    made = gr.Image(
        type="filepath", image_mode=None, label=label, sources=["upload", "clipboard"], buttons=[], **options
    )
    made.preprocess = lambda payload: getattr(payload, "path", None)  # type: ignore[method-assign]
    return made


def _photo_tab(page: gr.Blocks, actions: Actions) -> None:
    names = [example.name for example in actions.examples]
    gr.Markdown("## Photo")
    with gr.Row():
        photo = _file_input("Photo", value=str(actions.examples[0].file), height=300, elem_id="rv-photo")
        example = gr.Radio(names, value=names[0], label="Or choose an example", min_width=280, elem_id="rv-example")
    controls = _explanation_controls(actions)
    gr.Markdown("## Answers")
    answers = gr.HTML(elem_id="rv-answers")
    shown = [photo, *controls]
    swap = _swap_section(actions, shown)
    source, editor, *_ = swap.inputs
    everything = [*shown, swap.made, *swap.inputs]
    _panel_button(actions, everything)

    show: dict[str, Any] = {"fn": show_problem(actions.show), "inputs": shown, "outputs": answers, **_MODELS}
    again: dict[str, Any] = {
        "fn": show_problem(actions.swap_again), "inputs": everything, "outputs": swap.result,
        "api_visibility": "private", **_MODELS,
    }  # fmt: skip
    fresh: dict[str, Any] = {
        "fn": lambda path: actions.open_photo(path, _DRAW), "inputs": photo,
        "outputs": [source, editor, swap.made, swap.result], "api_visibility": "private", **_MODELS,
    }  # fmt: skip
    gr.on([page.load, photo.change], **show, api_name="explain")
    gr.on([page.load, photo.change], **fresh)
    gr.on([control.change for control in controls], **show, api_visibility="private",
          trigger_mode="always_last", show_progress="minimal").then(**again)  # fmt: skip
    example.input(actions.example_file, example, photo, api_visibility="private", queue=False)
    photo.upload(lambda: None, None, example, api_visibility="private", queue=False)


def _explanation_controls(actions: Actions) -> list[Any]:
    """Build the inputs for the class to explain, the method and the opacity."""
    with gr.Row():
        target = gr.Dropdown(
            [("the predicted class", -1), *((name, index) for index, name in enumerate(actions.class_names))],
            value=-1, label="Class to explain", min_width=240, elem_id="rv-class",
        )  # fmt: skip
        method = gr.Dropdown(
            [(_METHODS.get(name, name), name) for name in actions.methods], value=actions.methods[0],
            label="Relevance method", min_width=240, elem_id="rv-method",
        )  # fmt: skip
        opacity = gr.Slider(
            0, 100, value=55, step=5, label="Opacity of the relevance, %", min_width=240, elem_id="rv-opacity"
        )
    return [target, method, opacity]


class _Swap(NamedTuple):
    """Components of the swap section that other sections need; the inputs begin with mask source and drawing."""

    inputs: list[Any]
    result: gr.HTML
    made: gr.State


def _swap_section(actions: Actions, shown: list[Any]) -> _Swap:
    gr.Markdown("## Another background\n\nCut out the object with a mask, and put it on another background.")
    inputs = _swap_inputs(actions)
    button = gr.Button("Swap the background", variant="primary", elem_id="rv-swap")
    swap = _Swap(inputs, gr.HTML(elem_id="rv-swapped"), gr.State(False))
    outputs: list[Any] = [swap.result, swap.made]
    button.click(show_problem(actions.swap, False), [*shown, *inputs], outputs, api_visibility="private", **_MODELS)
    return swap


def _swap_inputs(actions: Actions) -> list[Any]:
    """Build the inputs for mask and background; a drawing and files are shown when they are chosen."""
    with gr.Row():
        source = gr.Radio(
            actions.mask_sources, value=actions.mask_sources[0], label="Mask", min_width=280, elem_id="rv-mask"
        )
        background = gr.Dropdown(
            [*OFFERED, OWN_PHOTO], value=OFFERED[2], label="Background", min_width=280, elem_id="rv-background"
        )
    with gr.Column(visible=False) as drawing:
        editor = _brush()
    with gr.Column(visible=False) as mask_place:
        mask_file = _file_input("Mask file: white on the object", height=220, elem_id="rv-mask-file")
    with gr.Column(visible=False) as background_place:
        own_background = _file_input("Background photo", height=220, elem_id="rv-own-background")
    source.change(
        lambda source: [gr.update(visible=source == actions.DRAWN), gr.update(visible=source == actions.FILE)],
        source, [drawing, mask_place], api_visibility="private", queue=False,
    )  # fmt: skip
    background.change(
        lambda name: gr.update(visible=name == OWN_PHOTO), background, background_place, api_visibility="private",
        queue=False,
    )  # fmt: skip
    return [source, editor, mask_file, background, own_background]


def _brush() -> gr.ImageEditor:
    editor = gr.ImageEditor(
        label="Paint over the object", type="pil", image_mode="RGBA", sources=(), transforms=(), layers=False,
        buttons=[],
        brush=gr.Brush(default_size=24, colors=["#ff3b30"], color_mode="fixed"), eraser=gr.Eraser(default_size=24),
        canvas_size=(_DRAW, _DRAW), elem_id="rv-brush",
    )  # fmt: skip
    decode = editor.preprocess

    def preprocess(payload: EditorData | None) -> EditorValue | None:
        while len(editor.blob_storage) > 2 * _READ:  # drawings that were sent but never used
            editor.blob_storage.pop(next(iter(editor.blob_storage)), None)
        try:
            return decode(payload)
        except Exception as error:
            raise gr.Error("the drawing cannot be read: draw it again", print_exception=False) from error

    editor.preprocess = preprocess  # type: ignore[method-assign]
    return editor


def _panel_button(actions: Actions, inputs: list[Any]) -> None:
    gr.Markdown("## Download")
    button = gr.Button("Download the panel (PNG)", elem_id="rv-panel")
    file = gr.DownloadButton("Panel", visible="hidden", elem_id="rv-panel-file")
    made = button.click(raise_problem(actions.panel), inputs, file, api_visibility="private", **_MODELS)
    made.success(None, None, None, js=_SAVE, api_visibility="private")


def _audit_tab(jobs: AuditJobs) -> None:
    gr.Markdown(jobs.words)
    archive = gr.File(label="Zipped folder", file_types=[".zip"], type="filepath", elem_id="rv-archive")
    button = gr.Button("Start the audit", variant="primary", elem_id="rv-audit")
    result = gr.HTML(elem_id="rv-audit-result", min_height=60)
    page = gr.File(label="Audit page", interactive=False, elem_id="rv-audit-page", visible=False)

    def run(path: str | None, progress: gr.Progress = gr.Progress()) -> tuple[str, Any]:  # noqa: B008
        words, file = jobs.run(
            path, lambda what, done, total: progress((int(done), int(total) or None), desc=what, unit="")
        )
        return words, gr.update(value=str(Path(file)), visible=True)

    button.click(
        show_problem(run, gr.update(visible=False)), archive, [result, page], api_name="audit",
        concurrency_limit=1, concurrency_id="audits", show_progress_on=[result],
    )  # fmt: skip
