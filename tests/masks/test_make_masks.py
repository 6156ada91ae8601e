"""Masks for a folder of photos, as a user makes them: files, manifest, second calls, and every bad input by name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from helpers.drawn_photos import CLASSES, draw_photo
from helpers.run_server import is_alive, wait_for
from robustvit import UserError, finetune, make_masks
from robustvit.cli import main as cli
from robustvit.data.manifest import read_manifest
from robustvit.data.mask_files import read_mask
from robustvit.masks.sources.tokencut import TokenCut

TINY = "vit_tiny_patch16_224"


def test_masks_mirror_the_photos(tmp_path, images, settings):
    made = make_masks(str(images), out=str(tmp_path / "masks"), **settings)
    records = read_manifest(made.manifest)
    assert records == made.records
    assert len(records) == made.made == 6
    assert not made.problems
    for record in records:
        assert record.label in CLASSES
        assert record.source == "tokencut"
        assert 0 <= record.confidence <= 1
        assert {"share", "border", "cut", "eigengap", "agreement"} <= set(record.measures) or record.verdict == "none"
        if record.mask is not None:
            assert record.mask == tmp_path / "masks" / record.label / record.image.name
            mask = read_mask(record.mask)
            assert mask.shape == (96, 96)
            assert mask.mean() == pytest.approx(record.measures["share"], abs=1e-4)
    assert sum(record.mask is not None for record in records) >= 4
    assert "6 photos done now" in str(made)


def test_a_second_call_does_only_what_is_missing(tmp_path, images, settings):
    out = tmp_path / "masks"
    first = make_masks(str(images), out=str(out), **settings)
    text = first.manifest.read_text()
    victims = [record.mask for record in first.records if record.mask is not None][:2]
    before = {path: path.read_bytes() for path in victims}
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*.png") if path not in victims}
    for path in victims:
        path.unlink()
    second = make_masks(str(images), out=str(out), **settings)
    assert second.made == 2
    assert {path: path.read_bytes() for path in victims} == before
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert second.manifest.read_text() == text
    assert make_masks(str(images), out=str(out), **settings).made == 0


def test_a_photo_replaced_under_its_name_is_cut_again(tmp_path, images, settings):
    out = tmp_path / "masks"
    first = make_masks(str(images), out=str(out), **settings)
    one, other = (record for record in first.records if record.mask is not None and record.label == "disc")
    before = other.mask.read_bytes()
    shutil.copy(images / "frame" / "0.png", one.image)
    second = make_masks(str(images), out=str(out), **settings)
    assert second.made == 1
    changed = {record.image: record for record in second.records}
    twin = changed[out / "../photos/frame/0.png"]
    assert changed[one.image].measures == twin.measures
    assert changed[one.image].mask.read_bytes() == twin.mask.read_bytes()
    assert other.mask.read_bytes() == before
    assert make_masks(str(images), out=str(out), **settings).made == 0


def test_second_call_by_another_path_and_masks_among_the_photos(tmp_path, images, settings, monkeypatch):
    first = make_masks(str(images), out=str(images / "masks"), **settings)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    second = make_masks("../photos", out="../photos/masks", **settings)
    assert (first.made, second.made, len(second.records)) == (6, 0, 6)


def test_a_killed_run_goes_on(tmp_path, images, settings):
    """What a kill leaves: a part of the manifest with its last row cut off, and no manifest yet."""
    out = tmp_path / "masks"
    whole = make_masks(str(images), out=str(out), **settings).manifest
    text = whole.read_text()
    (out / ".manifest-0.csv").write_text("".join(text.splitlines(keepends=True)[:4])[:-9])
    whole.unlink()
    assert make_masks(str(images), out=str(out), **settings).made == 4
    assert whole.read_text() == text
    assert [path.name for path in out.glob(".*")] == [".lock"], "nothing else is left"


def test_a_stopped_run_says_how_to_go_on(capsys, tmp_path, images, settings, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(TokenCut, "finish", stop)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    assert cli.main(["masks", str(images), "--out", str(tmp_path / "masks"), *options]) == 130
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.endswith("masks is saved: run the same command to resume")


@pytest.mark.slow
def test_workers_give_the_same(tmp_path, images, settings):
    alone = make_masks(str(images), out=str(tmp_path / "alone"), batch_size=4, **settings)
    shared = make_masks(str(images), out=str(tmp_path / "shared"), batch_size=4, workers=2, **settings)
    assert alone.manifest.read_text() == shared.manifest.read_text()
    for record in alone.records:
        if record.mask is not None:
            other = tmp_path / "shared" / record.mask.relative_to(tmp_path / "alone")
            assert other.read_bytes() == record.mask.read_bytes()


@pytest.mark.slow
def test_several_processes_give_the_same(tmp_path, images, settings, server):
    alone = make_masks(str(images), out=str(tmp_path / "alone"), **settings)
    command = ["masks", images, "--out", tmp_path / "two", "--model", TINY, "--checkpoint", settings["checkpoint"],
               "--block", "1", "--centre", "--size", "192", "--device", "cpu"]  # fmt: skip
    assert server.run(command, 2) == 0, server.said()
    assert server.printed(0).count("6 photos done now") + server.printed(1).count("6 photos done now") == 1
    assert server.counted() == [2, 2]
    assert (tmp_path / "two" / "manifest.csv").read_text() == alone.manifest.read_text()
    assert [path.name for path in (tmp_path / "two").glob(".*")] == [".lock"]


def test_unusable_photos_are_listed_and_the_rest_is_done(tmp_path, images, settings):
    (images / "disc" / "broken.jpg").write_bytes(b"no image")
    (images / "disc" / "0.jpg").write_bytes((images / "disc" / "0.png").read_bytes())
    Image.new("RGB", (96, 96), "grey").save(images / "frame" / "flat.png")
    Image.new("RGB", (5, 5), "red").save(images / "frame" / "tiny.png")
    wide = Image.new("RGB", (300, 30), "white")
    wide.paste("blue", (100, 5, 150, 25))
    wide.save(images / "frame" / "wide.png")
    made = make_masks(str(images), out=str(tmp_path / "masks"), **settings)
    assert len(made.problems) == 2
    assert any("broken.jpg" in line and "not an image" in line for line in made.problems)
    assert any("has the same mask" in line for line in made.problems)
    assert (tmp_path / "masks" / "problems.txt").read_text().splitlines() == made.problems
    assert made.left_out == 2
    assert "2 photos left out, 2 problems" in str(made)
    by_name = {record.image.name: record for record in made.records}
    assert by_name["flat.png"].verdict == by_name["tiny.png"].verdict == "none"
    assert by_name["flat.png"].reason
    assert read_mask(by_name["wide.png"].mask).shape == (30, 300)
    assert len(made.records) == 9


def test_nothing_of_others_is_touched(tmp_path, images, settings):
    out = tmp_path / "masks"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="was not written by robustvit masks"):
        make_masks(str(images), out=str(out), **settings)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]
    (out / "mine.txt").unlink()
    make_masks(str(images), out=str(out), **settings)
    with pytest.raises(UserError, match=r"made with threshold 0\.2, not 0\.3"):
        make_masks(str(images), out=str(out), **(settings | {"threshold": 0.3}))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threshold": 1.5}, "below 1"),
        ({"size": 0}, "--size of at least 1"),
        ({"objects": 0}, "at least 1"),
        ({"workers": -1}, "at least 0"),
        ({"size": 8}, "two patches"),
        ({"block": 40}, "from 1 to 12"),
        ({"method": "sam2"}, "--prompts"),
        ({"method": "relevance", "model": None}, "--model"),
        ({"categories": ["cat"]}, "--from"),
        ({"checkpoint": "nowhere.pth"}, "none at nowhere.pth"),
    ],
)
def test_wrong_options(tmp_path, images, settings, options, words):
    with pytest.raises(UserError, match=words):
        make_masks(str(images), out=str(tmp_path / "masks"), **(settings | options))
    assert not (tmp_path / "masks").exists()


def test_weights_that_cannot_be_fetched_offer_a_way_out(tmp_path, images):
    with pytest.raises(UserError, match="--checkpoint FILE"):
        make_masks(str(images), out=str(tmp_path / "masks"))


def test_command_with_review_then_finetune(capsys, tmp_path, images, weights, model_folder):
    turns = (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.ROTATE_180)
    for number, turn in enumerate(turns, start=2):  # enough photos to train on and to hold out
        for name in CLASSES:
            Image.open(images / name / "0.png").transpose(turn).save(images / name / f"{number}.png")
    masks, page = tmp_path / "masks", tmp_path / "review.html"
    code = cli.main(
        ["masks", str(images), "--out", str(masks), "--model", TINY, "--checkpoint", str(weights), "--block", "1",
         "--centre", "--size", "192", "--review-page", str(page)]
    )  # fmt: skip
    out = capsys.readouterr().out
    assert code == 0
    assert "good" in out
    assert str(page) in out
    assert "robustvit-review" in page.read_text()[:500]
    records = read_manifest(masks / "manifest.csv")
    dropped = next(record.image for record in records if record.mask is not None)
    review = tmp_path / "review.csv"
    rows = [
        f"{r.image.relative_to(tmp_path)},{'drop' if r.image == dropped or not r.mask else 'keep'}" for r in records
    ]
    review.write_text("\n".join(["image,decision", *rows]) + "\n")
    run = finetune(
        model=str(model_folder), images=str(images), masks=str(masks), out=str(tmp_path / "run"), review=str(review),
        epochs=1, swaps=0, panels=0, samples_per_class=2, tracker="none", device="cpu",
    )  # fmt: skip
    selected = (tmp_path / "run" / "selection.csv").read_text()
    assert str(dropped.resolve()) not in selected
    assert sum(str(r.image.resolve()) in selected for r in records) > 3
    assert "dropped in the review" in str(run)


def test_masks_never_replace_each_other(tmp_path, images, settings):
    """Another folder with the same names, into the same folder of masks."""
    first = make_masks(str(images), out=str(tmp_path / "masks"), **settings)
    before = {path: path.read_bytes() for path in (tmp_path / "masks").rglob("*.png")}
    shutil.copytree(images, tmp_path / "others")
    second = make_masks(str(tmp_path / "others"), out=str(tmp_path / "masks"), **settings)
    assert {path: path.read_bytes() for path in before} == before
    assert len(second.problems) == len(before)
    assert all("would replace" in line for line in second.problems)
    assert {r.image.resolve() for r in first.records if r.mask} == {r.image.resolve() for r in second.records if r.mask}


def test_a_mask_that_a_person_drew_is_kept(tmp_path, images, settings):
    out = tmp_path / "masks"
    make_masks(str(images), out=str(out), **settings)
    (images / "disc" / "new.png").write_bytes((images / "disc" / "0.png").read_bytes())
    drawn = out / "disc" / "new.png"
    Image.new("L", (96, 96), 200).save(drawn)
    before = drawn.read_bytes()
    made = make_masks(str(images), out=str(out), **settings)
    assert drawn.read_bytes() == before
    assert len(made.problems) == made.left_out == 1
    assert "was not made here" in made.problems[0]
    # What a killed run wrote before it got to the manifest bears our mark, and is written again.
    shutil.copy(out / "disc" / "0.png", drawn)
    assert not make_masks(str(images), out=str(out), **settings).problems


def test_masks_among_the_photos_are_no_photos(capsys, tmp_path, images, settings):
    make_masks(str(images), out=str(images / "one"), **settings)
    made = make_masks(str(images), out=str(images / "two"), **settings)
    assert len(made.records) == 6
    assert "holds masks made before" in capsys.readouterr().err.replace("\n", " ")


def test_names_that_are_not_utf8_are_listed(capsys, tmp_path, images, settings):
    name = os.fsdecode(b"caf\xe9.png")
    try:
        shutil.copy(images / "disc" / "0.png", images / "disc" / name)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    made = make_masks(str(images), out=str(tmp_path / "masks"), **settings)
    assert made.left_out == 1
    assert "caf\\udce9.png: its name is not UTF-8" in made.problems[0]
    print(made)
    assert read_manifest(made.manifest) == made.records
    shutil.rmtree(images)
    (images / "x").mkdir(parents=True)
    draw_photo(np.random.default_rng(0), 0, 96)[0].save(images / "x" / name)
    options = [f"--{key}={value}" for key, value in settings.items()]
    assert cli.main(["masks", str(images), "--out", str(tmp_path / "none"), *options]) == 2
    assert "not UTF-8" in capsys.readouterr().err


def test_a_photo_of_one_colour_has_no_object(tmp_path, images, settings):
    Image.new("RGB", (96, 96), (90, 120, 30)).save(images / "disc" / "plain.png")
    made = make_masks(str(images), out=str(tmp_path / "masks"), **settings)
    plain = next(record for record in made.records if record.image.name == "plain.png")
    assert (plain.verdict, plain.mask, plain.reason) == ("none", None, "the photo is of one colour")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes the Linux way")
def test_workers_end_when_their_parent_is_killed():
    code = (
        "import os, sys, time\n"
        "from robustvit.common.workers import worker_pool\n"
        "if __name__ == '__main__':\n"
        "    with worker_pool(1) as pool:\n"
        "        print(pool.submit(os.getpid).result(), flush=True)\n"
        "        time.sleep(3600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        assert is_alive(worker)
        parent.kill()
    assert wait_for(lambda: not is_alive(worker), os.getpid()), "the worker is still there"
