"""The page of an audit: its record as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robustvit.audits.charts import accuracy_chart, shift_charts
from robustvit.audits.insertions import PULL
from robustvit.audits.measures import DIFFERENCES
from robustvit.audits.pictures import AuditPicture
from robustvit.audits.properties import PROPERTIES
from robustvit.audits.record import KIND
from robustvit.common.errors import printable
from robustvit.common.pages import page_template

MOST_GROUPS, MOST_TURNS, MOST_PHOTOS = 40, 12, 200  # rows on the page; all of them are in the record
CLASS_COLUMNS = ("ordinary", "cost", "only-bg-t", "only-fg", "vulnerable", "energy", "pointing")


def shown_groups(record: Mapping[str, Any], fair: bool) -> list[dict[str, Any]]:
    """Return the groups that the page shows: the worst of those large enough to compare, or of the others."""
    return [group for group in record["groups"] if group["fair"] is fair][:MOST_GROUPS]


def render_audit(
    record: Mapping[str, Any],
    worst: Mapping[str, Sequence[Sequence[AuditPicture]]],
    thumbnails: Mapping[int, str],
    record_name: str,
    crops: Sequence[Sequence[str]] = (),
) -> str:
    """Render an audit as HTML.

    Args:
        record: see ``audit_record``; every number on the page comes from it.
        worst: for the model and the baseline, pictures of each of the worst photos.
        thumbnails: of the typical photos of backgrounds and of ``shown_groups``.
        record_name: file name of the record beside the page.
        crops: pictures of the patches that are shown of each region.
    """
    page = page_template(
        __package__, "audit.html.j2", trim=True, file_name=lambda path: printable("/".join(Path(path).parts[-2:]))
    )
    measured = [name for name in record["titles"] if any(name in row for row in record["classes"].values())]
    sides = ["model", "baseline"] if record["baseline"] else ["model"]
    return page.render(
        mark=KIND,
        record=record,
        sides=sides,
        chart=accuracy_chart(record),
        shift_charts=shift_charts(record),
        columns=[name for name in CLASS_COLUMNS if name in measured],
        more_columns=[name for name in measured if name not in CLASS_COLUMNS],
        few=MOST_TURNS,
        many=MOST_PHOTOS,
        fair=shown_groups(record, True),
        small=shown_groups(record, False),
        worst=[[worst[side][position] for side in sides] for position in range(len(record["worst"]))],
        thumbnails=thumbnails,
        record_name=printable(record_name),
        differences=list(DIFFERENCES),
        crops=crops,
        pull_limit=PULL,
        property_names=PROPERTIES,
    )
