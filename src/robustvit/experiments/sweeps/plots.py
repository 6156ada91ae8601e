"""Plots of a sweep and of a search: measures against an option, a line per setting, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustvit.common.charts import GOOD, SOFT, chart_style, save_figure, short_number
from robustvit.common.errors import UserError
from robustvit.common.wording import with_minus
from robustvit.evaluation.photo_measures import MEASURES
from robustvit.experiments.sweeps.experiment_grid import read_number
from robustvit.experiments.sweeps.results import SEED, average_seeds, read_rows, shifted_measure, varying

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from robustvit.experiments.sweeps.rate_outcomes import RateOutcome

_MOST_LINES = 12
_LOGARITHMIC = 10  # largest over smallest value of an axis that is logarithmic
_LEAST_HEIGHT = 10.0  # percentage points of an axis: chance should look small
_APART = 0.012  # of an axis, between the bars of two lines


def plot_sensitivity(results: str | Path, out: str | Path, x: str = "samples_per_class") -> list[Path]:
    """Plot accuracy against a numeric option of a sweep, a line per value of the others (the paper's Fig. 7).

    Points are means over seeds, bars standard deviations over seeds; of a single seed they are 95 % CIs over photos.
    The original model is dotted, in the colour of its line if models differ.

    Args:
        results: results.csv of a sweep.
        out: output file without suffix; a PNG and an SVG are written.
        x: option on the horizontal axis; logarithmic if its values differ by a factor of ten or more.
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
    measures = ("ordinary", shifted_measure(rows))
    lines: dict[str, list[dict[str, Any]]] = {}
    others = [name for name in varying(rows) if name not in (x, SEED)]
    for row in means:
        bars = {f"{measure} bar": _bar(row, measure, rows) for measure in measures}
        lines.setdefault(", ".join(f"{name}={row[name]}" for name in others), []).append(row | bars)
    if len(lines) > _MOST_LINES:
        raise UserError(f"expected at most {_MOST_LINES} lines to plot, {results} has {len(lines)}")
    return _draw_sensitivity(lines, x, measures, Path(out))


def numeric_axes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the columns that vary and are numeric, with at least two values."""
    found = []
    for name in varying(rows):
        values = {str(row[name]) for row in rows}
        if name != SEED and len(values) > 1 and all(read_number(value) is not None for value in values):
            found.append(name)
    return found


def _bar(mean: dict[str, Any], measure: str, rows: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Return how far a point's bar reaches down and up, in points."""
    if deviation := mean.get(f"{measure} after sd"):
        return 100 * deviation, 100 * deviation
    names = [f"{measure} after", f"{measure} after low", f"{measure} after high"]
    for row in rows if mean["seeds"] == 1 else ():
        same = all(str(row[name]) == str(mean[name]) for name in varying(rows) if name != SEED)
        if same and all(row.get(name, "") != "" for name in names):
            middle, low, high = (100 * float(row[name]) for name in names)
            return max(0.0, middle - low), max(0.0, high - middle)
    return 0.0, 0.0


@chart_style()
def _draw_sensitivity(lines: dict[str, list[dict[str, Any]]], x: str, measures: Sequence[str], out: Path) -> list[Path]:
    from matplotlib.figure import Figure

    seeds = max(row["seeds"] for rows in lines.values() for row in rows)
    below = 0.22 * len(lines) if any(lines) else 0
    figure = Figure(figsize=(4.6 * len(measures), 3.5 + below), layout="constrained")
    axes = figure.subplots(1, len(measures))
    for axis, measure in zip(axes, measures, strict=True):
        _scale_across(axis, [float(row[x]) for rows in lines.values() for row in rows])
        _draw_lines(axis, lines, x, measure)
        axis.set_title(f"{MEASURES[measure]}, %")
        axis.set_xlabel("learning rate" if x == "lr" else x.replace("_", " "))
        axis.grid(axis="y")
    height = max(_LEAST_HEIGHT, *(axis.get_ylim()[1] - axis.get_ylim()[0] for axis in axes))
    for axis in axes:
        _set_height(axis, height)
    if any(lines):
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left")
    spread = f"standard deviations over {seeds} seeds" if seeds > 1 else "95 % CI over photos"
    figure.supxlabel(f"bars: {spread}; dotted: the original", fontsize=8, color=SOFT)
    return save_figure(figure, out)


def _draw_lines(axis: Axes, lines: dict[str, list[dict[str, Any]]], x: str, measure: str) -> None:
    """Draw a line for each setting, their bars side by side, and the originals."""
    levels: dict[float, str] = {}  # accuracy of the originals, which differ if models vary, and their line's colour
    for number, (label, rows) in enumerate(lines.items()):
        points = sorted((float(row[x]), row) for row in rows if row[f"{measure} after"] != "")
        at = _move_aside(axis, [value for value, _ in points], number - (len(lines) - 1) / 2)
        means = [100 * row[f"{measure} after"] for _, row in points]
        bars = [[row[f"{measure} bar"][end] for _, row in points] for end in (0, 1)]
        drawn = axis.errorbar(at, means, yerr=bars, label=label or None, marker="o", elinewidth=1.1)
        if before := [100 * row[f"{measure} before"] for row in rows if row[f"{measure} before"] != ""]:
            levels[round(sum(before) / len(before), 6)] = drawn[0].get_color()
    for level, colour in levels.items():
        axis.axhline(level, color=SOFT if len(levels) == 1 else colour, linestyle=":", linewidth=1.2)


def _move_aside(axis: Axes, values: Sequence[float], steps: float) -> list[float]:
    """Move points along the horizontal axis, so that the bars of several lines do not cover each other."""
    low, high = axis.get_xlim()
    if axis.get_xscale() == "log":
        return [value * (high / low) ** (_APART * steps) for value in values]
    return [value + (high - low) * _APART * steps for value in values]


def _scale_across(axis: Axes, values: Sequence[float]) -> None:
    """Make a horizontal axis of an option: logarithmic for wide ranges, labelled at the values themselves."""
    ticks = sorted(set(values))
    if ticks[0] > 0 and ticks[-1] / ticks[0] >= _LOGARITHMIC:
        axis.set_xscale("log")
        margin = (ticks[-1] / ticks[0]) ** 0.08
        axis.set_xlim(ticks[0] / margin, ticks[-1] * margin)
    else:
        margin = 0.08 * (ticks[-1] - ticks[0])
        axis.set_xlim(ticks[0] - margin, ticks[-1] + margin)
    if len(ticks) <= 10:
        axis.set_xticks(ticks, [short_number(tick) for tick in ticks])
        axis.set_xticks([], minor=True)


def _set_height(axis: Axes, height: float) -> None:
    """Give the axis of a percentage this height around what it shows, within 0 to 100 %."""
    low, high = axis.get_ylim()
    bottom = min(max(0.0, (low + high - height) / 2), max(0.0, 100.0 - height))
    axis.set_ylim(bottom, min(100.0, bottom + height))


@chart_style()
def plot_rates(outcomes: Sequence[RateOutcome], max_drop: float, chosen: float | None, out: Path) -> list[Path]:
    """Plot the effect of each learning rate on the validation photos with 95 % CIs, and the chosen rate.

    The axes show the surroundings of the limit, a loss of ``max_drop`` points; a point beyond is a triangle at the edge
    with its value. A PNG and an SVG are written to ``out``, which has no suffix.
    """
    from matplotlib.figure import Figure

    seen = [one for one in outcomes if not one.error]
    figure = Figure(figsize=(9.2, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    changes = [100 * one.change.mean if one.change else -one.drop for one in seen]
    bars = [(100 * one.change.low, 100 * one.change.high) if one.change else None for one in seen]
    window = max(_LEAST_HEIGHT, 4 * max_drop)
    _draw_rates(left, [one.lr for one in seen], changes, bars, (-window, window))
    left.axhline(-max_drop, color=SOFT, linestyle=":", linewidth=1.2)
    left.set_title("change of validation accuracy, points (dotted: limit)")
    rises = [one.increase for one in seen]
    reach = 1.5 * max((abs(rise) for rise in rises if rise < 0), default=max(map(abs, rises), default=1.0)) or 1.0
    _draw_rates(right, [one.lr for one in seen], rises, [None] * len(seen), (-reach, reach))
    right.axhline(0, color=SOFT, linestyle=":", linewidth=1.2)
    right.set_title("change of relevance loss (dotted: limit)")
    for axis in (left, right):
        axis.set_xlabel("learning rate (bars: 95 % CI over photos)" if axis is left and any(bars) else "learning rate")
        axis.grid(axis="y")
        if chosen is not None:
            axis.axvline(chosen, color=GOOD, linewidth=1.2, zorder=1)
            axis.annotate(f"chosen {short_number(chosen)}", (chosen, 0.02), xycoords=axis.get_xaxis_transform(),
                          fontsize=8, rotation=90, va="bottom", ha="right", color=GOOD)  # fmt: skip
    return save_figure(figure, out)


def _draw_rates(
    axis: Axes,
    rates: Sequence[float],
    values: Sequence[float],
    bars: Sequence[tuple[float, float] | None],
    window: tuple[float, float],
) -> None:
    """Draw points with intervals on an axis that ends at a window; those beyond become triangles with their values."""
    if rates:
        _scale_across(axis, rates)
    axis.set_ylim(*window)
    order = sorted(range(len(rates)), key=lambda at: rates[at])
    (line,) = axis.plot([rates[at] for at in order], [values[at] for at in order], alpha=0.5)
    for rate, value, bar in zip(rates, values, bars, strict=True):
        inside = window[0] < value < window[1]
        if inside:
            reach = None if bar is None else [[max(0.0, value - bar[0])], [max(0.0, bar[1] - value)]]
            axis.errorbar(rate, value, yerr=reach, marker="o", color=line.get_color(), elinewidth=1.1)
        elif value == value:  # not NaN
            up = value > 0
            edge = window[1] if up else window[0]
            axis.plot(rate, edge, marker="^" if up else "v", color=line.get_color(), clip_on=False, zorder=3)
            axis.annotate(with_minus(f"{value:+.3g}"), (rate, edge), textcoords="offset points",
                          xytext=(-6, -11 if up else 5), ha="right", fontsize=8)  # fmt: skip
