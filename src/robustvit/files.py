"""Files written whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["write_json", "write_text"]


def write_text(text: str, path: str | Path) -> None:
    """Write a text file beside its place and move it there, so that a kill leaves the old one or the new one."""
    path = Path(path)
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def write_json(value: Any, path: str | Path) -> None:
    """Write a value as readable JSON, whole or not at all."""
    write_text(json.dumps(value, indent=1, ensure_ascii=False), path)
