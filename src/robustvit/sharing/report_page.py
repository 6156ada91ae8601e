"""The page of a run: one self-contained HTML file for phone, screen or paper."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from robustvit.common.charts import chart_style, inline_svg
from robustvit.common.outcomes import next_step
from robustvit.common.pages import page_template
from robustvit.common.pictures import data_url
from robustvit.common.run_folder import RunFolder
from robustvit.common.verdict_files import Comparison, Verdict, read_verdict
from robustvit.evaluation.class_numbers import render_class_numbers
from robustvit.evaluation.group_chart import draw_groups
from robustvit.evaluation.group_report import read_groups
from robustvit.evaluation.measured_intervals import measure_name, measure_title
from robustvit.evaluation.verdict import deciding_measure
from robustvit.guidance.registry import GUIDANCE
from robustvit.training.panels import Panel, read_panels
from robustvit.training.settings import complete_settings

_OUTCOMES = {
    "corrected": "Corrected: wrong before, right after",
    "broken": "Broken: right before, wrong after",
    "same": "Right or wrong as before",
}
_BADGES: dict[Any, tuple[str, str]] = {  # words and colour
    "better": ("Better", "yes"),
    "cost-open": ("Better, cost not yet bounded", "open"),
    "not-shown": ("No measurable improvement", "open"),
    "worse": ("Worse", "no"),
    True: ("Accepted", "yes"),
    False: ("Not accepted", "no"),
    None: ("Not decided", "open"),
}


def render_report(folder: RunFolder, config: Mapping[str, Any], mark: str) -> str:
    """Return the page of a finished run with these settings; ``mark`` distinguishes such pages from others."""
    photos, verdict = folder.photos.by_use(), read_verdict(folder.verdict)
    panels = [_embed_panel(panel, folder.panels) for panel in read_panels(folder.panels)]
    by_class = folder.read(folder.by_class)
    return page_template(__package__, "report.html.j2").render(
        mark=mark,
        verdict=verdict,
        badge=_BADGES[verdict.outcome or verdict.accepted],
        next=next_step(verdict.outcome) if verdict.outcome else "",
        numbers=_choose_numbers(verdict),
        lead=panels[0] if panels and panels[0]["before"] else None,
        title_of=measure_title,
        by_class=by_class and render_class_numbers(by_class, "after", "original", folder.by_class.name),
        config={name: value for name, value in complete_settings(config).items() if name != "resume"},
        guidance=GUIDANCE.get(str(config.get("guidance", "robustvit"))),
        versions=folder.read(folder.versions),
        shifts=folder.shifts(),
        photos=photos,
        curves=_draw_curves(folder.metrics(), photos, verdict.metric),
        rivals=folder.read(folder.at_inference),
        **_read_groups(folder.read(folder.groups)),
        outcomes={title: [one for one in panels if one["outcome"] == name] for name, title in _OUTCOMES.items()},
    )


def _choose_numbers(verdict: Verdict) -> list[Comparison]:
    """Return the comparisons that a reader needs first: the deciding one, ordinary photos, and relevance."""
    decisive = deciding_measure([one.measure for one in verdict.comparisons], verdict.trained_on, verdict.metric)
    shown = [measure_name(verdict.metric, kind) for kind in (decisive, "ordinary") if kind] + ["energy"]
    return [found for name in shown if (found := verdict.of(name))]


def _embed_panel(panel: Panel, folder: Path) -> dict[str, Any]:
    """Return a panel with embedded pictures."""

    def picture(name: str) -> str:
        return data_url((folder / name).read_bytes(), "png" if name.endswith(".png") else "jpeg")

    sides = {"before": panel.before, "after": panel.after}
    return {
        "outcome": panel.outcome,
        "caption": panel.caption,
        "total": panel.total,
        "no_object": panel.no_object,
        "photo": picture(panel.file),
        **{when: side and {"answer": side[0], "picture": picture(side[1])} for when, side in sides.items()},
    }


def _draw_curves(epochs: list[dict[str, Any]], photos: Mapping[str, str], metric: str) -> list[str]:
    """Plot losses and accuracies over epochs, each as inline SVG; none for fewer than two epochs."""
    if len(epochs) < 2:
        return []
    losses = {"training": "train_loss", "validation": "val_loss"}
    accuracies = {
        "ordinary": "val_accuracy",
        "backgrounds of other classes": "val_mixed_other",
        "random backgrounds": "val_mixed_rand",  # chose the epoch in older versions
    }
    chosen = {
        "ordinary": f"val_{metric.replace('-', '_')}_ordinary",
        "backgrounds of other classes": f"val_{metric.replace('-', '_')}_mixed_other",
    }
    charts = [
        (f"loss, {photos['train']}, {photos['validation']}", losses, 1.0),
        (f"accuracy on {photos['validation']}, %", accuracies, 100.0),
        (f"{metric} on {photos['validation']}, %", chosen, 100.0),
    ]
    return [
        _draw_curve(title, epochs, lines, scale)
        for title, lines, scale in charts
        if any(sum(name in row for row in epochs) > 1 for name in lines.values())
    ]


def _read_groups(found: dict[str, Any]) -> dict[str, Any]:
    """Return the measures by group of a run, and a chart of them; None without groups."""
    report = read_groups({name: value for name, value in found.items() if name != "training"}) if found else None
    return {"groups": report, "group_chart": None if report is None else draw_groups(report)}


def _to_number(value: str | float | None) -> float:
    """Return a metric as a number; NaN, which leaves a gap, if it is missing."""
    try:
        return math.nan if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


@chart_style()
def _draw_curve(title: str, epochs: list[dict[str, Any]], lines: dict[str, str], scale: float) -> str:
    figure = Figure(figsize=(4.6, 2.9), layout="constrained")
    axis = figure.subplots()
    at = [row["epoch"] for row in epochs]
    for label, name in lines.items():
        if any(name in row for row in epochs):
            values = [scale * _to_number(row.get(name)) for row in epochs]
            axis.plot(at, values, label=label, marker=".")
    kept = [row["epoch"] for row in epochs if row.get("best")]
    if kept:
        axis.axvline(kept[-1], color="0.6", linestyle=":", linewidth=1)
    axis.set_title(title)
    axis.set_xlabel("epoch (dotted: the one kept)" if kept else "epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend()
    return inline_svg(figure, axis)
