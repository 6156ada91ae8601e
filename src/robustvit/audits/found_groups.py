"""The kinds of background that an audit found, written as groups of a list of photos, to train and evaluate with."""

from __future__ import annotations

import os
from pathlib import Path

from robustvit.audits.audit_data import AuditData
from robustvit.common.csv_files import csv_text
from robustvit.common.errors import UserError
from robustvit.common.files import write_text

COLUMNS = ("image", "mask", "label", "group")


def write_found_groups(data: AuditData, out: Path) -> int:
    """Write photos, masks, classes and kinds of background as CSV, numbered from 1 as on the page.

    Paths are relative to the folder of the list. Photos without a background have no group.

    Returns:
        The number of photos that have a group.
    """
    if data.backgrounds is None:
        raise UserError(f"expected kinds of background for {out}, found none: {data.notes[-1] if data.notes else ''}")
    rows: list[list[str]] = [list(COLUMNS)]
    for image, mask, name, kind in zip(data.files, data.masks, data.names, data.backgrounds.members, strict=True):
        group = "" if kind is None else f"background {kind + 1}"
        rows.append([_place(image, out), "" if mask is None else _place(mask, out), name, group])
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(csv_text(rows), out)
    return sum(kind is not None for kind in data.backgrounds.members)


def _place(path: Path, out: Path) -> str:
    return Path(os.path.relpath(path.absolute(), out.absolute().parent)).as_posix()
