"""Masks for a folder of photos, as a user makes them: files, manifest, second calls, and every bad input by name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from helpers.drawn_photos import CLASSES, draw_photo, write_photos
from helpers.run_server import is_alive, wait_for
from robustvit import UserError, finetune, make_masks
from robustvit.cli import main as cli
from robustvit.data.manifest import read_manifest
from robustvit.data.mask_files import read_mask
from robustvit.explanation.features import patch_features
from robustvit.masks.options import MaskOptions
from robustvit.masks.sources.tokencut import TokenCut, dino_positions
from robustvit.masks.tokencut.cut import CutSettings
from robustvit.models.load import load_model

TINY = "vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small backbone whose keys are little more than the patches' colours, so that objects stand out."""
    torch.manual_seed(0)
    network = timm.create_model(TINY, num_classes=0)
    state = network.state_dict()
    patches = state["patch_embed.proj.weight"]
    patches.copy_(torch.randn(192, 3, 1, 1).expand_as(patches) / 256)
    state["pos_embed"].zero_()
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(state, path)
    return path


@pytest.fixture
def settings(weights):
    cut = {"feature": "tokens", "centre": True, "threshold": 0.2}  # or every call would choose among several
    return {"model": TINY, "checkpoint": str(weights), "block": 1, "size": 192, "device": "cpu"} | cut


@pytest.fixture
def images(tmp_path):
    """Two photos a class, 96 x 96."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(2):
            draw_photo(rng, label, 96)[0].save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


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


def test_from_annotations(capsys, tmp_path):
    images, masks = write_photos(tmp_path, 2)
    out = tmp_path / "read"
    made = make_masks(str(masks), out=str(out), from_="binary", images=str(images))
    assert {record.label for record in made.records} == set(CLASSES)
    for record in made.records:
        drawn = read_mask(masks / record.label / record.image.name)
        assert (read_mask(out / record.label / record.image.name) == drawn).all()
        assert record.verdict == "good"
        assert record.confidence == 1
    assert make_masks(str(masks), out=str(out), from_="binary", images=str(images)).made == 0
    assert cli.main(["masks", "--from", "coco", str(masks), "--images", str(images), "--out", str(tmp_path / "x")]) == 2
    assert "robustvit masks:" in capsys.readouterr().err


def coco_file(tmp_path):
    """Two photos: a large cat with a small dog, and a dog that is marked as a crowd."""
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 30), "white").save(tmp_path / name)

    def box(x, y, width, height):
        return [[x, y, x + width, y, x + width, y + height, x, y + height]]

    found = {
        "images": [{"id": i, "file_name": f"{name}.png", "width": 40, "height": 30} for i, name in enumerate("ab")],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 1, "segmentation": box(2, 2, 16, 16), "iscrowd": 0},
            {"id": 2, "image_id": 0, "category_id": 2, "segmentation": box(30, 20, 6, 6), "iscrowd": 0},
            {"id": 3, "image_id": 0, "category_id": 1, "segmentation": box(22, 2, 4, 4), "iscrowd": 0},
            {"id": 4, "image_id": 1, "category_id": 2, "segmentation": box(5, 5, 10, 10), "iscrowd": 0},
        ],
    }
    (tmp_path / "coco.json").write_text(json.dumps(found))
    return tmp_path / "coco.json"


def test_label_from_largest_or_all(tmp_path):
    pytest.importorskip("pycocotools")
    source = str(coco_file(tmp_path))
    largest = make_masks(source, out=str(tmp_path / "l"), from_="coco", images=str(tmp_path))
    assert [(r.image.name, r.label) for r in largest.records] == [("a.png", "cat"), ("b.png", "dog")]
    mask = read_mask(tmp_path / "l" / "a.png")
    assert mask[2:18, 2:18].all()
    assert mask[2:6, 22:26].all()
    assert mask.sum() == 256 + 16
    every = make_masks(source, out=str(tmp_path / "e"), from_="coco", images=str(tmp_path), label_from="all")
    assert [(r.image.name, r.label) for r in every.records] == [("a.png", "cat"), ("a.png", "dog"), ("b.png", "dog")]
    assert read_mask(tmp_path / "e" / "dog" / "a.png").sum() == 36
    dogs = make_masks(source, out=str(tmp_path / "d"), from_="coco", images=str(tmp_path), categories=["dog"])
    assert [(r.image.name, r.label) for r in dogs.records] == [("a.png", "dog"), ("b.png", "dog")]
    with pytest.raises(UserError, match="unknown category 'horse'"):
        make_masks(source, out=str(tmp_path / "h"), from_="coco", images=str(tmp_path), categories=["horse"])


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


def test_split_folders_are_no_classes_and_missing_categories_are_named(tmp_path):
    for split in ("train", "val"):
        (tmp_path / "images" / split).mkdir(parents=True)
        (tmp_path / "labels" / split).mkdir(parents=True)
        Image.new("RGB", (40, 40)).save(tmp_path / "images" / split / f"{split}.png")
        kind = 0 if split == "train" else 1
        (tmp_path / "labels" / split / f"{split}.txt").write_text(f"{kind} 0.1 0.1 0.6 0.1 0.6 0.6\n")
    (tmp_path / "data.yaml").write_text("names: [cat, dog]\n")
    every = make_masks(str(tmp_path), out=str(tmp_path / "m"), from_="yolo", images=str(tmp_path / "images"))
    assert [record.label for record in every.records] == ["cat", "dog"]
    cats = make_masks(
        str(tmp_path), out=str(tmp_path / "c"), from_="yolo", images=str(tmp_path / "images"), categories=["cat"]
    )
    assert [record.label for record in cats.records] == ["cat"]
    assert any("val.png" in line and "no object of the categories" in line for line in cats.problems)


def test_all_classes_of_a_photo_are_resumed(tmp_path):
    source, out = str(coco_file(tmp_path)), str(tmp_path / "e")
    options = {"out": out, "from_": "coco", "images": str(tmp_path), "label_from": "all"}
    first = make_masks(source, **options)
    before = {record.mask: record.mask.read_bytes() for record in first.records}
    (tmp_path / "e" / "dog" / "a.png").unlink()
    again = make_masks(source, **options)
    assert again.made == 1
    assert again.records == first.records
    assert {path: path.read_bytes() for path in before} == before


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


def test_categories_as_a_word_a_list_or_ids(capsys, tmp_path):
    source = str(coco_file(tmp_path))
    for number, given in enumerate(["dog", "dog,cat", "[dog, cat]"]):
        out = tmp_path / str(number)
        command = ["masks", "--from", "coco", source, "--images", str(tmp_path), "--out", str(out)]
        assert cli.main([*command, "--categories", given]) == 0
        labels = {record.label for record in read_manifest(out / "manifest.csv")}
        assert labels == ({"dog"} if given == "dog" else {"dog", "cat"})
    (tmp_path / "voc").mkdir()
    ids = np.zeros((30, 40), np.uint8)
    ids[3:12, 3:12], ids[15:29, 20:38] = 3, 7
    Image.fromarray(ids).save(tmp_path / "voc" / "a.png")
    command = ["masks", "--from", "voc", str(tmp_path / "voc"), "--images", str(tmp_path), "--out", str(tmp_path / "v")]
    assert cli.main([*command, "--categories", "3"]) == 0
    assert [record.label for record in read_manifest(tmp_path / "v" / "manifest.csv")] == ["3"]
    assert cli.main([*command[:-1], str(tmp_path / "w"), "--categories", "cow"]) == 2
    assert "robustvit masks:" in capsys.readouterr().err


def test_masks_mirror_the_folders_of_yolo_and_labelme(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "labels" / name).mkdir(parents=True)
        Image.new("RGB", (40, 40)).save(tmp_path / "images" / name / "a.png")
        (tmp_path / "labels" / name / "a.txt").write_text("0 0.1 0.1 0.6 0.1 0.6 0.6\n")
    yolo = make_masks(str(tmp_path), out=str(tmp_path / "y"), from_="yolo")
    assert [record.mask.relative_to(tmp_path / "y").as_posix() for record in yolo.records] == ["cat/a.png", "dog/a.png"]
    for name in ("cat", "dog"):
        shape = {"label": name, "shape_type": "polygon", "points": [[2, 2], [20, 2], [20, 20]]}
        content = {"imagePath": "a.png", "imageHeight": 40, "imageWidth": 40, "shapes": [shape]}
        (tmp_path / "images" / name / "a.json").write_text(json.dumps(content))
    labelme = make_masks(str(tmp_path / "images"), out=str(tmp_path / "l"), from_="labelme")
    assert [r.mask.relative_to(tmp_path / "l").as_posix() for r in labelme.records] == ["cat/a.png", "dog/a.png"]
    assert not labelme.problems


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


def slow_positions(table, old, new):
    """A table (old, old, C) at new = (rows, columns), bicubic (a = -0.75) by (new + 0.1) / old, in double precision."""

    def weight(x):
        x, a = abs(x), -0.75
        if x <= 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0

    sides = []
    for count in new:
        side = np.zeros((count, old))
        for place in range(count):
            at = (place + 0.5) * old / (count + 0.1) - 0.5
            for tap in range(int(np.floor(at)) - 1, int(np.floor(at)) + 3):
                side[place, min(max(tap, 0), old - 1)] += weight(at - tap)
        sides.append(side)
    return np.einsum("ra,cb,abk->rck", *sides, table)


@pytest.mark.parametrize("size", [(80, 112), (224, 224), (256, 240)])
def test_positions_are_interpolated_as_dinos(size):
    torch.manual_seed(0)
    network = timm.create_model(TINY, num_classes=0, dynamic_img_size=True).eval()
    seen = []
    network.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.zeros(1, 3, *size)
    with torch.no_grad(), dino_positions(network):
        network(images)
    new = (size[0] // 16, size[1] // 16)
    table = network.pos_embed[0, 1:].detach().double().numpy().reshape(14, 14, -1)
    wanted = table if size == (224, 224) else slow_positions(table, 14, new)
    patches = network.patch_embed(images).detach().double().numpy()[0]
    assert np.abs(seen[0][0, 1:].double().numpy().reshape(*new, -1) - (patches + wanted)).max() < 1e-5
    with torch.no_grad():
        network(images)
    assert torch.equal(seen[0], seen[1]) == (size == (224, 224)), "undone afterwards"


def test_paper_protocol_sees_photos_at_their_own_size(weights):
    """Whole patches, resized with Pillow's Lanczos filter, one photo at a time."""
    model = load_model(TINY, checkpoint=str(weights), head="none")
    source = TokenCut(model, size=None, block=1, settings=CutSettings(protocol="paper"))
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (70, 121, 3), np.uint8))
    assert source.input_size(photo) == (64, 128)  # 4.4 and 7.6 patches
    job = source.prepare([photo, photo], [Path("a"), Path("b")])[1]
    resized = np.asarray(photo.resize((128, 64), Image.Resampling.LANCZOS))
    images = torch.from_numpy(resized.copy()).permute(2, 0, 1)[None].float() / 255
    with dino_positions(model.network):
        expected = patch_features(model, images, block=1)[0].numpy()
    assert np.array_equal(job.features, expected)
    assert job.photo.shape == (70, 121, 3)


def test_paper_protocol_names_photos_that_are_too_large(weights, monkeypatch):
    monkeypatch.setattr("robustvit.masks.sources.tokencut._MOST_PATCHES", 30)
    source = TokenCut(load_model(TINY, checkpoint=str(weights), head="none"), size=None)
    small, large = Image.new("RGB", (80, 80)), Image.new("RGB", (96, 96))
    found = [source.finish(job) for job in source.prepare([large, small], [Path("a"), Path("b")])]
    assert found[0].reason == "too large to cut, more than 30 patches (36)"
    assert found[0].mask.shape == (96, 96)
    assert "too large" not in found[1].reason


def test_paper_protocol_is_recorded_and_skips_are_counted(tmp_path, images, weights):
    Image.new("RGB", (20, 20), "grey").save(images / "frame" / "flat.png")
    small = Image.new("RGB", (96, 96), "white")
    small.paste("blue", (32, 32, 48, 48))
    small.save(images / "frame" / "small.png")
    options = {"model": TINY, "checkpoint": str(weights), "block": 1, "centre": True, "device": "cpu"}
    made = make_masks(str(images), out=str(tmp_path / "masks"), protocol="paper", **options)
    settings = json.loads((tmp_path / "masks" / "settings.json").read_text())
    assert {name: settings[name] for name in ("protocol", "size", "side", "objects", "refine")} == {
        "protocol": "paper", "size": None, "side": "seed", "objects": 1, "refine": True
    }  # fmt: skip
    by_name = {record.image.name: record for record in made.records}
    assert by_name["small.png"].verdict == "none"
    assert by_name["small.png"].reason == "fewer than 520 pixels (256)"
    assert made.skipped["fewer than 520 pixels"] == 1
    assert made.skipped["the photo is of one colour"] == 1
    assert "  1 photo: fewer than 520 pixels" in str(made)
    for record in made.records:
        assert record.verdict in ("good", "none")
        assert (record.mask is None) == (record.verdict == "none")
    with pytest.raises(UserError, match="made with protocol paper, not standard"):
        make_masks(str(images), out=str(tmp_path / "masks"), **options)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"size": 320}, "sets size itself .* leave out --size 320"),
        ({"objects": 3}, "leave out --objects 3"),
        ({"refine": False}, "leave out --refine False"),
        ({"method": "rembg"}, "needs --method tokencut, got rembg"),
        ({"protocol": "papers"}, "expected --protocol to be one of paper, standard, got 'papers'"),
    ],
)
def test_paper_protocol_leaves_few_options_open(tmp_path, images, options, error):
    with pytest.raises(UserError, match=error):
        make_masks(str(images), out=str(tmp_path / "masks"), **({"protocol": "paper"} | options))
    assert not (tmp_path / "masks").exists()


def test_paper_protocol_takes_dinos_base_model():
    assert MaskOptions(protocol="paper").apply_protocol().model == "vit_base_patch16_224.dino"
    assert MaskOptions().apply_protocol() == MaskOptions(protocol="standard")


def test_folders_of_versions_without_protocols_go_on(tmp_path, images, settings):
    out = tmp_path / "masks"
    first = make_masks(str(images), out=str(out), **settings)
    kept = json.loads((out / "settings.json").read_text())
    del kept["protocol"]
    (out / "settings.json").write_text(json.dumps(kept))
    assert make_masks(str(images), out=str(out), **settings).made == 0
    assert read_manifest(out / "manifest.csv") == first.records
