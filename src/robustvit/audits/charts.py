"""Charts of an audit, each an inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from robustvit.common.charts import COLOURS, Chart, chart_style, inline_svg
from robustvit.evaluation.measured_intervals import measure_name
from robustvit.evaluation.metrics import DECIDING

_SHOWN = ("ordinary", "mixed-same", "mixed-other", "mixed-rand", "only-fg", "only-bg-t", "only-bg-b", "no-fg")
_COLOURS = {"model": COLOURS[0], "baseline": COLOURS[1]}


@chart_style()
def accuracy_chart(record: Mapping[str, Any]) -> Chart:
    """Draw what decides, accuracies or another metric, with intervals, and chance where it is meaningful."""
    metric, sides = record["metric"], list(record["verdict"])
    names = [name for kind in _SHOWN if (name := measure_name(metric, kind)) in record["measures"]]
    figure = Figure(figsize=(5.2, 0.6 + 0.34 * len(names)), layout="constrained")
    axis = figure.subplots()
    for number, side in enumerate(sides):
        _draw_side(axis, record, names, side, (number - (len(sides) - 1) / 2) * 0.3)
    titles = [name.rpartition("/")[2] for name in names]
    axis.set_yticks(range(len(names)), titles)
    axis.invert_yaxis()
    axis.set_xlim(-2, 102)
    axis.set_xlabel(f"{DECIDING[metric]}, % (bars: 95 % CI)")
    axis.grid(axis="x")
    axis.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.16), ncols=3)
    words = "; ".join(
        f"{title} {_percent_by_side(record['measures'][name], sides)}"
        for name, title in zip(names, titles, strict=True)
    )
    return Chart(inline_svg(figure, axis), f"{DECIDING[metric].capitalize()}: {words}")


def _draw_side(axis: Axes, record: Mapping[str, Any], names: Sequence[str], side: str, offset: float) -> None:
    """Draw the measures of one model, a row each, and the chance of those that have one."""
    found = [record["measures"][name][side] for name in names]
    errors = [
        [100 * max(0.0, one["mean"] - one["low"]) for one in found],
        [100 * max(0.0, one["high"] - one["mean"]) for one in found],
    ]
    at = [row + offset for row in range(len(names))]
    means = [100 * one["mean"] for one in found]
    axis.errorbar(means, at, xerr=errors, fmt="o", markersize=5, capsize=3, color=_COLOURS[side], label=side)
    chances = [
        (100 * record["chance"][name][side]["chance"], row)
        for row, name in zip(at, names, strict=True)
        if side in record["chance"].get(name, {})
    ]
    label = "chance" if side == "model" else None
    axis.scatter([x for x, _ in chances], [y for _, y in chances], marker="|", s=70, color="0.45", label=label)


def _percent_by_side(row: Mapping[str, Any], sides: Sequence[str]) -> str:
    return ", ".join(f"{side} {100 * row[side]['mean']:.1f} %" for side in sides)


def shift_charts(record: Mapping[str, Any]) -> list[Chart]:
    """Draw accuracy by position, size and rotation."""
    rows: Sequence[Mapping[str, Any]] = record["shifts"]
    sides = list(record["verdict"])
    charts = [
        _draw_positions(rows, side, len(sides) > 1) for side in sides if any(row["kind"] == "position" for row in rows)
    ]
    for kind, value, label in (
        ("size", "area", "object's box, % of the frame"),
        ("rotation", "angle", "rotation, degrees counter-clockwise"),
    ):
        shown = [row for row in rows if row["kind"] == kind]
        if shown:
            charts.append(_draw_line(shown, sides, kind, value, label))
    return charts


@chart_style()
def _draw_positions(rows: Sequence[Mapping[str, Any]], side: str, named: bool) -> Chart:
    shown = [row for row in rows if row["kind"] == "position"]
    across, down = sorted({row["x"] for row in shown}), sorted({row["y"] for row in shown})
    grid = [[float("nan")] * len(across) for _ in down]
    for row in shown:
        grid[down.index(row["y"])][across.index(row["x"])] = 100 * row[side]["mean"]
    figure = Figure(figsize=(3.4, 2.9), layout="constrained")
    axis = figure.subplots()
    axis.imshow(grid, cmap="Blues", vmin=0, vmax=220)
    for y, line in enumerate(grid):
        for x, value in enumerate(line):
            axis.text(x, y, f"{value:.0f}", ha="center", va="center", fontsize=10)
    axis.set_xticks(range(len(across)), [f"{100 * x:g}" for x in across])
    axis.set_yticks(range(len(down)), [f"{100 * y:g}" for y in down])
    axis.set_xlabel("centre, % of width")
    axis.set_ylabel("centre, % of height")
    axis.set_title("accuracy by position, %" + (f" ({side})" if named else ""))
    words = "; ".join(f"at {100 * row['x']:g}, {100 * row['y']:g}: {100 * row[side]['mean']:.1f} %" for row in shown)
    return Chart(inline_svg(figure, axis), f"Accuracy of the {side} by position of the object's centre {words}")


@chart_style()
def _draw_line(rows: Sequence[Mapping[str, Any]], sides: Sequence[str], kind: str, value: str, label: str) -> Chart:
    figure = Figure(figsize=(3.9, 2.9), layout="constrained")
    axis = figure.subplots()
    scale = 100 if value == "area" else 1
    at = [scale * row[value] for row in rows]
    for side in sides:
        axis.plot(at, [100 * row[side]["mean"] for row in rows], marker=".", color=_COLOURS[side], label=side)
        low, high = ([100 * row[side][end] for row in rows] for end in ("low", "high"))
        axis.fill_between(at, low, high, color=_COLOURS[side], alpha=0.15, linewidth=0)
    if value == "area":
        axis.set_xscale("log")
        axis.minorticks_off()
    axis.set_xticks(at, [f"{x:g}" for x in at])
    axis.set_ylim(-2, 102)
    axis.set_title(f"accuracy by {kind}, %")
    axis.set_xlabel(label)
    if len(sides) > 1:
        axis.legend()
    words = "; ".join(f"{x:g}: {_percent_by_side(row, sides)}" for x, row in zip(at, rows, strict=True))
    return Chart(inline_svg(figure, axis), f"Accuracy by {kind} ({label}) {words}")
