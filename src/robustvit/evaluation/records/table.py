"""Tables of results: measured beside reported numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.frames import FrameRow, Tabular
from robustvit.common.options import Protocol, TableFormat

if TYPE_CHECKING:
    from robustvit.evaluation.records.record import Record
    from robustvit.evaluation.records.table_content import TableLayout

_MARK = "robustvit-table"
_TEMPLATES = {"markdown": "table.md.j2", "html": "table.html.j2", "latex": "table.tex.j2"}


class TableText(str, Tabular):
    """A table as text, with the rows and cells that it shows.

    Attributes:
        layout: title, headings, rows and notes.
    """

    layout: TableLayout

    def frame_rows(self) -> Iterator[FrameRow]:
        """A row for each row and column, in percent or points as shown."""
        for row in self.layout.rows:
            shared: dict[str, object] = {"model": row.model, "method": row.method, "origin": row.origin}
            for heading, cell in zip(self.layout.headings, row.cells, strict=True):
                number = {"value": cell.value, "low": cell.low, "high": cell.high, "spread": cell.spread}
                yield shared | {"set": heading.set, "measure": heading.measure} | number

    def as_json(self) -> Any:
        """The data behind the text, for JSON output."""
        return self.layout


def table(
    name: str,
    *,
    records: str | None = None,
    format: TableFormat = "markdown",
    out: str | None = None,
    protocol: Protocol | None = None,
) -> str | Path:
    """Render a reported table with the results recorded here beside it, or all results recorded.

    table1 to table4 and table8 to table12 are the paper's; timm and cft are those that timm and a later method
    published; all is every recorded result, models by sets. Numbers are in percent, differences in points, brackets
    95 % CIs.

    Args:
        name: of the table.
        records: folder of results that evaluate --on wrote; only the reported numbers when left out.
        format: markdown, html or latex.
        out: file to write; printed when left out.
        protocol: show only results of this protocol: paper or standard.

    Returns:
        The text, which as JSON is the table's rows and cells, or the file.

    Raises:
        UserError: no such table (the nearest is suggested), no such folder, a record that is broken.

    Example:
        robustvit table table1 --records records --format markdown
    """
    from robustvit.evaluation.records.reported import reported_table
    from robustvit.evaluation.records.table_layout import lay_out_all, lay_out_reported

    expect_one_of("--format", format, _TEMPLATES)
    reported = None if name == "all" else reported_table(name)
    if out is not None:
        _check_out(out, format)
    chosen = _read_records(records, protocol, needed=reported is None)
    layout = lay_out_all(chosen) if reported is None else lay_out_reported(reported, chosen)
    text = render_table(layout, format, "" if out is None else _MARK)
    if out is None:
        said = TableText(text.strip("\n"))
        said.layout = layout
        return said
    from robustvit.common.files import write_text

    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(text, path)
    return path


def _read_records(folder: str | None, protocol: Protocol | None, needed: bool) -> list[Record]:
    from robustvit.evaluation.records.record import read_records

    read = [] if folder is None else read_records(folder)
    chosen = [record for record in read if protocol in (None, record.protocol)]
    if needed and not chosen:
        under = f"under {protocol} " if protocol else ""
        wanted = "--records FOLDER" if folder is None else f"results {under}in {folder}"
        raise UserError(f"expected {wanted} for table all, found none: write some with robustvit evaluate --on SETS")
    return chosen


def _check_out(out: str, format: str) -> None:
    from robustvit.common.output_paths import check_own_page

    if Path(out).is_dir():
        raise UserError(f"expected a file to write as --out, {out} is a folder: name a file in it")
    check_own_page(out, _MARK, f"a table in {format}")


def render_table(layout: object, format: str, mark: str = _MARK) -> str:
    """Render a layout as text, with a mark that identifies files of this package."""
    from robustvit.common.pages import environment

    return environment(format, __package__).get_template(_TEMPLATES[format]).render(table=layout, mark=mark)
