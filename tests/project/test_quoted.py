"""What the documents quote stands in the newest record of benchmarks/quoted.py, word for word."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks import quoted

ROOT = Path(__file__).parents[2]

NEWEST = max((ROOT / "benchmarks" / "results").glob("quoted-20*.json"))


def plain(text: str) -> str:
    """Text without links and line breaks, with small numbers as people read them."""
    return " ".join(re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", text).split())


@pytest.mark.parametrize("page", list(quoted.SAID))
def test_figures_are_those_of_the_record(page):
    figures = json.loads(NEWEST.read_text(encoding="utf-8"))["figures"]
    text = plain((ROOT / page).read_text(encoding="utf-8"))
    for words in quoted.SAID[page]:
        said = re.sub(r"e-0(\d)", r"e-\1", words.format(**figures))
        assert said in text, f"{page} should say: {said}"


def test_pages_cite_the_newest_record():
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for name in re.findall(r"quoted-20[\d-]+\.json", path.read_text(encoding="utf-8")):
            assert name == NEWEST.name, path


def test_the_order_is_what_the_library_page_says():
    falls = json.loads(NEWEST.read_text(encoding="utf-8"))["figures"]["order"]
    assert all(count == falls["steps"] for count in falls["falls"]["second"].values()), "it fell at every step"
    losses = falls["losses"]["first"]["1e-05"]
    assert losses[1] < losses[0] < losses[-1], "once, and then it rose"
