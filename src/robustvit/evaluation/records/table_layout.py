"""Lay out tables of results: reported numbers with measured ones beside them, or every result."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from robustvit.common.intervals import Interval
from robustvit.evaluation.records.described import METHOD_TITLES, setting_of
from robustvit.evaluation.records.record import MEASURE_TITLES, Record
from robustvit.evaluation.records.reported import Column, ReportedRow, ReportedTable
from robustvit.evaluation.records.table_content import Cell, Heading, Row, TableLayout, mark_best
from robustvit.models.recipes import CARDS, model_card

SET_TITLES: dict[str, str] = {
    "imagenet-val": "INet val",
    "imagenet-a": "INet-A",
    "imagenet-r": "INet-R",
    "imagenet-sketch": "Sketch",
    "imagenet-v2/matched-frequency": "INet-v2",
    "objectnet": "ObjectNet",
    "si-score/location": "SI-location",
    "si-score/rotation": "SI-rotation",
    "si-score/size": "SI-size",
    "imagenet-segmentation": "INet segmentation",
}
_PARTS = {"seen": "classes seen", "unseen": "other classes"}
INCOMPLETE, _OTHER = "†", "‡"
_NOTED = 4  # sets that a note lists


def lay_out_reported(reported: ReportedTable, records: Sequence[Record]) -> TableLayout:
    """Lay out a reported table with the measured results under each row."""
    notes = _Notes()
    known = {(row.model, row.method) for row in reported.rows}
    mine = [record for record in records if record.set in {column.set for column in reported.columns}]
    others = not any(row.model in CARDS for row in reported.rows)  # than the paper's models: all results are shown
    measured = [r for r in mine if (r.model.get("card"), r.model.get("method")) in known and not _describe_setting(r)]
    rows: list[Row] = []
    for row in reported.rows:
        own = [r for r in measured if (r.model["card"], r.model["method"]) == (row.model, row.method)]
        rows.append(_make_reported_row(reported, row))
        rows += _make_measured_rows(own, reported.columns, notes, row.values, row.part, reported.protocol)
    if others:
        measured = mine
        rows += _make_measured_rows(mine, reported.columns, notes)
    mark_best(rows, [column.measure for column in reported.columns])
    rows += [_make_reported_row(reported, change, signed=True) for change in reported.changes]
    said = [reported.note, *notes.lines()]
    if left := len(records) - len(measured):
        said.append(f"{left} more {'result is' if left == 1 else 'results are'} recorded: robustvit table all.")
    return TableLayout(reported.title, reported.source, list(map(_make_heading, reported.columns)), rows, said)


def _make_heading(column: Column) -> Heading:
    return Heading(SET_TITLES.get(column.set, column.set), MEASURE_TITLES.get(column.measure, column.measure))


def _with_part(method: str, part: str) -> str:
    return f"{method}, {_PARTS[part]}" if part else method


def _make_reported_row(reported: ReportedTable, row: ReportedRow, signed: bool = False) -> Row:
    spread, digits = row.spread or (None,) * len(row.values), 1 if signed else _count_digits(reported)
    pairs = zip(row.values, spread, strict=True)
    cells = [Cell(value, spread=s, signed=signed, digits=digits) for value, s in pairs]
    origin = f"reported, {reported.protocol}"
    return Row(_title_of(row.model), _with_part(METHOD_TITLES[row.method], row.part), origin, cells, part=row.part)


def _make_measured_rows(
    records: Sequence[Record],
    columns: Sequence[Column],
    notes: _Notes,
    values: Sequence[float | None] = (),
    part: str = "",
    protocol: str = "",
) -> list[Row]:
    """Return a row for each model that has at least one of the numbers, with differences from reported values."""
    rows = []
    for one in _group_models(records):
        mark = _OTHER if protocol and one[0].protocol != protocol else ""
        beside = zip(columns, values or [None] * len(columns), strict=True)
        cells = [notes.cell(_find_number(one, column, part), value, mark) for column, value in beside]
        if any(cell.value is not None for cell in cells):
            model = f"{one[0].model.get('source', '')} ({str(one[0].model['weights'])[:8]})"
            method = f"{_with_part(_describe_method(one[0]), part)}: {model}"
            title = _title_of(one[0].model.get("card"))
            rows.append(Row(title, method, f"measured, {one[0].protocol}", cells, True, part))
    return rows


def lay_out_all(records: Sequence[Record]) -> TableLayout:
    """Lay out every result: models by sets, with the headline number of each set, or all of its numbers."""
    headlines = dict.fromkeys(column for record in records for column in _list_headlines(record))
    sets = list(dict.fromkeys(column.set for column in headlines))
    columns = sorted(headlines, key=lambda column: sets.index(column.set))
    notes = _Notes()
    rows = _make_measured_rows(records, columns, notes)
    models = list(dict.fromkeys(row.model for row in rows))
    rows.sort(key=lambda row: models.index(row.model))
    mark_best(rows, [column.measure for column in columns])
    headings = [_make_heading(column) for column in columns]
    said = []
    if any(column.measure == "headline" for column in columns):
        headings = [replace(one, measure="") if one.measure == "headline" else one for one in headings]
        said = ["Each set by its headline number under the protocol."]
    return TableLayout("All results recorded", "", headings, rows, [*said, *notes.lines()])


def _title_of(model: str | None) -> str:
    """Return the readable name of a model: that of its card, if it has one."""
    return model_card(model).title if model in CARDS else model or "–"


class _Notes:
    """Marks of cells, and their notes."""

    def __init__(self) -> None:
        self._incomplete: dict[str, None] = {}
        self._other = False

    def cell(self, found: tuple[Record, Interval] | None, reported: float | None, mark: str) -> Cell:
        """Make the cell of a measured number."""
        if found is None:
            return Cell()
        record, number = found
        if not record.complete:
            title = SET_TITLES.get(record.set, record.set)
            self._incomplete[f"{title} {record.samples:,} of {record.expected:,}"] = None
        self._other = self._other or bool(mark)
        difference = None if reported is None else 100 * number.mean - reported
        marks = mark + (INCOMPLETE if not record.complete else "")
        return Cell(100 * number.mean, 100 * number.low, 100 * number.high, None, difference, marks)

    def lines(self) -> list[str]:
        """The notes."""
        said = []
        if self._incomplete:
            parts = list(self._incomplete)
            more = [f"and {len(parts) - _NOTED} more"] if len(parts) > _NOTED else []
            said.append(f"{INCOMPLETE} on a part of the images: {'; '.join([*parts[:_NOTED], *more])}.")
        if self._other:
            said.append(f"{_OTHER} measured under another protocol than the reported numbers.")
        return said


def _group_models(records: Iterable[Record]) -> list[list[Record]]:
    """Group records by weights and protocol."""
    models: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        models.setdefault((str(record.model["weights"]), record.protocol), []).append(record)
    return list(models.values())


def _find_number(records: Sequence[Record], column: Column, part: str) -> tuple[Record, Interval] | None:
    name = f"{part}_{column.measure}" if part else column.measure
    for record in records:
        if record.set == column.set and name in record.numbers and math.isfinite(record.numbers[name].mean):
            return record, record.numbers[name]
    return None


def _list_headlines(record: Record) -> list[Column]:
    names = ["headline"] if "headline" in record.numbers else list(record.numbers)
    return [Column(record.set, name) for name in names]


def _describe_method(record: Record) -> str:
    method = str(record.model.get("method"))
    name, bracket, options = method.partition(" (")
    shown = METHOD_TITLES.get(name, name) + bracket + options if name == "dfr" else METHOD_TITLES.get(method, method)
    setting = _describe_setting(record)
    return shown + (f", {setting}" if setting else "")


def _describe_setting(record: Record) -> str:
    """Return the training data of a run if it differs from the paper's tables."""
    setting = setting_of(record.model)
    return "" if setting is None or setting.usual else str(setting)


def _count_digits(reported: ReportedTable) -> int:
    """Return the number of digits that were reported."""
    values = [value for row in reported.rows for value in row.values if value is not None]
    return 1 if all(abs(10 * value - round(10 * value)) < 1e-6 for value in values) else 2
