"""Charts as files and as inline SVG."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Chart:
    """A chart and its description in words."""

    svg: str
    words: str


def inline_svg(figure: Figure, axis: Any) -> str:
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    target = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "robustvit"}):  # the same page for the same numbers
        figure.savefig(target, format="svg", metadata={"Date": None})
    return target.getvalue()[target.getvalue().index("<svg") :]


def save_figure(figure: Any, out: Path) -> list[Path]:
    """Save a figure as PNG and SVG, each whole or not at all; the same figure gives the same files."""
    import os

    paths = []
    for ending, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        path = out.with_name(f"{out.name}.{ending}")
        fresh = path.with_name(f".{path.name}.new")
        figure.savefig(fresh, format=ending, dpi=144, metadata=metadata)
        os.replace(fresh, path)
        paths.append(path)
    return paths
