"""Photos that a model was trained on: recognised by content and look, left out, counted; copies kept on one side."""

from __future__ import annotations

import csv
import json
import random
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from helpers.drawn_photos import CLASSES, write_photos
from robustvit import UserError, classes, evaluate, explain
from robustvit.cli import main as cli
from robustvit.common.run_folder import RunFolder
from robustvit.data.duplicates import BITS, NEAR, Fingerprint, find_copies, fingerprint, fingerprints, same_files
from robustvit.data.find_photos import find_photos
from robustvit.data.overlap import check_overlap, hash_photos, leave_out_copies, note_copies
from robustvit.data.photo import Photo
from robustvit.data.selection import selection_text
from robustvit.data.trained_photos import photos_behind, runs_behind


def noise(path, seed, size=96):
    """A photo of smooth noise, which survives resizing as photos do."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 255, (16, 16, 3)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC).save(path)
    return path


def copies_of(path, folder):
    photo = Image.open(path)
    folder.mkdir()
    photo.resize((48, 48), Image.Resampling.BICUBIC).save(folder / "half.png")
    photo.save(folder / "poor.jpg", quality=40)
    photo.crop((1, 1, 95, 95)).save(folder / "cropped.png")
    return sorted(folder.iterdir())


@pytest.fixture
def run(tmp_path, model_folder):
    """A run folder whose model was trained on 72 of 90 noise photos; 6 others chose the epoch."""
    for number in range(90):
        noise(tmp_path / "photos" / CLASSES[number % 3] / f"{number:02d}.png", number)
    found = find_photos(tmp_path / "photos")
    folder = RunFolder(tmp_path / "runs" / "mine")
    shutil.copytree(model_folder, folder.best)
    config = {"robustvit": "0.1.0", "model": f"local-dir:{model_folder}", "recipe": None, "checkpoint": None}
    config |= {"num_classes": None, "class_names": None, "normalization": None}
    (folder.path / "config.yaml").write_text(yaml.safe_dump(config))
    verdict = {"accepted": True, "sentence": "Better.", "comparisons": [], "notes": []}
    (folder.best / "verdict.json").write_text(json.dumps(verdict))
    splits = {"train": found[:72], "validation": found[72:78], "verdict": found[78:]}
    folder.selection.write_text(selection_text(splits, hash_photos(found)))
    return folder


def test_copies_are_told_by_bytes_and_by_look(tmp_path):
    originals = [noise(tmp_path / "a" / f"{i}.png", i) for i in range(20)]
    same = shutil.copy(originals[7], tmp_path / "other-name.png")
    known = fingerprints(originals)
    found = find_copies([fingerprint(same), *fingerprints(copies_of(originals[3], tmp_path / "b"))], known)
    assert found.same == {0: 7}
    assert found.near == {1: 3, 2: 3, 3: 3}
    fresh = [noise(tmp_path / "c" / f"{i}.png", 100 + i) for i in range(20)]
    assert not find_copies(fingerprints(fresh), known).either


def test_blank_photos_look_like_no_other(tmp_path):
    for name, grey in (("white", 255), ("grey", 128)):
        Image.new("RGB", (64, 64), (grey,) * 3).save(tmp_path / f"{name}.png")
    white, grey = fingerprints([tmp_path / "white.png", tmp_path / "grey.png"])
    assert white.look == grey.look == ""
    assert not find_copies([white], [grey]).either
    assert find_copies([white], [white]).same == {0: 0}


@pytest.mark.parametrize("earlier", [False, True])
def test_matching_agrees_with_a_plain_loop(monkeypatch, earlier):
    monkeypatch.setattr("robustvit.data.duplicates._PAIRS", 64)  # several blocks
    dice = random.Random(0)
    looks = [dice.getrandbits(BITS) for _ in range(30)]
    looks += [look ^ sum(1 << bit for bit in dice.sample(range(BITS), n)) for look, n in zip(looks, range(24, 54))]  # noqa: B905
    prints = [Fingerprint(f"{i % 45}", "" if i == 5 else f"{look:064x}") for i, look in enumerate(looks)]
    near = {}
    for i, one in enumerate(prints):
        others = range(i) if earlier else range(30)
        if any(one.content == prints[j].content for j in others) or not one.look:
            continue
        bits = [((int(one.look, 16) ^ int(prints[j].look, 16)).bit_count(), j) for j in others if prints[j].look]
        if bits and min(bits)[0] <= NEAR:
            near[i] = min(bits)[1]
    found = find_copies(prints, prints if earlier else prints[:30], earlier=earlier)
    assert found.near == near
    assert len(near) > 5


def test_evaluate_leaves_training_photos_out(run, tmp_path, capsys):
    moved = tmp_path / "elsewhere"
    shutil.move(tmp_path / "photos", moved)  # by content, not by path
    out = tmp_path / "out.json"
    found = evaluate(model=str(run.path), images=str(moved), baseline="original", out=str(out))
    assert len(found.photos) == 18
    said = "runs/mine was trained on 72 of 90 photos here: left out"
    assert said in " ".join(capsys.readouterr().err.split())
    assert any(note.startswith(said) for note in json.loads(out.read_text())["notes"])
    assert any(note.startswith(said) for note in found.verdict.notes)
    assert any("6 of the photos also chose the epoch" in note for note in found.notes)
    everything = evaluate(model=str(run.best), images=str(moved), include_trained=True)
    assert len(everything.photos) == 90
    assert "rest on training photos" in everything.notes[0]


def test_a_verdict_on_training_photos_accepts_nothing(run, tmp_path):
    from robustvit.common.verdict_files import Verdict

    seen = photos_behind(str(run.path)).among([photo.image for photo in find_photos(tmp_path / "photos")])
    better = Verdict(True, "Better.", ())
    assert seen.judge(better, include=True).accepted is None
    assert "Not accepted" in seen.judge(better, include=True).sentence
    assert seen.judge(better, include=False) == better
    worse = Verdict(False, "Worse.", ())
    assert seen.judge(worse, include=True) == worse


def test_nothing_left_is_refused_in_one_line(run, tmp_path, capsys):
    rows = [row for row in csv.DictReader(run.selection.open()) if row["split"] == "train"]
    for row in rows[:4] + rows[-4:]:
        place = tmp_path / "some" / row["class"]
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(row["image"], place)
    for command in (["evaluate"], ["classes", "--baseline", "original", "--out", str(tmp_path / "page.html")]):
        code = cli.main([*command, "--model", str(run.path), "--images", str(tmp_path / "some")])
        error = capsys.readouterr().err
        assert code == 2
        assert "--include-trained" in error
        assert "Traceback" not in error
    assert not (tmp_path / "page.html").exists()


def test_copies_that_look_the_same_are_left_out_and_named(run, tmp_path):
    rows = list(csv.DictReader(run.selection.open()))
    copies_of(rows[0]["image"], tmp_path / "copies")
    for number, path in enumerate(sorted((tmp_path / "copies").iterdir())):
        place = tmp_path / "test" / CLASSES[number]
        place.mkdir(parents=True)
        shutil.copy(path, place)
        noise(place / "fresh.png", 200 + number)
    found = evaluate(model=str(run.path), images=str(tmp_path / "test"))
    assert len(found.photos) == 3
    assert "photos that look like 3 of 6 photos here" in found.notes[0]
    assert "half.png is like disc/00.png" in found.notes[0]


def test_classes_counts_and_leaves_out(run, tmp_path):
    out = tmp_path / "page.html"
    classes(model=str(run.path), baseline="original", images=str(tmp_path / "photos"), out=str(out), samples=0)
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["data"]["images"] == 18
    assert "72 of 90 photos here: left out" in record["data"]["notes"][0]
    assert "72 of 90 photos here: left out" in out.read_text()


def test_explain_counts(run, tmp_path, capsys):
    files = [str(photo.image) for photo in find_photos(tmp_path / "photos")[70:74]]
    found = explain(files, model=str(run.path), out=str(tmp_path / "pictures"))
    assert [one.trained for one in found] == [True, True, False, False]
    assert "was trained on 2 of 4 photos here" in " ".join(capsys.readouterr().err.split())


def test_runs_of_older_versions_are_hashed_where_the_photos_still_are(run, tmp_path):
    rows = list(csv.DictReader(run.selection.open()))
    old = ["split", "class", "label", "image", "mask"]
    with run.selection.open("w", newline="") as file:
        writer = csv.DictWriter(file, old, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    shutil.copytree(tmp_path / "photos", tmp_path / "copy")
    for row in rows[:5]:
        (tmp_path / row["image"]).unlink()
    found = photos_behind(str(run.path))
    assert len(found.prints) == 67
    assert "5 photos that runs/mine was trained on cannot be compared" in found.notes[0]
    seen = found.among([photo.image for photo in find_photos(tmp_path / "copy")])
    assert seen.count == 67
    assert not run.photos.records_content


def test_an_older_selection_can_be_resumed_and_a_changed_photo_cannot(run, tmp_path):
    found = find_photos(tmp_path / "photos")
    splits = {"train": found[:72], "validation": found[72:78], "verdict": found[78:]}
    whole = run.selection.read_text()
    run.photos.check_same(whole)
    with pytest.raises(UserError, match="photos are not those"):
        run.photos.check_same(selection_text(splits, dict.fromkeys(hash_photos(found), Fingerprint("0", "0"))))
    with run.selection.open("w", newline="") as file:
        csv.writer(file).writerows(row[:5] for row in csv.reader(whole.splitlines()))
    run.photos.check_same(whole)
    with pytest.raises(UserError, match="photos are not those"):
        run.photos.check_same(selection_text(splits | {"train": found[:71]}))


def test_runs_are_known_behind_models_checkpoints_and_later_runs(run, tmp_path):
    later = tmp_path / "later"
    later.mkdir()
    (later / "config.yaml").write_text(yaml.safe_dump({"robustvit": "0.1.0", "model": str(run.best)}))
    for source in (run.path, run.best, f"local-dir:{run.best}", f"timm:local-dir:{run.best}"):
        assert [one.path.resolve() for one in runs_behind(source)] == [run.path.resolve()]
    assert len(runs_behind(run.best / "model.safetensors")) == 1
    assert len(runs_behind(later)) == 2
    assert runs_behind("vit_tiny_patch16_224", None, "original") == []


def test_an_exported_model_says_that_its_photos_are_not_known(run, tmp_path):
    shutil.copytree(run.best, tmp_path / "shared" / "model")
    assert "was not checked" in photos_behind(str(tmp_path / "shared" / "model")).notes[0]


def test_copies_in_one_folder_stay_on_one_side(tmp_path):
    files = [noise(tmp_path / f"{i}.png", i) for i in range(6)]
    again = shutil.copy(files[0], tmp_path / "copy.png")
    small = copies_of(files[4], tmp_path / "b")[1]
    train = [Photo(files[0]), Photo(files[1])]
    pool = [Photo(files[2]), Photo(tmp_path / again), Photo(files[4]), Photo(small)]
    notes: list[str] = []
    assert leave_out_copies(pool, train, hash_photos([*train, *pool]), notes) == [pool[0], pool[2]]
    assert notes[0].startswith("Photos left out as copies of others: 2 (")
    with pytest.raises(UserError, match="copies of photos trained on"):
        leave_out_copies(pool[1:2], train, hash_photos([*train, *pool]), notes)


def test_held_out_copies_are_refused_or_named(tmp_path):
    files = [noise(tmp_path / f"{i}.png", i) for i in range(4)]
    train, held = [Photo(files[0])], [Photo(shutil.copy(files[0], tmp_path / "copy.png"))]
    with pytest.raises(UserError, match=r"copy.png is the same file as .*0.png, which would be trained on"):
        check_overlap(train, held, held, hash_photos([*train, *held]), [])
    notes: list[str] = []
    check_overlap(train, held, held, hash_photos([*train, *held]), notes, older=True)
    assert "look like photos trained on: 1 (" in notes[0]
    near, notes = [Photo(copies_of(files[0], tmp_path / "b")[1])], []
    check_overlap(train, near, [Photo(files[2])], hash_photos([*train, *near, Photo(files[2])]), notes)
    assert "b/half.png is like" in notes[0]


def test_held_out_photos_that_are_stored_otherwise_are_refused(tmp_path):
    train = noise(tmp_path / "0.png", 0)
    for name in ("again.bmp", "again.webp", "again.tif"):
        Image.open(train).convert("RGB").save(tmp_path / name, lossless=True)
        held, both = [Photo(tmp_path / name)], [Photo(train), Photo(tmp_path / name)]
        with pytest.raises(UserError, match=rf"{name} is the same picture as .*0.png, which would be trained on"):
            check_overlap(both[:1], [], held, hash_photos(both), [])


def test_photos_made_from_photos_trained_on_are_named(tmp_path):
    names = [f"dog_{number}_jpg.rf.{letter * 32}.jpg" for number, letter in ((1, "a"), (1, "b"), (2, "c"))]
    files = [Photo(noise(tmp_path / name, number)) for number, name in enumerate(names)]
    notes: list[str] = []
    check_overlap(files[:1], [], files[1:], hash_photos(files), notes)
    assert "made from photos trained on, by their names: 1 (" in notes[0]


def test_copies_among_photos_to_judge_by_are_counted(tmp_path):
    files = [noise(tmp_path / f"{number}.png", number) for number in range(3)]
    copy = shutil.copy(files[1], tmp_path / "copy.png")
    notes: list[str] = []
    note_copies([*files, files[0], copy], notes)  # a photo of two classes is listed twice, and is no copy
    assert notes[0].startswith("Photos that are the same file as another one here, and count again: 1 (")
    assert "copy.png is like" in notes[0]
    longer = tmp_path / "longer.png"
    longer.write_bytes(files[0].read_bytes()[:-1] + b"?")  # of the same length
    assert same_files([files[0], longer]) == {}


def test_finetune_refuses_copies_under_other_names(tmp_path, model_folder, capsys):
    images, masks = write_photos(tmp_path / "train", 3)
    for kind in ("images", "masks"):
        for path in sorted((tmp_path / "train" / kind).rglob("*.png")):
            place = tmp_path / "test" / kind / path.parent.name / f"copy_of_{path.name}"
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    held = [f"--test-images={tmp_path / 'test' / 'images'}", f"--test-masks={tmp_path / 'test' / 'masks'}"]
    given = ["--model", str(model_folder), "--images", str(images), "--masks", str(masks), "--out", str(tmp_path / "r")]
    assert cli.main(["finetune", *given, *held]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "is the same file as" in error
    assert "trained on and held out" in error
    assert not (tmp_path / "r").exists()
