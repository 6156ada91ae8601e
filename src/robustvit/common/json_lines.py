"""Reading files with a JSON object in each line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.common.files import read_bytes


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield the number of each line, from 1, and its object; empty lines are skipped."""
    try:
        lines = read_bytes(path).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path} as lines of JSON in UTF-8: check the path, or write it again") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict):
            raise UserError(f'{path}, line {number}: expected a JSON object such as {{"file_name": "a.jpg"}}: fix it')
        yield number, entry
