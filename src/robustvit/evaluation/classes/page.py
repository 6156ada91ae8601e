"""The page of a comparison by class: charts, pictures and tables in one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from robustvit.common.charts import BAD, GOOD, INK, SOFT, Chart, chart_style, inline_svg
from robustvit.common.errors import printable
from robustvit.common.files import write_json, write_text
from robustvit.common.pages import page_template
from robustvit.common.wording import signed
from robustvit.evaluation.classes.record import CLASSES_KIND

_TITLES = {"all": "All classes", "helped": "Helped most", "harmed": "Harmed most"}
_PALE = 0.45  # opacity of bars that are not significant
_LONGEST = 30  # characters of a class's name beside its bar


def draw_class_charts(record: Mapping[str, Any]) -> list[Chart]:
    """Draw bars of the classes that a record shows, with their intervals; none if nothing changed."""
    by_name = {row["name"]: row for row in record["classes"]}
    if record["overall"]["helped"] == record["overall"]["harmed"] == 0:
        return []
    measure, shown = record["measure"].removeprefix("top-1 "), record["shown"].items()
    return [_draw_bars(_TITLES[part], [by_name[name] for name in names], measure) for part, names in shown if names]


@chart_style()
def _draw_bars(title: str, rows: Sequence[Mapping[str, Any]], measure: str) -> Chart:
    figure = Figure(figsize=(4.6, 0.75 + 0.21 * len(rows)), layout="constrained")
    axis = figure.subplots()
    for at, row in enumerate(rows):
        mean, low, high = (100 * row["difference"][end] for end in ("mean", "low", "high"))
        colour = GOOD if mean > 0 else BAD
        axis.barh(at, mean, 0.66, color=colour, alpha=1 if row["significant"] else _PALE, linewidth=0)
        reach = [[max(0.0, mean - low)], [max(0.0, high - mean)]]
        axis.errorbar(mean, at, xerr=reach, color=INK, linewidth=0.9, capsize=2)
    axis.axvline(0, color=SOFT, linewidth=0.8)
    axis.set_yticks(range(len(rows)), [_label_class(row) for row in rows])
    for label in axis.get_yticklabels():
        label.set_parse_math(False)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xlabel(f"change of {measure}, points")
    axis.set_title(title)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x")
    axis.spines["left"].set_visible(False)
    words = "; ".join(f"{printable(row['name'])} {signed(100 * row['difference']['mean'])}" for row in rows)
    return Chart(inline_svg(figure, axis, text=True), f"{title}, change of {measure} in points: {words}")


def _label_class(row: Mapping[str, Any]) -> str:
    name = " ".join(printable(row["name"]).split())
    short = name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"
    return f"{'● ' if row['seen'] else ''}{short} ({row['images']})"


def render_classes(record: Mapping[str, Any], pictures: Mapping[str, Sequence[str]], record_name: str) -> str:
    """Render a comparison as HTML, with pictures of ``draw_turned``; every number on the page comes from the record."""
    page = page_template(
        __package__, "classes.html.j2", trim=True, p_value=lambda p: f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"
    )
    return page.render(
        mark=CLASSES_KIND,
        record=record,
        charts=draw_class_charts(record),
        pictures=pictures,
        record_name=printable(record_name),
    )


def write_classes(content: Mapping[str, Any], pictures: Mapping[str, Sequence[str]], page: Path, record: Path) -> None:
    """Write the page of a comparison, and beside it the record with its content."""
    text = render_classes(content, pictures, record.name)
    page.parent.mkdir(parents=True, exist_ok=True)
    write_json(content, record)
    write_text(text, page)
