"""A chart of accuracies by group: a point and a 95 % CI for each, of one model or of two."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from robustvit.common.charts import COLOURS, SOFT, chart_style, inline_svg, save_figure
from robustvit.common.intervals import Interval
from robustvit.evaluation.group_report import GroupReport, GroupRow

_MOST = 30  # rows drawn; the lowest
_LONGEST = 40  # letters of a name


def draw_groups(report: GroupReport) -> str:
    """Return the chart as inline SVG."""
    figure = _draw_figure(report)
    return inline_svg(figure, figure.axes[0], text=True)


def save_groups(report: GroupReport, out: Path) -> list[Path]:
    """Save the chart as PNG and SVG."""
    return save_figure(_draw_figure(report), out)


@chart_style()
def _draw_figure(report: GroupReport) -> Figure:
    rows = list(reversed(report.rows[:_MOST]))  # the lowest accuracy at the top
    figure = Figure(figsize=(6.4, 1.1 + 0.4 * len(rows)), layout="constrained")
    axis = figure.subplots()
    if any(row.before for row in rows):
        _draw_side(axis, [(at - 0.14, row.before["ordinary"]) for at, row in enumerate(rows) if row.before], "before")
        _draw_side(axis, [(at + 0.14, row.measures["ordinary"]) for at, row in enumerate(rows)], "after")
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)  # above the rows, which fill the frame
    else:
        _draw_side(axis, [(float(at), row.measures["ordinary"]) for at, row in enumerate(rows)], "accuracy")
    axis.set_yticks(range(len(rows)), [_title_row(row) for row in rows])
    axis.set_ylim(-0.5, len(rows) - 0.5)
    axis.set_xlim(0, 100)
    axis.set_xlabel("ordinary accuracy, %, with 95 % CI")
    return figure


def _draw_side(axis: Axes, points: list[tuple[float, Interval]], label: str) -> None:
    means = [100 * found.mean for _, found in points]
    reach = [
        [100 * max(0.0, found.mean - found.low) for _, found in points],
        [100 * max(0.0, found.high - found.mean) for _, found in points],
    ]
    colour = SOFT if label == "before" else COLOURS[0]
    heights = [at for at, _ in points]
    axis.errorbar(means, heights, xerr=reach, fmt="o", color=colour, label=label, clip_on=False)


def _title_row(row: GroupRow) -> str:
    name = row.group if len(row.group) <= _LONGEST else f"{row.group[: _LONGEST - 1]}…"
    return f"{name} (n {row.photos})".replace("$", r"\$")
