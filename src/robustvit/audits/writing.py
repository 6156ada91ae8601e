"""Write an audit: draw the pictures, then the record and the page that shows it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robustvit.audits.audit_data import AuditData
from robustvit.audits.page import PagePictures, render_audit, shown_groups
from robustvit.audits.pictures import Case, choose_case, draw_case, draw_crops, draw_worst, thumbnails
from robustvit.audits.record import audit_record
from robustvit.audits.run import AuditRun
from robustvit.audits.shortcuts import shortcut_record
from robustvit.audits.summary_file import summarise
from robustvit.common.files import write_json, write_text
from robustvit.models.weights import weights_hash


def full_record(data: AuditData, finished: bool = True) -> dict[str, Any]:
    """Return everything that is known as plain values."""
    case = _case_of(data)
    further = {"case": None if case is None else _describe_case(case, data), "finished": finished}
    record = audit_record(data) | shortcut_record(data) | further
    return record | {"summary": summarise(record)}


def _case_of(data: AuditData) -> Case | None:
    """Return the worst case; none where the user wants no pictures of photos (``--worst 0``)."""
    return choose_case(data.model.photos) if data.settings["worst"] else None


def _describe_case(case: Case, data: AuditData) -> dict[str, Any]:
    photo = data.model.photos[case.index]
    row: dict[str, Any] = {"index": case.index, "donor": case.donor}
    for one in photo.turned:
        if one.donor == case.donor:
            said = one.answer
            row |= {"donor_class": data.name_of(one.lent), "predicted": data.name_of(said.predicted),
                    "probability": said.probability}  # fmt: skip
    return row


def write_audit(
    run: AuditRun, data: AuditData, page: Path, record_file: Path, *, finished: bool = True
) -> dict[str, Any]:
    """Write the record and the page, and return the record.

    Args:
        run: whose models and photos draw the pictures.
        data: what was measured.
        page: HTML file.
        record_file: JSON file beside it.
        finished: whether all was measured; the page says so if not.
    """
    record = full_record(data, finished) | {"weights": weights_hash(run.models[0])}
    pictures = PagePictures(
        worst=_draw_worst(run, data),
        case=draw_case(run.held(run.models[0]), run.models[0], data.model.photos,
                       _case_of(data), method=run.request.maps.relevance, asking=run.memory),
        thumbnails=thumbnails(run.held(run.models[0]), _small(record)),
        crops=[draw_crops(run.held(run.models[0]), run.models[0], region.shown) for region in data.regions],
    )  # fmt: skip
    page.parent.mkdir(parents=True, exist_ok=True)
    write_json(record, record_file)
    write_text(render_audit(record, pictures, record_file.name), page)
    return record


def _small(record: Mapping[str, Any]) -> list[int]:
    """Return the photos that are shown small."""
    kinds = record["backgrounds"]["kinds"] if record["backgrounds"] else []
    rows = [*kinds, *shown_groups(record, True), *shown_groups(record, False)]
    return [index for row in rows for index in row["typical"]]


def _draw_worst(run: AuditRun, data: AuditData) -> dict[str, Any]:
    return {
        side: draw_worst(
            run.held(model), model, data.sides[side].photos, data.worst, method=run.request.maps.relevance,
            batch_size=run.request.running.batch_size, device=run.device, asking=run.memory,
        )
        for side, model in zip(data.sides, run.models, strict=True)
    }  # fmt: skip
