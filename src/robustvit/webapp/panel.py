"""The picture to download, laid out as in the paper's appendix: photo, then relevance and answer of each model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from robustvit.common.pictures import figure_of_rows
from robustvit.webapp.prediction import ModelAnswer


def write_panel(rows: Sequence[tuple[str, Sequence[ModelAnswer]]], opacity: float, path: str | Path) -> None:
    """Write a PNG with a row for each picture.

    Args:
        rows: title of a picture, and the answers of all models.
        opacity: opacity of the relevance, 0 to 1.
        path: output file.
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
