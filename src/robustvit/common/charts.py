"""Charts as files and as inline SVG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

from robustvit.common.files import new_file

INK, SOFT, LINE = "#1d2530", "#5b6675", "#dfe4ea"  # as on the pages
GOOD, BAD = "#11734b", "#a8321f"
COLOURS = ("#1f5fbf", "#b0672a", GOOD, "#8a3ea8", BAD, "#0f7c8c", "#7a5a00", SOFT)  # dark enough for thin lines
_STYLE: Any = {  # the stub of rc_context lists every key as a type
    "axes.edgecolor": "#8b96a5", "axes.labelcolor": INK, "axes.labelsize": 8, "axes.titlesize": 10,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=COLOURS),
    "grid.color": LINE, "text.color": INK, "xtick.color": SOFT, "ytick.color": SOFT, "xtick.labelcolor": INK,
    "ytick.labelcolor": INK, "xtick.labelsize": 8, "ytick.labelsize": 8, "lines.linewidth": 1.4, "lines.markersize": 5,
    "errorbar.capsize": 3, "legend.fontsize": 8, "legend.frameon": False,
}  # fmt: skip


@contextmanager
def chart_style() -> Iterator[None]:
    """Apply the style of all charts, as a context or as the decorator of a function."""
    with matplotlib.rc_context(_STYLE):
        yield


def short_number(value: float) -> str:
    """Format a number for an axis: ``20``, ``0.5``, ``3e-5``."""
    if not 0 < abs(value) < 1e-3:
        return f"{value:.6g}"
    mantissa, power = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(power)}"


@dataclass(frozen=True)
class Chart:
    """A chart and its description in words."""

    svg: str
    words: str


def inline_svg(figure: Figure, axis: Axes, *, text: bool = False) -> str:
    """Return a chart with one axis as an SVG element; the same numbers give the same text.

    With ``text``, letters stay text, for names in scripts that Matplotlib's font lacks.
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
