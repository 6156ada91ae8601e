"""The report as a reader gets it: one file, everything in it, nothing from elsewhere, nothing unescaped."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
import yaml
from PIL import Image

from robustvit import UserError, report
from robustvit.common.intervals import Interval
from robustvit.common.pages import unbroken
from robustvit.common.verdict_files import Comparison, Verdict, write_verdict


class Page(HTMLParser):
    """Collects what a browser would fetch and what a reader would read."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.fetched += [v or "" for k, v in attributes if k in ("src", "href", "xlink:href")]

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def interval(mean, low, high):
    return Interval(mean, low, high, 40)


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    (folder / "panels").mkdir(parents=True)
    config = {
        "robustvit": "0.1.0",
        "model": "<script>alert(1)</script>",
        "recipe": None,
        "images": "photos & more",
        "lr": 1e-6,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "versions.json").write_text(json.dumps({"torch": "2.0", "command": ["robustvit", "finetune"]}))
    rows = [
        {
            "epoch": e,
            "train_loss": 1 / e,
            "val_loss": 1.1 / e,
            "val_accuracy": 0.8,
            "val_mixed_rand": 0.5,
            "best": e < 3,
        }
        for e in (1, 2, 3)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    comparison = Comparison(
        "mixed-rand", interval(0.5, 0.4, 0.6), interval(0.625, 0.5, 0.7), interval(0.125, 0.05, 0.2)
    )
    write_verdict(Verdict(True, "Better by <b>much</b>.", (comparison,), ("A note.",)), folder / "verdict.json")
    panels = []
    for outcome in ("corrected", "broken", "same"):
        Image.new("RGB", (20, 10), "red").save(folder / "panels" / f"{outcome}.png")
        panels.append(
            {"outcome": outcome, "index": 0, "donor": None, "file": f"{outcome}.png", "caption": f'"{outcome}"'}
        )
    (folder / "panels" / "panels.json").write_text(json.dumps(panels))
    return folder


def test_report_is_one_self_contained_file(run):
    path = report(str(run))
    assert path == run / "report.html"
    page = Page(path.read_text())
    pictures = [address for address in page.fetched if not address.startswith("#")]
    assert len(pictures) == 3
    assert all(address.startswith("data:image/png;base64,") for address in pictures)
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert not re.search(r"url\((?!#)", path.read_text())


def test_report_says_everything(run):
    page = Page(report(str(run)).read_text())
    for words in (
        "Better by <b>much</b>.",
        "A note.",
        "50.0 [40.0, 60.0]",
        "62.5",
        "+12.5 [+5.0, +20.0]",
        "n = 40",
        "Corrected",
        "Broken",
        "Right or wrong as before",
        "<script>alert(1)</script>",
        "photos & more",
        "2.0",
        "robustvit finetune",
    ):
        assert words in page.text, words
    assert page.tags.count("svg") == 2
    assert page.tags.count("figure") == 3


def test_report_is_written_anew_but_never_over_something_else(run, tmp_path):
    assert report(str(run)) == report(str(run))
    theirs = tmp_path / "thesis.html"
    theirs.write_text("<html>words</html>")
    with pytest.raises(UserError, match="not a report written by robustvit"):
        report(str(run), out=str(theirs))
    assert theirs.read_text() == "<html>words</html>"
    with pytest.raises(UserError, match="folder"):
        report(str(run), out=str(tmp_path))
    assert report(str(run), out=str(tmp_path / "new" / "r.html")).is_file()


def test_unfinished_run_and_no_run(run, tmp_path):
    (run / "verdict.json").unlink()
    with pytest.raises(UserError, match="--resume"):
        report(str(run))
    with pytest.raises(UserError, match="expected a run folder"):
        report(str(tmp_path))


def test_report_without_panels_or_curves(run):
    (run / "panels" / "panels.json").unlink()
    (run / "metrics.jsonl").unlink()
    page = Page(report(str(run)).read_text())
    assert "svg" not in page.tags
    assert "figure" not in page.tags
    assert "Better by" in page.text


def test_the_first_screen_has_badge_numbers_next_step_and_a_picture(run):
    for name in ("photo", "before", "after"):
        Image.new("RGB", (20, 10), "red").save(run / "panels" / f"{name}.jpg")
    panel = {
        "outcome": "corrected", "index": 0, "donor": 3, "file": "photo.jpg", "caption": "cat7.png: cat",
        "before": ["dog (60 %)", "before.jpg"], "after": ["cat (70 %)", "after.jpg"], "total": 11,
    }  # fmt: skip
    (run / "panels" / "panels.json").write_text(json.dumps([panel]))
    gain = Comparison("unseen", interval(0.5, 0.4, 0.6), interval(0.625, 0.5, 0.7), interval(0.125, 0.05, 0.2))
    other = Comparison("mixed-other", interval(0.5, 0.4, 0.6), interval(0.9, 0.8, 1.0), interval(0.4, 0.3, 0.5))
    trained = Verdict(None, "A sentence.", (other, gain), (), "m", "cost-open", ("mixed-other",))
    write_verdict(trained, run / "verdict.json")
    page = Page(report(str(run)).read_text())
    first = page.text.split("Before and after")[0]
    assert "Better, cost not yet bounded A sentence." in first
    assert "+12.5 points accuracy on backgrounds that no photo has (unseen): 50.0 → 62.5 %, n = 40" in first
    assert "+40.0" not in first, "what was trained on is no headline"
    assert "What to do next. Measure both models on more photos" in first
    assert "before: dog (60 %) after: cat (70 %) cat7.png: cat" in first
    assert "(1 of 11 drawn)" in page.text
    assert page.tags.count("img") == 6


def test_names_of_options_stay_on_one_line_and_text_stays_text():
    said = str(unbroken("<b> try --max-drop 2, or another --seed"))
    assert said == ("&lt;b&gt; try <span class=option>--max-drop</span> 2, or another <span class=option>--seed</span>")


def test_the_start_of_the_run_is_its_date(run):
    (run / "versions.json").write_text(json.dumps({"started": "2026-11-30T10:00:00+00:00"}))
    assert "photos & more with robustvit, 2026-11-30" in Page(report(str(run)).read_text()).text


def test_sets_are_named_with_the_number_of_their_photos_on_charts_too(run, monkeypatch):
    titles = []
    monkeypatch.setattr(
        "robustvit.sharing.report_page._draw_curve", lambda title, *_: titles.append(title) or "<svg></svg>"
    )
    assert "% of test photos" in Page(report(str(run)).read_text()).text  # of an older version, without a list
    rows = [f"{split},,0,{split}{number}.jpg" for split, count in (("train", 1), ("validation", 2), ("verdict", 3))
            for number in range(count)]  # fmt: skip
    (run / "selection.csv").write_text("\n".join(["split,class,label,image", *rows]) + "\n")
    assert "% of 3 test photos" in Page(report(str(run)).read_text()).text
    assert titles[-2:] == ["loss, 1 training photo, 2 validation photos", "accuracy on 2 validation photos, %"]
