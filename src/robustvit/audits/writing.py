"""Write an audit: draw the pictures, then the record and the page that shows it, and the groups that it found."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robustvit.audits.audit_data import AuditData
from robustvit.audits.page import PagePictures, render_audit, shown_groups
from robustvit.audits.photo_record import record_case
from robustvit.audits.pictures import (
    AuditPicture,
    Case,
    choose_case,
    draw_crops,
    draw_photos,
    draw_thumbnails,
    most_harmful_case,
)
from robustvit.audits.record import audit_record
from robustvit.audits.run import AuditRun
from robustvit.audits.shortcuts import shortcut_record, summarise
from robustvit.common.csv_files import csv_text
from robustvit.common.errors import UserError
from robustvit.common.files import write_json, write_text
from robustvit.models.weights import weights_hash

_GROUP_COLUMNS = ("image", "mask", "label", "group")


def full_record(data: AuditData, finished: bool = True) -> dict[str, Any]:
    """Return everything that is known as plain values."""
    case = {"case": record_case(_find_case(data), data), "finished": finished}
    record = audit_record(data) | shortcut_record(data) | case
    return record | {"summary": summarise(record)}


def _find_case(data: AuditData) -> Case | None:
    """Return the worst case; none where the user wants no pictures of photos (``--worst 0``)."""
    return choose_case(data.model.photos) if data.settings["worst"] else None


class AuditDrawing:
    """The pictures of an audit's page; those of its first, unfinished page are not drawn again."""

    def __init__(self, run: AuditRun) -> None:
        self.run, self._photos = run, run.photos_for(run.models[0])
        self._worst: dict[str, list[list[AuditPicture]]] = {}
        self._case: list[AuditPicture] | None = None
        self._thumbnails: dict[int, str] = {}

    def draw(self, data: AuditData, record: Mapping[str, Any]) -> PagePictures:
        """Draw what a page shows: what an audit measures first is the same in all its pages."""
        run, model = self.run, self.run.models[0]
        for (side, audited), other in zip(data.sides.items(), run.models, strict=True):
            if side not in self._worst:
                cases = [most_harmful_case(audited.photos[index], index) for index in data.worst]
                self._worst[side] = draw_photos(run.photos_for(other), other, cases, run.measuring)
        if self._case is None:
            case = _find_case(data)
            self._case = draw_photos(self._photos, model, [case], run.measuring, masks=False)[0] if case else []
        left = [index for index in _list_thumbnails(record) if index not in self._thumbnails]
        self._thumbnails |= draw_thumbnails(self._photos, left)
        return PagePictures(
            worst=self._worst,
            case=self._case,
            thumbnails=self._thumbnails,
            crops=[draw_crops(self._photos, model, region.shown) for region in data.regions],
        )


def write_audit(
    drawing: AuditDrawing, data: AuditData, page: Path, record_file: Path, *, finished: bool = True
) -> dict[str, Any]:
    """Write the record and the page, which says so if not all was measured, and return the record."""
    record = full_record(data, finished) | {"weights": weights_hash(drawing.run.models[0])}
    pictures = drawing.draw(data, record)
    page.parent.mkdir(parents=True, exist_ok=True)
    write_json(record, record_file)
    write_text(render_audit(record, pictures, record_file.name), page)
    return record


def _list_thumbnails(record: Mapping[str, Any]) -> list[int]:
    """Return the photos that are shown as thumbnails."""
    kinds = record["backgrounds"]["kinds"] if record["backgrounds"] else []
    rows = [*kinds, *shown_groups(record, True), *shown_groups(record, False)]
    return [index for row in rows for index in row["typical"]]


def write_found_groups(data: AuditData, out: Path) -> int:
    """Write photos, masks, classes and kinds of background as CSV; return the number of photos with a kind.

    Kinds are numbered from 1 as on the page. Paths are relative to the folder of the list.
    """
    if data.backgrounds is None:
        raise UserError(f"expected kinds of background for {out}, found none: {data.notes[-1] if data.notes else ''}")
    rows: list[list[str]] = [list(_GROUP_COLUMNS)]
    for image, mask, name, kind in zip(data.files, data.masks, data.names, data.backgrounds.members, strict=True):
        group = "" if kind is None else f"background {kind + 1}"
        rows.append([_relative(image, out), "" if mask is None else _relative(mask, out), name, group])
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(csv_text(rows), out)
    return sum(kind is not None for kind in data.backgrounds.members)


def _relative(path: Path, out: Path) -> str:
    return Path(os.path.relpath(path.absolute(), out.absolute().parent)).as_posix()
