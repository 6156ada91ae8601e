"""Tables of the pages that are made from records: docs/reference/zoo.md, README.md and docs/explanation/study.md."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def newest(results: Path, kind: str) -> tuple[Path, dict[str, Any]]:
    """The latest record of a kind, by the date in its name, and its content."""
    found = sorted(results.glob(f"{kind}-20*.json"))
    if not found:
        raise SystemExit(f"no record {kind}-DATE.json in {results}: make one first")
    return found[-1], json.loads(found[-1].read_text(encoding="utf-8"))


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def points(text: str) -> str:
    """Text with changes in points as pages show them: with minus signs, and no sign before a zero."""
    return re.sub(r"[+-]0\.0(?!\d)", "0.0", text).replace("-", "−")


def change(measures: dict[str, Any] | None, name: str) -> str:
    """A change over its interval over photos, bold where that excludes zero."""
    if measures is None or name not in measures:
        return "not run"
    low, high = measures[name]["over_photos"]
    text = f"{measures[name]['change']:+.1f}"
    shown = f"{f'**{text}**' if low > 0 or high < 0 else text}<br>[{low:+.1f}, {high:+.1f}]"
    return points(shown)
