"""Answers as accessible HTML: headings, tables, and pictures with alternative text."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache

import numpy as np
from jinja2 import Template
from PIL import Image
from torch import Tensor

from robustvit.common.pages import page_template
from robustvit.common.pictures import data_url
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


def answers_html(
    answers: Sequence[ModelAnswer],
    opacity: float,
    *,
    before: Sequence[ModelAnswer] | None = None,
    mask: Tensor | None = None,
    where: str = "",
) -> str:
    """Show the answers of all models side by side.

    Args:
        answers: answers to show.
        opacity: opacity of the relevance, 0 to 1.
        before: answers of the same models to the original photo, to say what changed.
        mask: mask to show first, ``(1, H, W)`` in [0, 1].
        where: suffix for the alternative text of each picture.
    """
    rows = []
    for number, answer in enumerate(answers):
        rows.append(
            {
                "title": answer.title,
                "top": answer.top,
                "explained": answer.explained,
                "probability": answer.probability,
                "picture": _png(answer.overlay(opacity)),
                "change": "" if before is None else _change(before[number], answer),
            }
        )
    seen = None if mask is None else _png((255 * mask[0].numpy()).astype(np.uint8))
    return _template().render(answers=rows, mask=seen, where=where)


def _change(old: ModelAnswer, new: ModelAnswer) -> str:
    was, now = old.top[0][0], new.top[0][0]
    if was == now:
        return f"Still {now}: {100 * old.top[0][1]:.0f} % before, {100 * new.top[0][1]:.0f} % now."
    return f"Changed from {was} to {now}."


def _png(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=3)
    return data_url(file.getvalue(), "png")
