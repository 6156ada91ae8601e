"""The app as a visitor sees it, in the system's Chromium: with a mouse, with a keyboard, on a phone."""

from __future__ import annotations

import os
import re
import time
import zipfile
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio")

from helpers.app_server import running
from helpers.browser import chromium
from helpers.hostile import png
from robustvit.data.embedded.scenes import CLASSES, make_scene

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.app
WAIT = 600_000  # milliseconds; a page under work on a busy machine
# Ends once the page has not changed for thirty frames, which come the slower the busier the machine is.
STILL = """() => new Promise(done => {
  let old = "", frames = 0;
  const look = () => {
    const now = document.documentElement.outerHTML;
    frames = now === old ? frames + 1 : 0;
    old = now;
    frames < 30 ? requestAnimationFrame(look) : done(true);
  };
  look();
})"""
SCREENSHOTS = os.environ.get("ROBUSTVIT_SCREENSHOTS")  # a folder to look at them in


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if running_already := os.environ.get("ROBUSTVIT_APP_URL"):
        yield SimpleNamespace(url=running_already)
        return
    with running(tmp_path_factory.mktemp("models")) as started:
        yield started


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(params=[(1280, 900)])
def page(server, browser, request):
    """The app opened, with its first answers; nothing may have been asked of elsewhere, and no script may fail."""
    width, height = request.param
    context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
    opened = context.new_page()
    errors, asked = [], []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("request", lambda one: asked.append(one.url))
    opened.set_default_timeout(WAIT)
    opened.goto(server.url)
    opened.locator("#rv-answers img").first.wait_for()
    yield opened
    if SCREENSHOTS:
        opened.evaluate(STILL)
        name = re.sub(r"\W+", "-", request.node.name)
        opened.screenshot(path=Path(SCREENSHOTS) / f"{name}-{width}.png", full_page=True)
    context.close()
    assert not errors
    assert not [url for url in asked if not url.startswith((server.url, "data:", "blob:"))]


def answer_of(page) -> str:
    return page.locator("#rv-answers").inner_text()


def changed(page, old: str) -> str:
    """The next answer, once Gradio's word about its progress is gone."""
    answered = "old => { const now = document.querySelector('#rv-answers').innerText;" + (
        " return now !== old && !/processing|queue|\\d+\\.\\ds/.test(now.split('Bright')[0]); }"
    )
    page.wait_for_function(answered, arg=old)
    return answer_of(page)


def scene_file(folder: Path, label: int = 2) -> Path:
    path = folder / "scene.png"
    Image.fromarray(make_scene(label, 7, np.random.default_rng(3)).image).save(path)
    return path


NAMELESS = """
() => [...document.querySelectorAll("input, select, textarea, button, [role=button], canvas ~ button")]
  .filter(one => one.checkVisibility() && one.type !== "hidden")
  .filter(one => !(one.getAttribute("aria-label") || one.getAttribute("aria-labelledby") || one.title ||
                   one.innerText.trim() || [...(one.labels || [])].some(label => label.innerText.trim())))
  .map(one => one.outerHTML.slice(0, 200))
"""


@pytest.mark.parametrize("page", [(1280, 900), (390, 844)], indirect=True)
def test_page_fits_and_has_names_for_everything(page):
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.title() == "RobustViT: where does the model look?"
    levels = [int(one.evaluate("e => e.tagName[1]")) for one in page.get_by_role("heading").all()]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(new <= old + 1 for old, new in pairwise(levels)), levels
    page.get_by_role("radio", name="drawn with the brush").check()
    page.get_by_role("button", name="Brush", exact=True).wait_for()
    page.evaluate(STILL)
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate("[...document.images].filter(one => one.checkVisibility() && !one.alt).length") == 0
    for group in ("Or choose an example", "Mask"):
        assert page.get_by_role("group", name=group, exact=True).count() == 1
    for label in ("Class to explain", "Relevance method", "Background"):
        assert page.get_by_role("combobox", name=label).count() == 1
    assert page.get_by_role("slider", name=re.compile("Opacity")).count() == 1
    assert page.get_by_role("table", name="Most likely classes").count() >= 1
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("tab", name="Audit of a folder").click()
    page.get_by_role("button", name="Start the audit").wait_for()
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("tab", name="One photo").click()


def test_upload_class_method_and_opacity(page, tmp_path):
    old = answer_of(page)
    page.locator("#rv-photo input[type=file]").set_input_files(scene_file(tmp_path))
    old = changed(page, old)
    assert page.get_by_role("radio", name=re.compile("on another background"), checked=True).count() == 0
    page.get_by_role("combobox", name="Class to explain").click()
    page.get_by_role("option", name="umbrella").click()
    now = changed(page, old)
    assert "umbrella" in re.findall(r"Bright: relevant for (\w+)", now)
    picture = page.locator("#rv-answers img").first.get_attribute("src")
    page.get_by_role("combobox", name="Relevance method").click()
    page.get_by_role("option", name="attention rollout").click()
    different = "old => document.querySelector('#rv-answers img').src !== old"
    page.wait_for_function(different, arg=picture)
    picture = page.locator("#rv-answers img").first.get_attribute("src")
    page.get_by_role("spinbutton", name=re.compile("Opacity")).fill("10")
    page.keyboard.press("Tab")
    page.wait_for_function(different, arg=picture)


def draw_stroke(page, canvas) -> None:
    """Draw with the mouse over the middle of the editor."""
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 40, y)
    page.mouse.down()
    for step in range(-40, 41, 8):
        page.mouse.move(x + step, y + step / 2)
    page.mouse.up()


def test_brush_swap_and_panel(page, tmp_path):
    page.get_by_role("radio", name="drawn with the brush").check()
    canvas = page.locator("#rv-brush canvas").first
    canvas.wait_for()
    page.evaluate(STILL)
    canvas.scroll_into_view_if_needed()
    page.get_by_role("button", name="Swap the background").click()
    page.get_by_role("alert").get_by_text("the drawing is empty").wait_for()
    swapped = page.locator("#rv-swapped")
    mask = swapped.get_by_role("img", name=re.compile("^Mask"))
    end = time.monotonic() + WAIT / 1000
    while not mask.count() and time.monotonic() < end:  # nothing tells when the editor has its photo and takes strokes
        draw_stroke(page, canvas)
        page.get_by_role("button", name="Swap the background").click()
        with suppress(playwright.TimeoutError):
            mask.wait_for(timeout=10_000)
    assert re.search(r"Still|Changed from", swapped.inner_text())
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download the panel").click()
    assert waiting.value.suggested_filename.endswith(".png")
    place = tmp_path / "panel.png"
    waiting.value.save_as(place)
    with Image.open(place) as panel:
        panel.load()
        assert panel.height > 500  # two rows: the photo, and the other background
    if SCREENSHOTS:
        waiting.value.save_as(Path(SCREENSHOTS) / "panel.png")


@pytest.mark.parametrize("page", [(390, 844)], indirect=True)
def test_own_mask_and_tokencut(page):
    old = ""
    for source in ("the example's mask", "found by TokenCut"):
        page.get_by_role("radio", name=source).check()
        page.get_by_role("button", name="Swap the background").click()
        mask = "document.querySelector('#rv-swapped img[alt^=Mask]')?.src"
        page.wait_for_function(f"old => ![undefined, old].includes({mask})", arg=old)
        old = page.evaluate(mask)


def test_files_that_cannot_be_used_are_explained(page, tmp_path):
    photo = page.locator("#rv-photo input[type=file]")
    (tmp_path / "letter.png").write_text("Dear all")
    photo.set_input_files(tmp_path / "letter.png")
    page.get_by_role("alert").get_by_text("letter.png is not an image").wait_for()
    assert page.locator("#rv-answers img").count() == 0  # no answer to another photo is left
    assert page.locator("#rv-photo").get_by_role("button", name="Remove Image").count() == 1
    png(tmp_path / "huge.png", 30_000, 30_000)
    page.locator("#rv-photo input[type=file]").set_input_files(tmp_path / "huge.png")
    page.get_by_role("alert").get_by_text("huge.png has too many pixels").wait_for()
    (tmp_path / "words.txt").write_text("Dear all")
    page.locator("#rv-photo input[type=file]").set_input_files(tmp_path / "words.txt")
    page.get_by_text(re.compile("words.txt is not an image|Invalid file type")).first.wait_for()
    old = answer_of(page)
    page.get_by_role("radio", name=re.compile("airplane on its usual")).check()  # and it goes on
    changed(page, old)


def test_keyboard_alone(page):
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.closest('[id^=rv-]')?.id || document.activeElement.role"))
    wanted = {"rv-photo", "rv-example", "rv-class", "rv-method", "rv-opacity", "rv-mask", "rv-background", "rv-swap",
              "rv-panel", "tab"}  # fmt: skip
    assert wanted <= reached
    old = answer_of(page)
    page.get_by_role("radio", name=re.compile("anchor on its usual")).focus()
    page.keyboard.press("Space")
    changed(page, old)
    page.get_by_role("button", name="Swap the background").focus()
    page.keyboard.press("Enter")
    page.locator("#rv-swapped img").first.wait_for()
    page.get_by_role("tab", name="Audit of a folder").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Start the audit").wait_for()


def test_audit_of_a_zipped_folder(page, tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for number in range(24):
            label = number % 4
            scene = make_scene(label, label, np.random.default_rng([9, number]), part="test")
            for kind, pixels in (("images", scene.image), ("masks", scene.mask)):
                Image.fromarray(pixels).save(tmp_path / "x.png")
                archive.write(tmp_path / "x.png", f"set/{kind}/{CLASSES[label]}/{number:03d}.png")
    page.get_by_role("tab", name="Audit of a folder").click()
    page.get_by_role("button", name="Start the audit").click()
    page.get_by_text("expected a zip file of photos").wait_for()
    page.locator("#rv-archive input[type=file]").set_input_files(tmp_path / "photos.zip")
    page.locator("#rv-archive").get_by_text("photos").wait_for()
    page.get_by_role("button", name="Start the audit").click()
    page.locator("#rv-audit-result .progress-text, #rv-audit-result .progress-level").first.wait_for()
    page.locator("#rv-audit-result h3").wait_for(timeout=WAIT)
    said = page.locator("#rv-audit-result").inner_text()
    assert re.search(r"(No sign|Some|Strong reliance|Cannot tell)", said)
    assert "/tmp" not in said
    with page.expect_download() as waiting:
        page.locator("#rv-audit-page a[download]").first.click()
    text = Path(waiting.value.path()).read_text(encoding="utf-8")
    assert "robustvit-audit" in text[:500]
    assert str(tmp_path) not in text


def test_archive_that_is_none_is_explained(page, tmp_path):
    (tmp_path / "photos.zip").write_text("not a zip")
    page.get_by_role("tab", name="Audit of a folder").click()
    page.locator("#rv-archive input[type=file]").set_input_files(tmp_path / "photos.zip")
    page.locator("#rv-archive").get_by_text("photos").wait_for()
    page.get_by_role("button", name="Start the audit").click()
    page.get_by_text(re.compile("photos.zip.*zip")).first.wait_for()
