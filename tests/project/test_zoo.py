"""docs/reference/zoo.md and the table of README.md are those of the newest records, whatever arms and groups these
have."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest

from benchmarks.study import arms as study_arms
from benchmarks.study import docs as study_docs
from benchmarks.study import study
from benchmarks.study import table as study_table
from benchmarks.study import testbeds as study_testbeds
from benchmarks.zoo import page as zoo
from benchmarks.zoo import words as zoo_words
from robustvit.explanation.methods import RELEVANCE_METHODS
from robustvit.guidance.registry import GUIDANCE

ROOT = Path(__file__).parents[2]

AGAIN = "run python -m benchmarks.zoo.page"


def test_the_page_is_that_of_the_newest_records():
    assert (ROOT / "docs" / "reference" / "zoo.md").read_text(encoding="utf-8") == zoo.page(), AGAIN


def test_the_cost_of_a_step_is_said_once_and_from_its_records():
    costs = zoo.costs(zoo.RESULTS)
    page = " ".join((ROOT / "docs" / "explanation" / "how-it-works.md").read_text(encoding="utf-8").split())
    assert f"a first-order step took {zoo.spread(costs, 'first order')} times as long as a plain step" in page
    assert f"a second-order step {zoo.spread(costs, 'second order')} times" in page
    shown = {"how-it-works.md", "zoo.md"}
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        said = re.findall(r"step (?:took|takes|costs) [\d.]+ times", path.read_text(encoding="utf-8"))
        assert path.name in shown or not said, f"{path} should link to what a step costs"


def test_there_is_one_rate_to_start_training_attention_with():
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        text = " ".join(path.read_text(encoding="utf-8").split())
        assert set(re.findall(r"--train attention --lr (\S+?)[`. ]", text)) <= {"1e-4"}, path
        assert set(re.findall(r"rates: start at (\S+?)[,. ]", text)) <= {"1e-4"}, path


def test_the_readme_is_that_of_the_newest_record():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert zoo.readme(text) == text, AGAIN
    assert text.count("<!-- measured -->") == 1


def test_the_study_page_is_that_of_the_newest_record():
    text = (ROOT / "docs" / "explanation" / "study.md").read_text(encoding="utf-8")
    assert study_docs.filled(text) == text, "run python -m benchmarks.study.docs"


def test_every_method_has_a_row():
    assert set(zoo_words.GUIDANCE) == set(study_arms.METHODS | study_arms.LATER)
    options = " ".join(option for option, *_ in zoo_words.GUIDANCE.values())
    assert all(f"--guidance {name}" in options for name in GUIDANCE if name != "robustvit")
    assert list(zoo_words.RELEVANCE) == list(RELEVANCE_METHODS)
    assert (ROOT / "docs" / "reference" / "zoo.png").stat().st_size > 20_000


def test_every_family_was_tried():
    _, record = zoo.newest(zoo.RESULTS, "zoo_families")
    text = (ROOT / "docs" / "reference" / "models.md").read_text(encoding="utf-8")
    named = [line.split("|")[2].strip() for line in text.splitlines() if line.startswith("|")][2:]
    assert set(named) - set(record["families"]) == set(), "run python -m benchmarks.zoo.families"
    assert all(set(found) == set(RELEVANCE_METHODS) for found in record["families"].values())


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


def test_an_arm_with_some_of_its_seeds_is_run_anew(tmp_path):
    testbed = study_testbeds.Embedded(tmp_path)
    cell = study_testbeds.Cell("attention", 0, 20)
    for seeds, expected in ((list(testbed.seeds), True), (list(testbed.seeds)[:3], False), ([], False)):
        arms = {"attention": {"seeds": seeds}}
        earlier = {"testbeds": {"embedded": {"20 drawn masks a class": arms}}}
        assert study.recorded(earlier, testbed, cell) is expected
    assert not study.recorded(None, testbed, cell)


def test_a_run_is_compared_with_the_base_model_of_its_own_seed(tmp_path):
    def values(number):
        return {"ordinary": [number] * 4, "mixed-rand": [0.0, number, number, 1.0]}

    for testbed in ("embedded", "photos"):
        folder = tmp_path / testbed / "results"
        folder.mkdir(parents=True)
        (folder / "base-0.json").write_text(json.dumps(values(0.25)))
        for seed in (0, 1):
            run = {"cell": {"arm": "attention", "seed": seed, "samples": 3, "masks": "drawn"}, "options": {},
                   "seconds": {"train": 1.0}, "values": values(0.75)}  # fmt: skip
            (folder / f"attention-drawn-3-{seed}.json").write_text(json.dumps(run))
    with pytest.raises(KeyError):  # photos have a base model each
        study_table.write_tables(tmp_path, tmp_path / "out", None)
    (tmp_path / "photos/results/base-1.json").write_text(json.dumps(values(0.5)))
    study_table.write_tables(tmp_path, tmp_path / "out", None)
    record = json.loads(next((tmp_path / "out").glob("study-*.json")).read_text())["testbeds"]
    by_seed = {name: groups["3 drawn masks a class"]["attention"]["measures"]["ordinary"]["by_seed"]
               for name, groups in record.items()}  # fmt: skip
    assert by_seed == {"embedded": [50.0, 50.0], "photos": [50.0, 25.0]}
