"""docs/zoo.md and the table of README.md are those of the newest records, whatever arms and groups these have."""

from __future__ import annotations

import copy
import json
import re
import sys
from pathlib import Path

import pytest

from robustvit.guidance import GUIDANCE
from robustvit.methods import METHODS

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import study_arms  # noqa: E402
import study_docs  # noqa: E402
import zoo  # noqa: E402
import zoo_words  # noqa: E402

AGAIN = "run python benchmarks/zoo.py"


def test_the_page_is_that_of_the_newest_records():
    assert (ROOT / "docs" / "zoo.md").read_text(encoding="utf-8") == zoo.page(), AGAIN


def test_the_readme_is_that_of_the_newest_record():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert zoo.readme(text) == text, AGAIN
    assert text.count("<!-- measured -->") == 1


def test_the_study_page_is_that_of_the_newest_record():
    text = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
    assert study_docs.filled(text) == text, "run python benchmarks/study_docs.py"


def test_every_method_has_a_row():
    assert set(zoo_words.GUIDANCE) == set(study_arms.METHODS)
    options = " ".join(option for option, *_ in zoo_words.GUIDANCE.values())
    assert all(f"--guidance {name}" in options for name in GUIDANCE if name != "robustvit")
    assert list(zoo_words.RELEVANCE) == list(METHODS)
    assert (ROOT / "docs" / "zoo.png").stat().st_size > 20_000


def test_every_family_was_tried():
    _, record = zoo.newest(zoo.RESULTS, "zoo_families")
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    named = [line.split("|")[2].strip() for line in text.splitlines() if line.startswith("|")][2:]
    assert set(named) - set(record["families"]) == set(), "run python benchmarks/zoo_families.py"
    assert all(set(found) == set(METHODS) for found in record["families"].values())


@pytest.fixture
def results(tmp_path) -> Path:
    """Records as they are, with a newer study that has another group, another arm, and lacks a testbed's arm."""
    for kind in ("zoo_families", "zoo_faithfulness", "study"):
        path, record = zoo.newest(zoo.RESULTS, kind)
        (tmp_path / path.name).write_text(json.dumps(record))
    for path in zoo.RESULTS.glob("step-*.json"):
        (tmp_path / path.name).write_text(path.read_text())
    study = copy.deepcopy(record)
    for testbed, groups in study["testbeds"].items():
        first = max(groups.values(), key=len)
        first["attention at 0.0003"] = copy.deepcopy(first["attention"])
        first["an arm of tomorrow"] = copy.deepcopy(first["attention"])
        groups["3 drawn masks a class"] = {"attention": first["attention"]}
        if testbed == "photos":
            for arms in groups.values():
                arms.pop("gradmask", None)
    (tmp_path / "study-2099-01-01.json").write_text(json.dumps(study))
    return tmp_path


def test_other_arms_and_groups_are_shown(results):
    text = zoo.page(results=results)
    assert "study-2099-01-01.md" in text
    assert "*3 drawn masks a class*" in text
    assert "| an arm of tomorrow | " in text
    assert "at 0.0003" in text
    assert "not run" in text
    for line in text.splitlines():
        assert not re.search(r"\bnan\b|None\b.*\|", line)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(rows) > 60
    for block in blocks:
        assert len({line.count("|") for line in block.splitlines()}) == 1, "as many cells in every row"


def test_missing_records_are_named(tmp_path):
    with pytest.raises(SystemExit, match="no record study-DATE"):
        zoo.page(results=tmp_path)
