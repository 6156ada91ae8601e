"""Charts as files and as inline SVG."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from robustvit.common.files import new_file


@dataclass(frozen=True)
class Chart:
    """A chart and its description in words."""

    svg: str
    words: str


def inline_svg(figure: Figure, axis: Axes, *, text: bool = False) -> str:
    """Return a chart as an SVG element; the same numbers give the same text.

    Args:
        figure: the chart.
        axis: its only axis, which loses its frame above and on the right.
        text: keep letters as text, for names in scripts that Matplotlib's font lacks.
    """
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    target = io.StringIO()
    fonts = "none" if text else "path"
    with (
        matplotlib.rc_context({"svg.hashsalt": "robustvit", "svg.fonttype": fonts}),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(target, format="svg", metadata={"Date": None})
    return target.getvalue()[target.getvalue().index("<svg") :]


def save_figure(figure: Figure, out: Path) -> list[Path]:
    """Save a figure as PNG and SVG, each whole or not at all; the same figure gives the same files."""
    paths = []
    for ending, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        path = out.with_name(f"{out.name}.{ending}")
        with new_file(path) as file:
            figure.savefig(file, format=ending, dpi=144, metadata=metadata)
        paths.append(path)
    return paths
