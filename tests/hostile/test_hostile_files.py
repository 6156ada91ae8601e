"""The table of hostile files in the docs and the tests of them are one list."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
TABLE = HERE.parents[1] / "docs" / "reference" / "hostile-files.md"


def rows() -> list[str]:
    return re.findall(r"^\| ([a-z0-9]+(?:-[a-z0-9]+)+) \|", TABLE.read_text(encoding="utf-8"), re.MULTILINE)


def names_of_tests() -> list[str]:
    found = []
    for path in sorted(HERE.glob("test_hostile_*.py")):
        if path != Path(__file__):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found += [n.name for n in tree.body if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")]
    return [name.removeprefix("test_").replace("_", "-") for name in found]


def test_every_row_has_its_test_and_every_test_its_row():
    assert sorted(rows()) == sorted(names_of_tests())
    assert len(rows()) == len(set(rows())) >= 60


def test_every_row_says_what_comes_and_what_happens():
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            assert len(cells) in (2, 3)
            assert all(cells)


def test_the_limits_are_those_of_the_code():
    from robustvit.data.archives import ArchiveLimits
    from robustvit.data.read_photos import IMAGE_FORMATS, MAX_PIXELS

    text = TABLE.read_text(encoding="utf-8")
    limits = ArchiveLimits()
    assert f"{MAX_PIXELS:,}; looked at" in text
    assert f"{limits.files:,} photos and masks, {limits.bytes / 1e9:g} GB" in text
    assert f"{limits.ratio:,.0f} times the packed size, {limits.depth} folders deep" in text
    assert all(name in text.upper() for name in IMAGE_FORMATS)
