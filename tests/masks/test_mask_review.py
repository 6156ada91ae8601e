"""The review page as a person uses it, in a real browser where there is one, and what comes back from it."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion

from helpers.browser import chromium, opened
from helpers.drawn_photos import draw_photo
from robustvit.common.errors import UserError
from robustvit.data.manifest import MaskRecord
from robustvit.data.review import read_review
from robustvit.masks.review_page import write_review

NASTY = '=a "b", <script>alert(1)<\\script>\n&amp;é.png'


class Page(HTMLParser):
    """Tags with their attributes, and the words a reader sees."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] not in ("script", "style"):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    @property
    def pictures(self) -> list[Image.Image]:
        sources = [image["src"] or "" for image in self.all("img")]
        assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
        return [Image.open(io.BytesIO(base64.b64decode(source.split(",", 1)[1]))) for source in sources]


def add(folder: Path, name: str, verdict="good", confidence=0.9, label=0, size=48, **more) -> MaskRecord:
    photo, mask = draw_photo(np.random.default_rng(len(name)), label, size)
    image, drawn = folder / "photos" / name, folder / "masks" / name
    for picture, place in ((photo, image), (mask, drawn)):
        place.parent.mkdir(parents=True, exist_ok=True)
        picture.save(place)
    return MaskRecord(image, None if verdict == "none" else drawn, "disc", verdict, confidence, **more)


@pytest.fixture
def records(tmp_path) -> list[MaskRecord]:
    return [
        add(tmp_path, "a/1.png", confidence=0.95),
        add(tmp_path, "a/10.png", confidence=0.71),
        add(tmp_path, "a/2.png", "doubtful", 0.31, reason="the mask reaches the frame"),
        add(tmp_path, "b/1.png", "doubtful", 0.42, reason="two objects"),
        add(tmp_path, "b/2.png", "none", 0.0),
        add(tmp_path, NASTY, confidence=0.5),
    ]


@pytest.fixture
def page(records, tmp_path) -> Path:
    return write_review(records, tmp_path / "out" / "review.html", title="Cats & <dogs>")


def test_page_holds_everything_itself(page):
    text = page.read_text(encoding="utf-8")
    assert "robustvit-review" in text[:500]
    assert not re.search(r"https?://|url\(|@import|fetch\(|XMLHttp", text)
    parsed = Page(page)
    fetched = [attributes[name] for _, attributes in parsed.tags for name in ("src", "href") if name in attributes]
    assert all((address or "").startswith("data:") for address in fetched)
    assert len(parsed.all("article")) == len(parsed.all("img")) == 6
    assert parsed.all("html")[0]["lang"] == "en"
    assert all(image["alt"] and image["loading"] == "lazy" for image in parsed.all("img"))
    assert all(max(picture.size) == 360 for picture in parsed.pictures)


def test_page_says_everything_and_escapes_it(page):
    parsed = Page(page)
    for words in ("Cats & <dogs>", "two objects", "31 % sure", "doubtful", "no object found", " ".join(NASTY.split())):
        assert words in parsed.text, words
    assert len(parsed.all("script")) == 2
    assert "alert" not in page.read_text(encoding="utf-8").replace("&lt;script&gt;alert", "").replace(
        "\\u003cscript\\u003ealert", ""
    )


def test_good_starts_as_kept_and_no_mask_cannot_be_kept(page):
    boxes = [box for box in Page(page).all("input") if box["type"] == "checkbox"]
    assert ["checked" in box for box in boxes] == [False, False, False, True, True, True]  # least sure first
    assert ["disabled" in box for box in boxes] == [True, False, False, False, False, False]


@pytest.mark.parametrize("size", [(300, 200), (900, 1400)])
def test_outline_is_drawn_on_the_border_and_nowhere_else(tmp_path, size):
    inside = np.zeros(size[::-1], bool)
    inside[size[1] // 4 : size[1] // 2, size[0] // 4 : size[0] // 2] = True
    Image.new("RGB", size, (60, 90, 160)).save(tmp_path / "photo.png")
    Image.fromarray((255 * inside).astype(np.uint8)).save(tmp_path / "mask.png")
    record = MaskRecord(tmp_path / "photo.png", tmp_path / "mask.png", None, "good", 0.8)
    drawn = Page(write_review([record], tmp_path / "review.html")).pictures[0]
    assert max(drawn.size) == 360
    assert drawn.width / drawn.height == pytest.approx(size[0] / size[1], rel=0.01)
    pixels = np.asarray(drawn).astype(int)
    fitted = np.asarray(Image.fromarray(inside).resize(drawn.size))
    reach = 11  # further than the line and the 8 pixels of a JPEG block
    core, away = binary_erosion(fitted, iterations=reach), ~binary_dilation(fitted, iterations=reach)
    line = fitted & ~binary_erosion(fitted)
    assert abs(pixels[core] - (60, 90, 160)).max() < 12
    assert abs(pixels[away] - (122, 67, 152)).max() < 30, "tinted; JPEG rings beside a line of that contrast"
    assert abs(pixels[away] - (122, 67, 152)).mean() < 2
    red, green, blue = np.median(pixels[line], axis=0)
    assert min(red, green) > 200 > 100 > blue
    assert pixels[binary_dilation(fitted, iterations=3)].sum(axis=1).min() < 60  # its dark edge


def test_what_cannot_be_read_is_a_card_with_the_reason(tmp_path, records):
    records[0].image.write_bytes(b"no photo")
    records[1].image.unlink()
    (tmp_path / "masks" / "a" / "2.png").unlink()
    Image.new("L", (48, 48)).save(tmp_path / "masks" / "b" / "1.png")
    parsed = Page(write_review(records, tmp_path / "review.html"))
    for words in ("it is not an image", "expected an image at", "empty mask", "expected an image at"):
        assert words in parsed.text
    assert [("disabled" in box) for box in parsed.all("input")] == [True, True, True, False, True, True]
    assert len(parsed.all("img")) == 4


def test_last_record_of_a_photo_counts_and_odd_numbers_do_no_harm(tmp_path):
    first, second = add(tmp_path, "a.png"), add(tmp_path, "a.png", "doubtful", float("nan"))
    text = write_review([first, second], tmp_path / "review.html").read_text(encoding="utf-8")
    assert text.count("<article") == 1
    assert '"confidence": 0.0, "image": "photos/a.png", "verdict": "doubtful"' in text


def test_page_replaces_only_a_page_of_ours(records, page, tmp_path):
    before = page.read_text(encoding="utf-8")
    write_review(records[:2], page)
    assert page.read_text(encoding="utf-8") != before
    theirs = tmp_path / "thesis.html"
    theirs.write_text("<html>words</html>")
    with pytest.raises(UserError, match="is not a review page written by robustvit"):
        write_review(records, theirs)
    assert theirs.read_text() == "<html>words</html>"
    with pytest.raises(UserError, match="is a folder"):
        write_review(records, tmp_path)
    with pytest.raises(UserError, match="at least one photo"):
        write_review([], page)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (b"image,decision\n", "found none"),
        (b"image,verdict\na.png,good\n", "expected the columns"),
        (b'image,decision\n"a\nb.png",keep\nc.png,maybe\n', "line 4: .*'maybe'"),
        (b"image,decision\na.png\n", "line 2: expected an image and keep or drop"),
        (b"image,decision\n,keep\n", "line 2: expected an image and keep or drop"),
        (b"image,decision\na.png,keep\n./a.png,drop\n", "line 3: expected one decision"),
        ("image,decision\né.png,keep\n".encode("latin-1"), "UTF-8"),
        (b"image,decision\n" + b"a" * 200_000 + b",keep\n", "as CSV"),
    ],
)
def test_review_that_cannot_be_used(tmp_path, content, message):
    (tmp_path / "review.csv").write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read_review(tmp_path / "review.csv")
    assert "\n" not in str(error.value)


def test_no_review_there(tmp_path):
    with pytest.raises(UserError, match="found none at"):
        read_review(tmp_path / "review.csv")
    with pytest.raises(UserError, match="cannot read"):
        read_review(tmp_path)


def review(folder: Path, *rows: str):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "review.csv").write_text("\ufeffimage,decision\n" + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return read_review(folder / "review.csv")


def test_decisions_beside_their_photos(tmp_path, records):
    read = review(tmp_path / "out", "../photos/a/1.png,Keep", "../photos/b/1.png,drop", f"{records[1].image},keep")
    assert read.decisions["../photos/b/1.png"] is False
    assert [read.keeps(record.image) for record in records] == [True, True, None, False, None, None]
    assert read.keeps(str(tmp_path / "out" / ".." / "photos" / "a" / "1.png")) is True
    assert read.keeps("/elsewhere/a/1.png") is None  # the decision is for the photo it leads to


def test_decisions_away_from_their_photos(tmp_path):
    read = review(tmp_path, "../photos/a/1.png,keep", "../photos/b/1.png,drop", "old/photos/a/1.png,drop", "x.png,keep")
    assert read.keeps("/data/photos/a/1.png") is True
    assert read.keeps("/data/old/photos/a/1.png") is False
    assert read.keeps("/data/copies/b/1.png") is False
    assert read.keeps("/data/photos/c/1.png") is None  # the name alone says nothing
    assert read.keeps("/data/x.png") is True
    with pytest.raises(UserError, match=r"both '\.\./photos/a/1\.png' and 'old/photos/a/1\.png' fit"):
        read.keeps("/data/copies/a/1.png")


def test_decisions_on_training_photos_are_not_for_test_photos(tmp_path):
    """The same class and name, in another folder; held-out photos need the whole path."""
    read = review(tmp_path / "downloads", "../photos/train/cat/1.jpg,drop")
    train, test = (tmp_path / "photos" / part / "cat" / "1.jpg" for part in ("train", "test"))
    assert read.keeps(train) is read.keeps(test) is False, "by name and folder"
    whole = replace(read, by_tail=False)
    assert (whole.keeps(train), whole.keeps(test)) == (False, None)


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def view(browser, page):
    with opened(browser, page) as shown:
        yield shown


def names(view) -> list[str]:
    return view.eval_on_selector_all(".card:not([hidden]) h2", "all => all.map(x => x.textContent)")


def counts(view) -> str:
    return view.inner_text("#counts")


def test_sorting_and_filtering(view):
    assert names(view) == ["2.png", "2.png", "1.png", NASTY, "10.png", "1.png"]
    view.select_option("#order", "sure")
    assert names(view) == ["1.png", "10.png", NASTY, "1.png", "2.png", "2.png"]
    view.select_option("#order", "name")
    assert [name for name in names(view) if name != NASTY] == ["1.png", "2.png", "10.png", "1.png", "2.png"]
    view.select_option("#filter", "doubtful")
    assert names(view) == ["2.png", "1.png"]
    assert counts(view) == "kept 3 of 6, 2 shown"
    view.select_option("#filter", "none")
    assert len(names(view)) == 1


def test_pictures_show(view):
    view.wait_for_function("[...document.images].every(image => image.complete)")
    assert view.evaluate("[...document.images].every(i => Math.max(i.naturalWidth, i.naturalHeight) === 360)")


def test_toggling_by_mouse_and_keyboard(view):
    assert counts(view) == "kept 3 of 6"
    box = view.locator(".card input").nth(1)
    box.check()
    assert counts(view) == "kept 4 of 6"
    view.locator("label.picture").nth(1).click()
    assert counts(view) == "kept 3 of 6"
    view.locator(".card").nth(1).focus()
    view.keyboard.press("Space")
    assert counts(view) == "kept 4 of 6"
    view.keyboard.press("ArrowRight")
    view.keyboard.press("Space")
    assert counts(view) == "kept 5 of 6"
    assert view.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    view.locator(".card").nth(0).focus()
    view.keyboard.press("Space")  # no mask: cannot be kept
    assert counts(view) == "kept 5 of 6"


def test_all_shown_and_start_again(view):
    asked = []
    view.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.accept()))
    view.click("#keep")
    assert counts(view) == "kept 5 of 6"
    view.select_option("#filter", "good")
    view.click("#drop")
    assert counts(view) == "kept 2 of 6, 3 shown"
    assert asked == ["Drop 3 kept photos? Decisions made one by one are lost."]
    view.click("#again")
    assert counts(view) == "kept 3 of 6, 3 shown"
    view.reload()
    assert counts(view) == "kept 3 of 6"


def test_nothing_is_dropped_before_that_is_confirmed(view):
    view.on("dialog", lambda dialog: dialog.dismiss())
    view.click("#drop")
    assert counts(view) == "kept 3 of 6"


def test_saved_file_is_read_with_the_decisions_made(view, records, page, tmp_path):
    view.locator(".card", has_text="two objects").locator("input").check()
    view.locator(".card", has_text="alert").locator("input").uncheck()
    for folder in (page.parent, tmp_path / "downloads" / "of" / "mine"):
        with view.expect_download() as download:
            view.click("#save")
        assert download.value.suggested_filename == "review.csv"
        download.value.save_as(folder / "review.csv")
        read = read_review(folder / "review.csv")
        assert f"../photos/{NASTY}" in read.decisions
        assert [read.keeps(record.image) for record in records] == [True, True, False, True, False, False]


def test_decisions_survive_a_reload_but_not_other_masks(view, records, page):
    view.locator(".card", has_text="two objects").locator("input").check()
    view.locator(".card", has_text="alert").locator("input").uncheck()
    view.select_option("#order", "sure")
    view.reload()
    assert view.locator(".card", has_text="two objects").locator("input").is_checked()
    assert not view.locator(".card", has_text="alert").locator("input").is_checked()
    assert view.is_hidden("#forgetful")
    write_review(records[1:], page)
    view.reload()
    assert counts(view) == "kept 2 of 5"
    assert not view.locator(".card", has_text="two objects").locator("input").is_checked()


def test_browser_that_keeps_nothing(browser, page):
    with opened(browser, page) as view:
        view.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new Error('no'); }})")
        view.reload()
        assert view.is_visible("#forgetful")
        view.on("dialog", lambda dialog: dialog.accept())
        view.click("#drop")
        assert counts(view) == "kept 0 of 6"


@pytest.mark.slow
def test_phone(browser, tmp_path):
    long = add(tmp_path, "w" * 200 + ".png", "doubtful", reason="r" * 300)
    page = write_review([long, add(tmp_path, "b.png", "none")], tmp_path / "review.html", title="t" * 100)
    with opened(browser, page, width=390, height=844) as view:
        assert view.evaluate("document.documentElement.scrollWidth") <= 390
        assert view.locator(".card").first.bounding_box()["width"] > 300
