"""The page and the record of an audit: what they say, and how the page looks in a browser and in print."""

from __future__ import annotations

import json
import re
import shutil
from importlib.resources import as_file, files

import numpy as np
import pytest

from helpers.audit_pages import Page, check_numbers
from helpers.browser import chromium, opened
from robustvit.cli import main as cli
from robustvit.data.embedded.scenes import write_split


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """The embedded model, which does look at the background, and scenes of it with one tricky name."""
    folder = tmp_path_factory.mktemp("shipped")
    with as_file(files("robustvit.data.embedded") / "model") as model:
        shutil.copytree(model, folder / "model")
    write_split(folder, 3, seed=3, part="test", correlation=0.8)
    for kind in ("images", "masks"):
        (folder / kind / "star" / "000.png").rename(folder / kind / "star" / "<b>bold & $x$.png")
    return folder


@pytest.fixture(scope="module")
def audited(shipped):
    """One run of the real command."""
    arguments = ["audit", "--model", f"local-dir:{shipped / 'model'}", "--images", str(shipped / "images")]
    arguments += ["--masks", str(shipped / "masks"), "--out", str(shipped / "out" / "audit.html")]
    arguments += ["--tries", "2", "--shifted", "5", "--worst", "4", "--device", "cpu"]
    assert cli.main(arguments) == 0
    return shipped / "out"


def test_the_command_finds_the_embedded_model_out(audited):
    record = json.loads((audited / "audit.json").read_text())
    assert record["verdict"]["model"]["reliance"] == "strong reliance"
    assert record["count"] == len(record["photos"]) == 30
    assert set(record["classes"]) == {p["class"] for p in record["photos"]}
    assert sum(len(group["photos"]) for group in record["groups"]) == 30
    assert len(record["worst"]) == 4
    assert {row["kind"] for row in record["shifts"]} == {"position", "size", "rotation"}
    assert record["settings"]["tries"] == 2
    assert "torch" in record["versions"]
    right = np.mean([photo["model"]["right"] for photo in record["photos"]])
    assert record["measures"]["ordinary"]["model"]["mean"] == pytest.approx(right)


def test_other_shortcuts_are_measured_and_shown(audited):
    record = json.loads((audited / "audit.json").read_text())
    rows = record["inserted"]["model"]
    assert {"black frame", "grey", "text 'SAMPLE'", "JPEG of quality 10"} <= {row["name"] for row in rows}
    assert all(row["change"]["low"] <= row["change"]["mean"] <= row["change"]["high"] for row in rows)
    assert record["risen"] == {}
    assert record["properties"] is None  # three photos a class
    assert record["regions"]
    assert sum(one["share"] for one in record["regions"]) <= 1
    assert all(one["shown"] for one in record["regions"])
    text = Page((audited / "audit.html").read_text()).text
    assert "Other shortcuts" in text
    assert "What it looks at beside the objects" in text
    assert all(row["name"] in text for row in rows)


def test_the_page_says_what_the_record_holds(audited):
    text = (audited / "audit.html").read_text()
    page, record = Page(text), json.loads((audited / "audit.json").read_text())
    check_numbers(page, record)
    assert all(source.startswith(("data:", "#")) for source in page.sources)
    assert page.tags.count("script") == 2  # the regions, and what saves the decisions on them
    assert "b" not in page.tags
    assert all(page.alts)
    assert page.tags.count("svg") == 4
    assert "<b>bold & $x$.png" in page.text + " ".join(page.alts)
    assert not re.search(r"url\((?!#)", text)
    for words in (record["verdict"]["model"]["sentence"], record["worst_rule"], *record["rules"]["words"].values()):
        assert words in page.text
    for name in record["measures"]:
        assert record["titles"][name] in page.text


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


def test_the_page_in_a_browser(audited, browser):
    for width in (1200, 390):
        with opened(browser, audited / "audit.html", width=width) as page:
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.locator(".verdict strong").inner_text() == "Strong reliance on the background"
            broken = "[...document.images].filter(i => !i.complete || !i.naturalWidth).length"
            page.wait_for_function(f"{broken} === 0")
            assert page.locator("figure h3").count() == 4
            assert page.locator("text=The figures").is_visible()


def test_closed_parts_are_printed(audited, browser):
    with opened(browser, audited / "audit.html") as page:
        rule = page.locator("details li").first
        assert not rule.is_visible()
        settings = page.locator("details.settings dl").first
        page.emulate_media(media="print")
        assert rule.is_visible()
        assert not settings.is_visible()
        size = "name => parseFloat(getComputedStyle(document.querySelector(name)).fontSize)"
        assert page.evaluate(size, "p.sub") < page.evaluate(
            size, "body"
        )  # notes are smaller than the text on paper too


def test_the_worst_photos_stand_in_pairs_where_there_is_room(audited, browser):
    tops = "[...document.querySelectorAll('.worst > figure')].map(one => one.getBoundingClientRect().top)"
    for width, pairs in ((1280, True), (390, False)):
        with opened(browser, audited / "audit.html", width=width) as page:
            first, second, third = page.evaluate(tops)[:3]
            assert (first == second) is pairs
            assert third > second


def test_one_class_is_shown_without_a_script(audited, browser):
    record = json.loads((audited / "audit.json").read_text())
    chosen = sorted(record["classes"])[1]
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((audited / "audit.html").as_uri())
    rows = page.locator("table.classes").first.locator("tbody tr")
    assert rows.count() == len(record["classes"])
    page.locator(f"label:has-text('{chosen}') input").first.check()
    shown = [row.inner_text() for row in rows.all() if row.is_visible()]
    assert len(shown) == 1
    assert shown[0].startswith(chosen)
    assert page.locator("figure h3:visible").count() == sum(
        record["photos"][index]["class"] == chosen for index in record["worst"]
    )
    context.close()


def test_decisions_on_regions_are_saved_from_the_page(audited, browser, tmp_path):
    from robustvit.data.region_decisions import read_decisions

    with opened(browser, audited / "audit.html") as page:
        page.locator("input[name=region1][value=drop]").check()
        with page.expect_download() as waited:
            page.locator("#save").click()
        assert waited.value.suggested_filename == "shortcuts.json"
        waited.value.save_as(tmp_path / "shortcuts.json")
    decided = read_decisions(tmp_path / "shortcuts.json")
    assert [(one.number, one.keep) for one in decided.regions] == [(1, False)]
    record = json.loads((audited / "audit.json").read_text())
    assert decided.regions[0].centre == pytest.approx(record["regions"][0]["centre"], abs=1e-5)
    assert decided.weights == record["weights"]
    assert len(decided.others) == len(record["regions"]) - 1


def test_the_first_screen_has_the_verdict_the_worst_case_and_three_numbers(audited, browser):
    record = json.loads((audited / "audit.json").read_text())
    case = record["case"]
    flipped = [one for photo in record["photos"] for one in photo["model"]["turned"] if photo["model"]["right"]]
    assert case["probability"] == max(one["probability"] for one in flipped)
    with opened(browser, audited / "audit.html", width=1280) as page:
        for place in (".verdict", ".case", ".three"):
            box = page.locator(place).first.bounding_box()
            assert box["y"] + box["height"] < 800, place
        assert page.locator(".case img").count() == 3
        assert page.locator(".three div").count() == 3
        assert case["predicted"] in page.locator(".case").inner_text()
        page.emulate_media(color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 25, 31)"
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
