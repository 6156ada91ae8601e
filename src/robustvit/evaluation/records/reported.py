"""Results reported by others: the paper's tables, timm's, and those of a later method."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files

from robustvit.common.errors import UserError, did_you_mean

_FOLDER = files("robustvit.evaluation.records") / "reported"


def _sort_key(name: str) -> tuple[str, int]:
    """Return a sort key that puts ``table2`` before ``table10``."""
    digits = name.removeprefix("table")
    return (name, 0) if not digits.isdigit() else ("table", int(digits))


_NAMES = [entry.name[:-5] for entry in _FOLDER.iterdir() if entry.name.endswith(".json")]
REPORTED = tuple(sorted(_NAMES, key=_sort_key))


@dataclass(frozen=True)
class Column:
    """A measure on a set, by the names in records."""

    set: str
    measure: str


@dataclass(frozen=True)
class ReportedRow:
    """Numbers reported for a model.

    Attributes:
        model: card of the paper, or the name of another model.
        method: of ``METHOD_TITLES``.
        values: in percent, one per column, None if nothing was reported.
        spread: standard deviation of each, if reported.
        part: classes covered: ``seen`` in finetuning, ``unseen``, or "" for all.
    """

    model: str
    method: str
    values: tuple[float | None, ...]
    spread: tuple[float | None, ...] = ()
    part: str = ""


@dataclass(frozen=True)
class ReportedTable:
    """A table that others published.

    The ``note`` says what a reader of the numbers must know, and what is left out. The ``changes`` are averages over
    models against the original, in points, with a title as their ``model``.
    """

    name: str
    title: str
    source: str
    note: str
    protocol: str
    columns: tuple[Column, ...]
    rows: tuple[ReportedRow, ...]
    changes: tuple[ReportedRow, ...] = ()


def reported_table(name: str) -> ReportedTable:
    """Read a reported table by name, e.g. ``table1``."""
    if name not in REPORTED:
        hint = did_you_mean(name, [*REPORTED, "all"])
        raise UserError(f"unknown table {name!r}: {hint} expected all or one of {', '.join(REPORTED)}")
    content = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    columns = tuple(Column(**column) for column in content["columns"])
    rows, changes = (
        tuple(ReportedRow(**_tuples(row)) for row in content.get(part, ())) for part in ("rows", "changes")
    )
    texts = {key: content[key] for key in ("title", "source", "note", "protocol")}
    return ReportedTable(name, **texts, columns=columns, rows=rows, changes=changes)


def _tuples(row: dict) -> dict:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
