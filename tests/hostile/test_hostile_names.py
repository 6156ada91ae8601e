"""Names of files and classes that are made to harm, and links; a test for each row of
docs/reference/hostile-files.md."""

from __future__ import annotations

import csv
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.drawn_photos import draw_photo
from helpers.hostile import Evil, said
from helpers.records import make_record
from helpers.small_models import tiny_network
from robustvit import finetune, report
from robustvit.cli.main import main
from robustvit.common.files import write_text
from robustvit.common.intervals import Interval
from robustvit.data.find_photos import find_photos
from robustvit.data.manifest import MaskRecord, append_record, read_manifest
from robustvit.data.placed_photos import place_folder
from robustvit.evaluation.records.record import write_record
from robustvit.masks.review_page import write_review
from robustvit.models.classifier import Classifier
from robustvit.models.save import save_model

NAMES = ("<script>alert(1)<\\script>", "a\nb\"'&amp;<img src=x onerror=alert(1)>", "a..%2f{{7*7}}${x}")


class Page(HTMLParser):
    """Tags of a page, their attributes, and its text without scripts and styles."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.events: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.events += [f"{tag} {name}" for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data):
        if self.tags and self.tags[-1] not in ("script", "style"):
            self.text += data

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


def check_page(path: Path, plain: Path) -> None:
    """Names stand on a page as text: its tags are those of the same page with plain names."""
    page, other = Page(path), Page(plain)
    assert page.tags.count("script") == other.tags.count("script")
    assert page.events == other.events
    assert "alert(1)" in page.words
    assert "{{7*7}}" in page.text or "7*7" not in page.text, "names are no templates"
    assert "%2f49" not in page.text


@pytest.fixture(scope="module")
def worlds(tmp_path_factory) -> dict[str, Path]:
    """The same photos, masks and model under nasty and under plain names, with a finished run."""
    found = {}
    for kind, names in (("nasty", NAMES), ("plain", ("one", "two", "three"))):
        root = tmp_path_factory.mktemp(kind)
        rng = np.random.default_rng(0)
        for label, name in enumerate(names):
            for number in range(4):
                photo, mask = draw_photo(rng, label)
                for what, image in (("images", photo), ("masks", mask)):
                    (root / what / name).mkdir(parents=True, exist_ok=True)
                    image.save(root / what / name / f"{names[number % 3]} {number}.png")
        save_model(Classifier(tiny_network(), class_names=names), root / "model")
        finetune(
            model=str(root / "model"), images=str(root / "images"), masks=str(root / "masks"), out=str(root / "run"),
            epochs=2, tracker="none", samples_per_class=2, swaps=1, panels=1,
        )  # fmt: skip
        found[kind] = root
    return found


def test_name_in_selection_and_metrics(worlds):
    with (worlds["nasty"] / "run" / "selection.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["class"] for row in rows} == set(NAMES)
    assert all(Path(row["image"]).is_file() for row in rows)


def test_name_on_the_report(worlds, tmp_path):
    for kind, root in worlds.items():
        shutil.copytree(root / "run", tmp_path / kind)
        report(str(tmp_path / kind), out=str(tmp_path / f"{kind}.html"))
    check_page(tmp_path / "nasty.html", tmp_path / "plain.html")


def test_name_in_settings_on_the_report(worlds, tmp_path):
    shutil.copytree(worlds["plain"] / "run", tmp_path / "run")
    report(str(tmp_path / "run"), out=str(tmp_path / "plain.html"))
    settings = tmp_path / "run" / "config.yaml"
    nasty = "<script>alert(1)</script>"
    settings.write_text(settings.read_text() + f"class_names: {nasty}\n'{nasty}': 3\n")
    versions = tmp_path / "run" / "versions.json"
    versions.write_text(json.dumps(json.loads(versions.read_text()) | {"torch": nasty}))
    verdict = tmp_path / "run" / "verdict.json"
    verdict.write_text(json.dumps(json.loads(verdict.read_text()) | {"sentence": nasty}))
    report(str(tmp_path / "run"), out=str(tmp_path / "nasty.html"))
    check_page(tmp_path / "nasty.html", tmp_path / "plain.html")


def test_name_on_the_audit(worlds, tmp_path, capsys):
    for kind, root in worlds.items():
        words = ["audit", "--model", root / "model", "--images", root / "images", "--masks", root / "masks"]
        words += ["--swaps", "1", "--tries", "1", "--shifted", "2"]
        code = main([str(word) for word in [*words, "--out", tmp_path / f"{kind}.html"]])
        assert code in (0, 1), capsys.readouterr().err
    check_page(tmp_path / "nasty.html", tmp_path / "plain.html")


def test_name_on_the_classes_page(worlds, tmp_path, capsys):
    for kind, root in worlds.items():
        words = ["classes", "--model", root / "run", "--baseline", "original", "--images", root / "images"]
        code = main([str(word) for word in [*words, "--out", tmp_path / f"{kind}.html"]])
        assert code == 0, capsys.readouterr().err
    check_page(tmp_path / "nasty.html", tmp_path / "plain.html")


def test_name_on_the_review_page_and_back(worlds, tmp_path):
    for kind, root in worlds.items():
        photos = find_photos(root / "images", root / "masks")
        records = [MaskRecord(photo.image, photo.mask, photo.class_name, "good", 0.5) for photo in photos]
        write_review(records, tmp_path / f"{kind}.html", title=photos[0].class_name)
        for record in records:
            append_record(record, tmp_path / f"{kind}.csv")
        back = read_manifest(tmp_path / f"{kind}.csv")
        assert [one.image.resolve() for one in back] == [one.image for one in records]
        assert [one.label for one in back] == [one.label for one in records]
    check_page(tmp_path / "nasty.html", tmp_path / "plain.html")


def test_name_of_the_model_on_the_table(worlds, tmp_path, capsys):
    source = worlds["plain"]
    record = make_record(weights="f" * 64, method="robustvit", numbers={"top1": Interval(0.2, 0.1, 0.3, 7500)})
    record.model["source"] = f"{NAMES[1]}<script>alert(1)"
    write_record(record, tmp_path)
    for form in ("html", "markdown", "latex"):
        out = tmp_path / f"t.{form}"
        assert main(["table", "table1", "--records", str(tmp_path), "--format", form, "--out", str(out)]) == 0
        assert "a b" in " ".join(out.read_text().split())
        assert form == "html" or "a\nb" not in out.read_text(), "a row is one line"
    page = Page(tmp_path / "t.html")
    assert "script" not in page.tags
    assert not page.events
    assert "alert(1)" in page.words
    assert "<script" not in (tmp_path / "t.markdown").read_text()
    assert "\nb" not in said(capsys, "evaluate", "--model", "a\nb<script>", "--images", source / "images")


def test_name_that_is_not_utf8(tmp_path, model_folder, photos, capsys):
    place = tmp_path / "images"
    shutil.copytree(photos[0], place)
    photo = next((place / "disc").iterdir())
    photo.rename(bytes(photo.parent).decode() + "/a\udcff.png")
    code = main(["evaluate", "--model", str(model_folder), "--images", str(place)])
    assert code == 0, capsys.readouterr().err


def test_name_of_255_bytes(tmp_path, model_folder, photos, capsys):
    """Beside such a name there is no room for the endings of files that are not yet whole."""
    shutil.copytree(photos[0] / "disc", tmp_path / "images" / "disc")
    photo = next((tmp_path / "images" / "disc").iterdir())
    photo.rename(photo.with_name("x" * 251 + ".png"))
    words = [
        "masks",
        tmp_path / "images",
        "--out",
        tmp_path / "masks",
        "--method",
        "relevance",
        "--model",
        model_folder,
    ]
    assert main([str(word) for word in words]) == 0, capsys.readouterr().err
    (record,) = [one for one in read_manifest(tmp_path / "masks" / "manifest.csv") if one.image.stem == "x" * 251]
    assert record.mask is None or record.mask.is_file()
    write_text("mine", tmp_path / ("é" * 127))
    assert (tmp_path / ("é" * 127)).read_text() == "mine"
    assert not list(tmp_path.rglob(".*.new"))


def test_name_longer_than_any(tmp_path, capsys, model_folder):
    said(capsys, "explain", "--model", model_folder, tmp_path / ("x" * 5000), "--out", tmp_path / "o")


def test_name_with_a_null(tmp_path, capsys, model_folder):
    said(capsys, "explain", "--model", model_folder, "a\0b.png", "--out", tmp_path / "o")


def linked(photos, folder: Path, target: Path | str) -> Path:
    shutil.copytree(photos[0], folder / "images")
    photo = sorted((folder / "images" / "disc").iterdir())[0]
    photo.unlink()
    photo.symlink_to(target)
    return photo


def test_link_to_a_photo_elsewhere(tmp_path, photos):
    target = sorted((photos[0] / "frame").iterdir())[0]
    photo = linked(photos, tmp_path, target)
    assert photo in [one.image for one in find_photos(tmp_path / "images")]


def test_link_to_another_kind_of_file(tmp_path, photos, model_folder, capsys):
    (tmp_path / "secret").write_text("a password")
    linked(photos, tmp_path, tmp_path / "secret")
    words = said(capsys, "evaluate", "--model", model_folder, "--images", tmp_path / "images")
    assert "not an image" in words
    assert "password" not in words


def test_link_to_nothing(tmp_path, photos):
    photo = linked(photos, tmp_path, tmp_path / "nothing")
    assert photo not in [one.image for one in find_photos(tmp_path / "images")]


def test_link_that_goes_round(tmp_path, photos):
    shutil.copytree(photos[0], tmp_path / "images")
    (tmp_path / "images" / "disc" / "up").symlink_to(tmp_path / "images")
    (tmp_path / "images" / "disc" / "self.png").symlink_to("self.png")
    found, problems = place_folder(tmp_path / "images")
    assert len(found) == 30
    assert not problems


def test_link_where_a_mask_would_go(tmp_path, photos, capsys):
    (tmp_path / "theirs.png").write_text("mine")
    (tmp_path / "masks" / "disc").mkdir(parents=True)
    first = sorted((photos[0] / "disc").iterdir())[0].stem
    (tmp_path / "masks" / "disc" / f"{first}.png").symlink_to(tmp_path / "theirs.png")
    words = ["--from", "grey", photos[1], "--images", photos[0], "--out", tmp_path / "masks"]
    assert "name a new or empty folder" in said(capsys, "masks", *words)
    assert (tmp_path / "theirs.png").read_text() == "mine"


@pytest.mark.parametrize("command", ["report", "audit"])
def test_link_where_a_page_would_go(tmp_path, worlds, capsys, command):
    (tmp_path / "theirs.html").write_text("mine")
    (tmp_path / "page.html").symlink_to(tmp_path / "theirs.html")
    root = worlds["plain"]
    words = ["report", root / "run"]
    if command == "audit":
        words = ["audit", "--model", root / "model", "--images", root / "images", "--masks", root / "masks"]
    said(capsys, *words, "--out", tmp_path / "page.html")
    assert (tmp_path / "theirs.html").read_text() == "mine"


def test_link_where_a_run_would_go(tmp_path, worlds, capsys):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.txt").write_text("mine")
    (tmp_path / "run").symlink_to(tmp_path / "theirs")
    root = worlds["plain"]
    words = [
        "--model",
        root / "model",
        "--images",
        root / "images",
        "--masks",
        root / "masks",
        "--out",
        tmp_path / "run",
    ]
    assert "was not written by robustvit finetune" in said(capsys, "finetune", *words)
    assert [path.name for path in (tmp_path / "theirs").iterdir()] == ["thesis.txt"]


@pytest.fixture
def run(worlds, tmp_path) -> Path:
    return shutil.copytree(worlds["plain"] / "run", tmp_path / "run")


@pytest.mark.parametrize(
    "name", ["config.yaml", "verdict.json", "metrics.jsonl", "versions.json", "shifts.json", "panels/panels.json"]
)
@pytest.mark.parametrize("text", ["", "{", "3", "[" * 1200, "\0"])
def test_run_file_broken(run, tmp_path, capsys, name, text):
    if (name, text) == ("metrics.jsonl", ""):
        pytest.skip("no epochs, no curves")
    (run / name).write_text(text)
    said(capsys, "report", run, "--out", tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("shifts.json", "{}"),
        ("shifts.json", "[{}]"),
        ("shifts.json", '[{"measure": "<b>", "before": "x", "after": 3, "difference": null}]'),
        (
            "verdict.json",
            '{"accepted": 1, "sentence": "s", "notes": [], "comparisons": [{"measure": "m", "before": {}}]}',
        ),
        ("verdict.json", "mean is text"),
        ("verdict.json", "mean is beyond all numbers"),
        ("metrics.jsonl", '{"epoch": "<b>"}'),
        ("metrics.jsonl", '{"val_loss": 1}'),
        ("panels/panels.json", "[{}]"),
    ],
)
def test_run_file_of_another_layout(run, tmp_path, capsys, name, text):
    if text.startswith("mean"):
        verdict = json.loads((run / name).read_text())
        verdict["comparisons"][0]["before"]["mean"] = "x" if "text" in text else 10**400
        text = json.dumps(verdict)
    (run / name).write_text(text)
    said(capsys, "report", run, "--out", tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize("value", [None, "<script>alert(1)</script>", [1], 10**400])
def test_run_metrics_that_are_no_numbers(run, tmp_path, capsys, value):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    del rows[1]["val_loss"], rows[1]["best"]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row | {"train_loss": value}) + "\n" for row in rows))
    assert main(["report", str(run), "--out", str(tmp_path / "r.html")]) == 0, capsys.readouterr().err
    assert "alert(1)" not in (tmp_path / "r.html").read_text()


def resumed(root: Path, run: Path, capsys) -> str:
    words = ["--model", root / "model", "--images", root / "images", "--masks", root / "masks", "--out", run]
    words += ["--epochs", "3", "--tracker", "none", "--samples-per-class", "2", "--swaps", "1", "--panels", "1"]
    return said(capsys, "finetune", *words, "--resume")


@pytest.mark.parametrize("change", ["fewer layers", "no weights", "no dictionary", "epoch"])
def test_run_state_of_another_model(run, worlds, capsys, change):
    state = torch.load(run / "state.pt", weights_only=True)
    if change == "fewer layers":
        state["model"] = {name: value for name, value in state["model"].items() if "blocks.2." not in name}
    elif change == "no weights":
        del state["model"]
    elif change == "epoch":
        state["epoch"] = "<b>"
    torch.save([state] if change == "no dictionary" else state, run / "state.pt")
    words = resumed(worlds["plain"], run, capsys)
    assert ("it is broken" if change == "no dictionary" else "does not fit this model") in words
    assert len(words) < 800


@pytest.mark.parametrize("how", ["gone", "empty"])
def test_run_without_its_best_model(run, worlds, capsys, how):
    weights = run / "best" / "model.safetensors"
    for path in (weights, run / "last" / "model.safetensors"):
        path.unlink() if how == "gone" else path.write_bytes(b"")
    state = torch.load(run / "state.pt", weights_only=True)
    torch.save(state | {"best": float("-inf")}, run / "state.pt")  # no later epoch takes its place
    assert "is missing or broken" in resumed(worlds["plain"], run, capsys)


def test_run_state_that_runs_code(run, worlds, tmp_path, capsys):
    torch.save({"model": Evil(tmp_path / "ran")}, run / "state.pt")
    assert "could run code" in resumed(worlds["plain"], run, capsys)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["../../secret.txt", "/etc/passwd", "", "link.png"])
def test_run_panel_outside_the_run(run, tmp_path, capsys, name):
    (tmp_path / "secret.txt").write_text("a password")
    (run / "panels" / "link.png").symlink_to(tmp_path / "secret.txt")
    panels = json.loads((run / "panels" / "panels.json").read_text())
    (run / "panels" / "panels.json").write_text(json.dumps([panels[0] | {"file": name}]))
    assert "not a picture in the same folder" in said(capsys, "report", run, "--out", tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()
