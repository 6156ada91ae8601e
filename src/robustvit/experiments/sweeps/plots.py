"""Plots of a sweep: measures against what varies, a line for each setting, with the spread over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robustvit.common.charts import save_figure
from robustvit.common.errors import UserError
from robustvit.evaluation.measure import MEASURES
from robustvit.experiments.sweeps.results import SEED, over_seeds, read_rows, shifted_measure, varying

_MOST_LINES = 12


def plot_sensitivity(results: str | Path, out: str | Path, x: str = "samples_per_class") -> list[Path]:
    """Plot accuracies against one thing that varies in a sweep, a line per value of the others (the paper's Fig. 7).

    Points are means over seeds, bars their standard deviations; dotted is the original model, in its
    line's colour where models differ.

    Args:
        results: results.csv of a sweep.
        out: file to write, without ending: a PNG and an SVG picture.
        x: what varies along the axis; numbers.

    Returns:
        The files.
    """
    rows = read_rows(results)
    numeric = numeric_axes(rows)
    if x not in numeric:
        raise UserError(f"expected what varies in {results} and is a number ({', '.join(numeric) or 'none'}), got {x}")
    means = [row for row in over_seeds(rows) if row["seeds"]]
    if not means:
        raise UserError(f"expected finished trials in {results}, found none: run the sweep again")
    lines: dict[str, list[dict[str, Any]]] = {}
    others = [name for name in varying(rows) if name not in (x, SEED)]
    for row in means:
        lines.setdefault(", ".join(f"{name}={row[name]}" for name in others), []).append(row)
    if len(lines) > _MOST_LINES:
        raise UserError(f"expected at most {_MOST_LINES} lines to plot, {results} has {len(lines)}")
    return _draw_sensitivity(lines, x, ("ordinary", shifted_measure(rows)), Path(out))


def numeric_axes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What varies in rows by numbers, of which there are at least two."""
    found = []
    for name in varying(rows):
        values = {str(row[name]) for row in rows}
        if name != SEED and len(values) > 1 and all(_is_number(value) for value in values):
            found.append(name)
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _draw_sensitivity(lines: dict[str, list[dict[str, Any]]], x: str, measures: Sequence[str], out: Path) -> list[Path]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(measures), 3.6), layout="constrained")
    for axis, measure in zip(figure.subplots(1, len(measures)), measures, strict=True):
        levels: dict[float, str] = {}  # of the originals, which differ where models vary; by colour of their line
        for label, rows in lines.items():
            points = sorted((float(row[x]), row) for row in rows if row[f"{measure} after"] != "")
            at = [place for place, _ in points]
            means = [100 * row[f"{measure} after"] for _, row in points]
            spread = [100 * (row[f"{measure} after sd"] or 0) for _, row in points]
            drawn = axis.errorbar(
                at, means, yerr=spread, label=label or None, marker="o", markersize=4, capsize=3, linewidth=1.4
            )
            if before := [100 * row[f"{measure} before"] for row in rows if row[f"{measure} before"] != ""]:
                levels[round(sum(before) / len(before), 6)] = drawn[0].get_color()
        for level, colour in levels.items():
            axis.axhline(level, color="0.5" if len(levels) == 1 else colour, linestyle=":", linewidth=1.2)
            place = {"xycoords": axis.get_yaxis_transform(), "va": "bottom"}
            axis.annotate("original", (0.01, level), fontsize=8, color="0.35", **place)
        axis.set_title(f"{MEASURES[measure]}, %", fontsize=9)
        places = sorted({float(row[x]) for rows in lines.values() for row in rows})
        if len(places) <= 10:
            axis.set_xticks(places, [f"{place:g}" for place in places])
        _tidy(axis, x.replace("_", " "))
    if any(lines):
        figure.axes[0].legend(fontsize=8, frameon=False)
    return save_figure(figure, out)


def plot_rates(outcomes: Sequence[Any], max_drop: float, chosen: float | None, out: Path) -> list[Path]:
    """Plot what each learning rate did to the validation photos, and which one was chosen.

    Args:
        outcomes: ``RateOutcome`` of each rate.
        max_drop: points of accuracy that may be lost.
        chosen: the rate chosen, if any.
        out: file to write, without ending.
    """
    from matplotlib.figure import Figure

    seen = [one for one in outcomes if not one.error]
    figure = Figure(figsize=(9.2, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    rates = [one.lr for one in seen]
    left.plot(rates, [-one.drop for one in seen], marker="o", markersize=4)
    left.axhline(-max_drop, color="0.5", linestyle=":", linewidth=1.2)
    left.set_title("validation accuracy, change in points (dotted: the least allowed)", fontsize=9)
    right.plot(rates, [one.increase for one in seen], marker="o", markersize=4)
    right.axhline(0, color="0.5", linestyle=":", linewidth=1.2)
    right.set_title("relevance loss, change (must not be above the dotted line)", fontsize=9)
    for axis in (left, right):
        axis.set_xscale("log")
        if chosen is not None:
            axis.axvline(chosen, color="tab:green", linewidth=1.2)
            axis.annotate(f"chosen {chosen:.3g}", (chosen, 0.98), xycoords=axis.get_xaxis_transform(), fontsize=8,
                          rotation=90, va="top", ha="right", color="tab:green")  # fmt: skip
        _tidy(axis, "learning rate")
    return save_figure(figure, out)


def _tidy(axis: Any, label: str) -> None:
    axis.set_xlabel(label, fontsize=9)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
