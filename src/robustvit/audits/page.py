"""The page of an audit: its record as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustvit.audits.charts import accuracy_chart, shift_charts
from robustvit.audits.measures import DIFFERENCES
from robustvit.audits.pictures import AuditPicture
from robustvit.audits.properties import PROPERTIES
from robustvit.audits.record import AUDIT_KIND, metric_titles
from robustvit.common.errors import printable
from robustvit.common.pages import page_template
from robustvit.data.region_decisions import SHORTCUTS_KIND
from robustvit.evaluation.class_numbers import render_class_numbers
from robustvit.evaluation.group_chart import draw_groups
from robustvit.evaluation.group_report import read_groups
from robustvit.evaluation.measured_intervals import measure_name
from robustvit.evaluation.metrics import ACCURACY, DECIDING
from robustvit.evaluation.pulls import PULL

MOST_GROUPS, MOST_TURNS, MOST_PHOTOS = 40, 12, 200  # rows on the page; all of them are in the record
THREE: dict[str, str] = {  # the first three that are measured are shown large
    "ordinary": "right on the photos as they are",
    "mixed-other": "right on a background of another class",
    "energy": "of what the answers rest on lies on the object",
    "cost": "is what a wrong background costs",
}
ROW_GROUPS: dict[str, tuple[str, ...]] = {
    "As they are": ("ordinary",),
    "On other backgrounds": ("mixed-same", "mixed-other", "cost", "mixed-rand", "gap", "vulnerable", "turned"),
    "Object or background alone": ("only-fg", "only-bg-t", "only-bg-b", "no-fg"),
    "Moved objects": ("position", "size", "rotation"),
    "Where the relevance lies": ("energy", "uniform", "miou", "pointing"),
}
FALLS = ("cost", "gap", "only-bg-t", "only-bg-b", "no-fg", "vulnerable", "turned")  # lower is better
NEUTRAL = ("uniform",)
CLASS_COLUMNS = ("ordinary", "cost", "only-bg-t", "only-fg", "vulnerable", "energy", "pointing")


@dataclass(frozen=True)
class ShownMeasures:
    """Which measures a page shows, and how.

    Attributes:
        three: names and words of the measures that are shown large, if they were measured.
        groups: names of the measures in the table, by title.
        falls: those of which lower is better.
        differences: those that are differences, in points.
    """

    three: Mapping[str, str]
    groups: Mapping[str, tuple[str, ...]]
    falls: tuple[str, ...]
    differences: tuple[str, ...]

    @classmethod
    def by(cls, metric: str) -> ShownMeasures:
        """Return what is shown if a metric decides: its own measures first, unless it is accuracy."""
        if metric == ACCURACY:
            return cls(THREE, ROW_GROUPS, FALLS, tuple(DIFFERENCES))
        title = DECIDING[metric]
        own = {
            measure_name(metric, "ordinary"): f"{title} on the photos as they are",
            measure_name(metric, "mixed-other"): f"{title} on a background of another class",
            "energy": THREE["energy"],
        }
        names = tuple(metric_titles(metric))
        falls = (*FALLS, *(name for name in names if name.rpartition("/")[2] in FALLS))
        cost = measure_name(metric, "cost")
        return cls(own | THREE, {f"By {title}, which decides": names} | ROW_GROUPS, falls, (*DIFFERENCES, cost))


def shown_groups(record: Mapping[str, Any], fair: bool) -> list[dict[str, Any]]:
    """Return the groups that the page shows: the worst of those large enough to compare, or of the others."""
    return [group for group in record["groups"] if group["fair"] is fair][:MOST_GROUPS]


@dataclass(frozen=True)
class PagePictures:
    """The pictures of a page.

    Attributes:
        worst: for the model and the baseline, pictures of each of the worst photos.
        case: of the worst case.
        thumbnails: of the typical photos of backgrounds and of ``shown_groups``.
        crops: of the patches that are shown of each region.
    """

    worst: Mapping[str, Sequence[Sequence[AuditPicture]]]
    case: Sequence[AuditPicture]
    thumbnails: Mapping[int, str]
    crops: Sequence[Sequence[str]]


def render_audit(record: Mapping[str, Any], pictures: PagePictures, record_name: str) -> str:
    """Render an audit as HTML; every number on the page is from its record, ``record_name`` beside the page."""
    page = page_template(
        __package__, "audit.html.j2", trim=True, file_name=lambda path: printable("/".join(Path(path).parts[-2:]))
    )
    sides = list(record["verdict"])
    numbers = record.get("by_class")
    return page.render(
        mark=AUDIT_KIND,
        record=record,
        record_name=printable(record_name),
        sides=sides,
        by_class=numbers and render_class_numbers(numbers, "model", "baseline", record_name),
        chart=accuracy_chart(record),
        shift_charts=shift_charts(record),
        group_chart=draw_groups(read_groups(record["by_group"])) if record["by_group"] else None,
        few=MOST_TURNS,
        many=MOST_PHOTOS,
        fair=shown_groups(record, True),
        small=shown_groups(record, False),
        worst=[[pictures.worst[side][position] for side in sides] for position in range(len(record["worst"]))],
        case_tiles=pictures.case,
        thumbnails=pictures.thumbnails,
        crops=pictures.crops,
        anywhere=record["settings"]["without_masks"],
        shortcuts=regions_to_decide(record),
        pull_limit=PULL,
        property_names=PROPERTIES,
        **_name_measures(record),
        **_number_classes(record),
    )


def _name_measures(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template is told of measures: which are shown where, and which way is better."""
    shown = ShownMeasures.by(record["metric"])
    by_class = [name for name in record["titles"] if any(name in row for row in record["classes"].values())]
    return {
        "three": [(name, words) for name, words in shown.three.items() if name in record["measures"]][:3],
        "row_groups": shown.groups,
        "falls": shown.falls,
        "neutral": NEUTRAL,
        "differences": list(shown.differences),
        "columns": [name for name in CLASS_COLUMNS if name in by_class],
        "more_columns": [name for name in by_class if name not in CLASS_COLUMNS],
    }


def _number_classes(record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the numbers of the classes, and by which of them photos are shown, by their labels in words."""
    number_of = {name: number for number, name in enumerate(list(record["classes"])[:MOST_GROUPS])}
    several = {
        photo["class"]: " ".join(str(number_of[name]) for name in photo["labels"] if name in number_of)
        for photo in record["photos"]
        if photo["labels"] is not None
    }
    return {
        "number_of": number_of,
        "filter_of": {name: str(number) for name, number in number_of.items()} | several,
    }


def regions_to_decide(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page saves once every region has its decision; see ``read_decisions``."""
    regions = [
        {
            "number": number,
            "words": region["words"],
            "centre": [round(value, 5) for value in region["centre"]],
            "reach": round(region["reach"], 5),
            "decision": None,
        }
        for number, region in enumerate(record["regions"], start=1)
    ]
    return {"kind": SHORTCUTS_KIND, "model": record["model"], "weights": record.get("weights", ""), "regions": regions}
