"""What the scripts share: their parser, and the dated record with the page that they write."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from robustvit.common.files import write_json, write_text

RESULTS = Path(__file__).parent / "results"


def parser_of(doc: str | None, *, out: bool = True) -> argparse.ArgumentParser:
    """Return a parser whose help is the script's docstring, with ``--out`` unless told otherwise."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if out:
        parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the record")
    return parser


def write_dated(name: str, record: Mapping[str, Any], text: str | None = None, out: Path = RESULTS) -> Path:
    """Write a record, and a page that is also printed, under a name and the date of today; returns the record."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}-{date.today().isoformat()}.json"
    write_json(dict(record), path)
    if text is not None:
        write_text(text, path.with_suffix(".md"))
        print(text)
    return path
