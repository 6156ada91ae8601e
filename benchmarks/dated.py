"""What the scripts share: their parser, how they time, and the dated record with the page that they write."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
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


def command_words() -> list[str]:
    """Return the words of this command; absolute paths are shortened to their names."""
    return [Path(word).name if os.path.isabs(word) else word for word in sys.argv]


def time_by_turns(functions: Sequence[Callable[[], object]], repeats: int) -> list[tuple[float, float]]:
    """Return median seconds of each by the clock and of the processors, run by turns after one untimed run."""
    found: list[list[tuple[float, float]]] = [[] for _ in functions]
    for turn in range(repeats + 1):
        for function, times in zip(functions, found, strict=True):
            start, worked = time.perf_counter(), time.process_time()
            function()
            if turn:
                times.append((time.perf_counter() - start, time.process_time() - worked))
    return [(statistics.median(t for t, _ in times), statistics.median(w for _, w in times)) for times in found]


def write_dated(
    name: str, record: Mapping[str, Any], text: str | None = None, out: Path = RESULTS, *, compact: bool = False
) -> Path:
    """Write a record, and a page that is also printed, under a name and the date of today; returns the record.

    ``compact``: on one line, for records that would have more than a megabyte.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}-{date.today().isoformat()}.json"
    if compact:
        write_text(json.dumps(record) + "\n", path)
    else:
        write_json(dict(record), path)
    if text is not None:
        write_text(text, path.with_suffix(".md"))
        print(text)
    return path
