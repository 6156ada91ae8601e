"""Answers as accessible HTML, with tables and alternative text of pictures, and as a picture to download."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from jinja2 import Template
from PIL import Image
from torch import Tensor

from robustvit.common.pages import page_template
from robustvit.common.pictures import data_url, figure_of_rows
from robustvit.webapp.prediction import ModelAnswer

STYLE = """
.rv-answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(15rem, 100%), 1fr)); gap: 1.2rem; }
.rv-answer { min-width: 0; }
.rv-answer h3 { margin: 0 0 .4rem; font-size: 1.05rem; overflow-wrap: anywhere; }
.rv-answer figure { margin: 0 0 .6rem; }
.rv-answer img { width: 100%; max-width: 26rem; height: auto; display: block; border-radius: 4px; }
.rv-answer figcaption { font-size: .9rem; margin-top: .3rem; }
.rv-answer table { border-collapse: collapse; width: 100%; max-width: 26rem; font-variant-numeric: tabular-nums; }
.rv-answer caption { text-align: left; font-weight: 600; padding-bottom: .2rem; }
.rv-answer thead th { font-size: .85rem; font-weight: 400; opacity: .85; }
.rv-answer th, .rv-answer td { text-align: left; padding: .25rem .4rem;
  border: 0 !important;
  border-bottom: 1px solid rgba(128, 128, 128, .35) !important; }
.rv-answer tbody th { font-weight: 400; width: 45%; overflow-wrap: anywhere; }
.rv-answer td { background: linear-gradient(to right, rgba(80, 130, 200, .35) var(--share), transparent var(--share)); }
.rv-answer table, .rv-answer thead, .rv-answer tbody, .rv-answer tr { border: 0 !important; }
.rv-problem { border-left: 4px solid #b91c1c; padding: .4rem .8rem; font-weight: 600; overflow-wrap: anywhere; }
.rv-change { margin: .5rem 0 0; font-weight: 600; }
.gradio-container { max-width: 70rem !important; margin: 0 auto; }
:focus-visible { outline: 3px solid #2563eb !important; outline-offset: 2px; }
"""

# Gradio gives radio groups and chosen photos no name for screen readers.
SCRIPT = """
() => {
  const name = () => {
    for (const group of document.querySelectorAll("fieldset:not([aria-label])")) {
      const label = group.querySelector('[data-testid="block-info"]');
      if (label) group.setAttribute("aria-label", label.textContent.trim());
    }
    const words = {"rv-photo": "The chosen photo", "rv-mask-file": "The chosen mask",
                   "rv-own-background": "The chosen background"};
    for (const [id, text] of Object.entries(words))
      for (const image of document.querySelectorAll(`#${id} img:not([alt]), #${id} img[alt=""]`)) image.alt = text;
  };
  name();
  new MutationObserver(name).observe(document.body, {childList: true, subtree: true});
}
"""


@cache
def _template() -> Template:
    return page_template(__package__, "app_answers.html.j2")


def render_answers(
    answers: Sequence[ModelAnswer],
    opacity: float,
    *,
    before: Sequence[ModelAnswer] | None = None,
    mask: Tensor | None = None,
    where: str = "",
) -> str:
    """Return HTML with the answers of all models side by side, the relevance drawn with ``opacity`` from 0 to 1.

    Args:
        before: answers of the same models to the original photo, to say what changed.
        mask: mask to show first, ``(1, H, W)`` in [0, 1].
        where: suffix for the alternative text of each picture.
    """
    changes = [""] * len(answers) if before is None else map(_describe_change, before, answers)
    rows = [
        vars(answer) | {"picture": _png(answer.overlay(opacity)), "change": change}
        for answer, change in zip(answers, changes, strict=True)
    ]
    seen = None if mask is None else _png((255 * mask[0].numpy()).astype(np.uint8))
    return _template().render(answers=rows, mask=seen, where=where)


def _describe_change(old: ModelAnswer, new: ModelAnswer) -> str:
    was, now = old.top[0][0], new.top[0][0]
    if was == now:
        return f"Still {now}: {100 * old.top[0][1]:.0f} % before, {100 * new.top[0][1]:.0f} % now."
    return f"Changed from {was} to {now}."


def _png(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=3)
    return data_url(file.getvalue(), "png")


def write_panel(rows: Sequence[tuple[str, Sequence[ModelAnswer]]], opacity: float, path: str | Path) -> None:
    """Write a PNG with a row for each picture, laid out as in the paper's appendix: photo, then what each model says.

    ``rows``: title of a picture, and the answers of all models. ``opacity`` is that of the relevance, 0 to 1.
    """
    figure_of_rows([_row(title, answers, opacity) for title, answers in rows], path)


def _row(title: str, answers: Sequence[ModelAnswer], opacity: float) -> list[tuple[str, np.ndarray]]:
    pictures = [(title, answers[0].image.permute(1, 2, 0).numpy())]
    for answer in answers:
        name, probability = answer.top[0]
        words = f"{_short(answer.title)}: {_short(name)} ({100 * probability:.0f} %)"
        if answer.explained != name:
            words += f"\nshown: {_short(answer.explained)} ({100 * answer.probability:.0f} %)"
        pictures.append((words, answer.overlay(opacity)))
    return pictures


def _short(text: str, most: int = 22) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
