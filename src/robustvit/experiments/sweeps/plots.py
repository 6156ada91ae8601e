"""Plots of a sweep: measures against an option, a line per setting, with standard deviations over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustvit.common.charts import save_figure
from robustvit.common.errors import UserError
from robustvit.evaluation.measure import MEASURES
from robustvit.experiments.sweeps.results import SEED, average_seeds, read_rows, shifted_measure, varying

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from robustvit.experiments.sweeps.rate_outcomes import RateOutcome

_MOST_LINES = 12


def plot_sensitivity(results: str | Path, out: str | Path, x: str = "samples_per_class") -> list[Path]:
    """Plot accuracy against a numeric option of a sweep, a line per value of the others (the paper's Fig. 7).

    Points are means over seeds, error bars standard deviations. The original model is dotted, in the colour of its line
    if models differ.

    Args:
        results: results.csv of a sweep.
        out: output file without suffix; a PNG and an SVG are written.
        x: option on the horizontal axis.

    Returns:
        The files.
    """
    rows = read_rows(results)
    numeric = numeric_axes(rows)
    if x not in numeric:
        raise UserError(
            f"expected an option that varies in {results} by numbers ({', '.join(numeric) or 'none'}), got {x}"
        )
    means = [row for row in average_seeds(rows) if row["seeds"]]
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
    """Return the columns that vary and are numeric, with at least two values."""
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
        levels: dict[
            float, str
        ] = {}  # accuracy of the originals, which differ if models vary, and the colour of their line
        for label, rows in lines.items():
            points = sorted((float(row[x]), row) for row in rows if row[f"{measure} after"] != "")
            at = [value for value, _ in points]
            means = [100 * row[f"{measure} after"] for _, row in points]
            spread = [100 * (row[f"{measure} after sd"] or 0) for _, row in points]
            drawn = axis.errorbar(
                at, means, yerr=spread, label=label or None, marker="o", markersize=4, capsize=3, linewidth=1.4
            )
            if before := [100 * row[f"{measure} before"] for row in rows if row[f"{measure} before"] != ""]:
                levels[round(sum(before) / len(before), 6)] = drawn[0].get_color()
        for level, colour in levels.items():
            axis.axhline(level, color="0.5" if len(levels) == 1 else colour, linestyle=":", linewidth=1.2)
            axis.annotate("original", (0.01, level), xycoords=axis.get_yaxis_transform(), va="bottom", fontsize=8,
                          color="0.35")  # fmt: skip
        axis.set_title(f"{MEASURES[measure]}, %", fontsize=9)
        ticks = sorted({float(row[x]) for rows in lines.values() for row in rows})
        if len(ticks) <= 10:
            axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        _tidy(axis, x.replace("_", " "))
    if any(lines):
        figure.axes[0].legend(fontsize=8, frameon=False)
    return save_figure(figure, out)


def plot_rates(outcomes: Sequence[RateOutcome], max_drop: float, chosen: float | None, out: Path) -> list[Path]:
    """Plot the effect of each learning rate on the validation photos, and the chosen rate.

    Args:
        outcomes: outcome of each rate.
        max_drop: accuracy that may be lost, in percentage points.
        chosen: chosen rate, if any.
        out: output file without suffix.
    """
    from matplotlib.figure import Figure

    seen = [one for one in outcomes if not one.error]
    figure = Figure(figsize=(9.2, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    rates = [one.lr for one in seen]
    left.plot(rates, [-one.drop for one in seen], marker="o", markersize=4)
    left.axhline(-max_drop, color="0.5", linestyle=":", linewidth=1.2)
    left.set_title("change of validation accuracy, points (dotted: limit)", fontsize=9)
    right.plot(rates, [one.increase for one in seen], marker="o", markersize=4)
    right.axhline(0, color="0.5", linestyle=":", linewidth=1.2)
    right.set_title("change of relevance loss (dotted: limit)", fontsize=9)
    for axis in (left, right):
        axis.set_xscale("log")
        if chosen is not None:
            axis.axvline(chosen, color="tab:green", linewidth=1.2)
            axis.annotate(f"chosen {chosen:.3g}", (chosen, 0.98), xycoords=axis.get_xaxis_transform(), fontsize=8,
                          rotation=90, va="top", ha="right", color="tab:green")  # fmt: skip
        _tidy(axis, "learning rate")
    return save_figure(figure, out)


def _tidy(axis: Axes, label: str) -> None:
    axis.set_xlabel(label, fontsize=9)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
