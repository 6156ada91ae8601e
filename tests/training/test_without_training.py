"""What a run says of rivals that train nothing."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from helpers.drawn_photos import write_photos
from robustvit import finetune, report
from robustvit.common.intervals import Interval
from robustvit.common.verdict_files import Comparison
from robustvit.evaluation import rival_results
from robustvit.evaluation.rival_results import Rival, RivalResults


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tuple(map(str, write_photos(tmp_path_factory.mktemp("few"), 10)))


def finetuned(model_folder, folders, out, **options):
    images, masks = folders
    return finetune(
        model=str(model_folder), images=images, masks=masks, out=str(out), epochs=1, panels=0, swaps=1,
        backgrounds="none", **options,
    )  # fmt: skip


@pytest.mark.slow
def test_rivals_are_in_the_folder_and_in_the_report_of_a_run(model_folder, folders, tmp_path):
    finetuned(model_folder, folders, tmp_path / "run", at_inference="crop")
    record = json.loads((tmp_path / "run" / "at_inference.json").read_text())
    assert [one["name"] for one in record["rivals"]] == ["crop", "crop and photo"]
    assert {one["measure"] for one in record["rivals"][0]["comparisons"]} == {"ordinary", "mixed-other"}
    page = report(str(tmp_path / "run")).read_text()
    assert "Without training" in page
    assert "Cropped to the object: 3 forward passes a photo" in page


@pytest.mark.slow
def test_a_rival_that_wins_is_in_verdict_and_report(model_folder, folders, tmp_path, monkeypatch):
    change = Comparison("mixed-other", *[Interval(0.5, 0.4, 0.6, 30)] * 3)
    winner = "Without any training, the original cropped to the object is better."
    found = RivalResults("the original", "by its relevance", (Rival("crop", 4, (change,)),), winner)
    monkeypatch.setattr("robustvit.training.outcome.ask_about_objects", lambda *_: found)
    done = finetuned(model_folder, folders, tmp_path / "run")
    assert done.verdict.notes[-1] == winner
    assert winner in report(str(tmp_path / "run")).read_text()
    assert json.loads((tmp_path / "run" / "at_inference.json").read_text())["winner"] == winner


@pytest.mark.slow
def test_none_measures_none(model_folder, folders, tmp_path):
    finetuned(model_folder, folders, tmp_path / "run", at_inference="none")
    assert not (tmp_path / "run" / "at_inference.json").exists()
    assert "Without training" not in report(str(tmp_path / "run")).read_text()


def test_a_record_holds_every_number(tmp_path):
    change = Comparison("ordinary", *[Interval(0.5, 0.4, 0.6, 30)] * 3)
    found = RivalResults("the original", "by masks", (Rival("blur and photo", 2, (change,)),))
    rival_results.write_rivals(found, tmp_path / "rivals.json")
    record = json.loads((tmp_path / "rivals.json").read_text())
    assert record["rivals"][0]["comparisons"][0] == asdict(change)
    assert record["rivals"][0]["words"] == "with the background blurred, averaged with the whole photo"
