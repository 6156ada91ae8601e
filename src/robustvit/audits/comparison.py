"""A page that compares the audits of several models on the same photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from robustvit.audits.audit_data import AuditData, ModelAudit
from robustvit.audits.by_metric import metric_changes
from robustvit.audits.measures import AUDIT_MEASURES
from robustvit.audits.page import NEUTRAL, ShownMeasures
from robustvit.audits.record import AUDIT_KIND, metric_titles
from robustvit.audits.shortcuts import name_shortcuts
from robustvit.audits.summary import compare_photos
from robustvit.common.errors import printable
from robustvit.common.files import write_json, write_text
from robustvit.common.pages import page_template
from robustvit.common.verdict_files import Comparison
from robustvit.evaluation.measured_intervals import measure_name

MOST_MODELS = 5


def comparison_record(audits: Sequence[AuditData], pages: Sequence[str]) -> dict[str, Any]:
    """Return the comparison as plain values: measures with intervals, and paired differences to the first model.

    The audits are of the same photos in the same order; ``pages`` are the names of their pages.
    """
    first = audits[0]
    rows = []
    for data, page in zip(audits, pages, strict=True):
        changes = {} if data is first else _changes(first.model, data.model)
        rows.append(
            {
                "model": printable(data.model.source),
                "page": page,
                "verdict": asdict(data.model.verdict),
                "shortcuts": [line for line in name_shortcuts(data) if not line.startswith("photos: ")],
                "measures": {name: asdict(found) for name, found in data.model.every_measure.items()},
                "differences": {name: asdict(one.difference) for name, one in changes.items()},
            }
        )
    titles = metric_titles(first.model.metric) | AUDIT_MEASURES
    measured = [name for name in titles if any(name in row["measures"] for row in rows)]
    return {
        "kind": f"{AUDIT_KIND}-comparison",
        "images": printable(first.images),
        "count": len(first.files),
        "metric": first.model.metric,
        "titles": {name: titles[name] for name in measured},
        "models": rows,
        "notes": list(dict.fromkeys(note for data in audits for note in data.notes)),
    }


def _changes(first: ModelAudit, other: ModelAudit) -> dict[str, Comparison]:
    """Return the changes of all measures, and of the metric that decides, by the names of ``every_measure``."""
    by_metric = metric_changes(first.photos, other.photos, other.metric)
    named = {measure_name(other.metric, kind): one for kind, one in by_metric.items()}
    return named | compare_photos(first.photos, other.photos)


def write_comparison(audits: Sequence[AuditData], pages: Sequence[str], page: Path, record_file: Path) -> None:
    """Write the record and the page of a comparison; see ``comparison_record``."""
    record = comparison_record(audits, pages)
    shown = ShownMeasures.by(record["metric"])
    template = page_template(__package__, "comparison.html.j2", trim=True)
    text = template.render(
        mark=record["kind"],
        record=record,
        row_groups=shown.groups,
        falls=shown.falls,
        neutral=NEUTRAL,
        differences=shown.differences,
        three=[name for name in shown.three if name in record["titles"]][:3],
        three_words=shown.three,
        record_name=printable(record_file.name),
        two=True,
    )
    write_json(record, record_file)
    write_text(text, page)
