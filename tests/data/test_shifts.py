"""Shifted copies as a user makes them: the files, their lists, and a second call."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.drawn_photos import CLASSES, write_photos
from helpers.run_server import kill, wait_for
from helpers.shifted_copies import files_in, refused, rows_of, run, skips_of, write_backgrounds
from helpers.small_models import SIZE
from plain.swaps import slowly_tiled
from robustvit import UserError, shifts
from robustvit.cli import main as cli
from robustvit.data.mask_files import read_mask
from robustvit.data.shifts.cutouts import Placement, cut_out, place, square_background
from robustvit.data.shifts.plans import draw_pairs

VARIANTS = ("original", "only-fg", "no-fg", "only-bg-b", "only-bg-t", "mixed-same", "mixed-rand", "mixed-next")
SHOWN = ("original", "only-fg", "mixed-same", "mixed-rand", "mixed-next")
GRIDS = ("si-size", "si-rotation", "si-location")


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    return write_backgrounds(tmp_path_factory.mktemp("backgrounds"))


@pytest.fixture(scope="module")
def everything(tmp_path_factory, photos, plain) -> Path:
    """All kinds, of the size that the photos have."""
    out = tmp_path_factory.mktemp("shifts") / "all"
    shifts(*photos, out=out, kinds="imagenet-9,si-score", backgrounds=str(plain), pairs=4, every=10, size=SIZE)
    return out


def pixels(path):
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1).double() / 255


def mask_at(path):
    return torch.from_numpy(read_mask(path))[None].double()


def test_metadata_lists_every_file_and_no_other(everything):
    rows = rows_of(everything)
    named = {row["file"] for row in rows} | {row["mask"] for row in rows if row["mask"]}
    assert named | {"metadata.csv", "skipped.csv", "settings.json", "contact-sheet.png"} == set(files_in(everything))
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        assert row["file"] == f"{row['kind']}/{row['foreground_class']}/{row['id']}.png"
        assert bool(row["mask"]) == (row["kind"] in SHOWN + GRIDS)
        assert Image.open(everything / row["file"]).size == (SIZE, SIZE)
        assert row["foreground"].split("/")[0] == row["foreground_class"]
    assert Counter(row["kind"] for row in rows if row["kind"] in VARIANTS) == dict.fromkeys(VARIANTS, 30)


def test_the_contact_sheet_has_a_row_of_pictures_for_every_kind(everything):
    with Image.open(everything / "contact-sheet.png") as picture:
        rows = np.asarray(picture.convert("L")).astype(int)
    height = len(rows) / len([*VARIANTS, *GRIDS])
    assert 150 < height < 300
    for number in range(len([*VARIANTS, *GRIDS])):
        row = rows[round(number * height) : round((number + 1) * height)]
        assert (row < 250).mean() > 0.3, "pictures, not paper"


def test_variants_equal_their_definition_pixel_by_pixel(everything, photos):
    images, masks = photos
    order = {name: number for number, name in enumerate(CLASSES)}
    for row in rows_of(everything):
        if row["kind"] not in VARIANTS:
            continue
        image, mask = pixels(images / row["foreground"]), mask_at(masks / row["foreground"])
        inside = (mask > 0.5).nonzero()[:, 1:]
        (top, left), (bottom, right) = inside.min(dim=0).values, inside.max(dim=0).values + 1
        expected = image.clone()
        if row["kind"] == "only-fg":
            expected = mask * image
        elif row["kind"] == "no-fg":
            expected = (1 - mask) * image
        elif row["kind"] == "only-bg-b":
            expected[:, top:bottom, left:right] = 0
        elif row["kind"] == "only-bg-t":
            expected = slowly_tiled(image, mask)
        elif row["kind"].startswith("mixed"):
            assert row["background"] != row["foreground"]
            lender = slowly_tiled(pixels(images / row["background"]), mask_at(masks / row["background"]))
            expected = mask * image + (1 - mask) * lender
            own, other = order[row["foreground_class"]], order[row["background_class"]]
            if row["kind"] != "mixed-rand":
                assert other == (own + (row["kind"] == "mixed-next")) % 3
        assert abs(pixels(everything / row["file"]) - expected).max() < 0.5 / 255, row["id"]
        if row["mask"]:
            assert torch.equal(mask_at(everything / row["mask"]), mask)
        assert float(row["inside"]) == 1


def test_backgrounds_of_other_classes_are_a_kind_of_their_own(photos, tmp_path):
    found = shifts(*photos, out=tmp_path / "o", kinds="mixed-other", size=SIZE)
    rows = rows_of(tmp_path / "o", "mixed-other")
    assert len(rows) == found.images["mixed-other"] > 0
    assert all(row["background_class"] != row["foreground_class"] for row in rows)
    assert all(row["mask"] for row in rows)


def test_copies_whose_backgrounds_an_older_version_drew_are_not_gone_on_with(photos, tmp_path):
    for kinds, is_refused in (("mixed-same,no-fg", True), ("no-fg", False)):
        out = tmp_path / str(is_refused)
        shifts(*photos, out=out, kinds=kinds, size=SIZE)
        settings = json.loads((out / "settings.json").read_text())
        settings.pop("draws", None)
        (out / "settings.json").write_text(json.dumps(settings))
        with pytest.raises(UserError, match="which drew other backgrounds") if is_refused else nullcontext():
            shifts(*photos, out=out, kinds=kinds, size=SIZE)


def test_random_backgrounds_come_from_every_class(everything):
    classes = Counter(row["background_class"] for row in rows_of(everything, "mixed-rand"))
    assert set(classes) == set(CLASSES)


def test_grids_equal_the_recipe_and_every_pair_meets_every_point(everything, photos, plain):
    images, masks = photos
    pairs = set()
    for kind in GRIDS:
        rows = rows_of(everything, kind)
        for row in rows:
            pairs.add((row["foreground"], row["background"]))
            photo = Image.open(images / row["foreground"]).convert("RGB")
            cutout = cut_out(photo, read_mask(masks / row["foreground"]))
            background = square_background(Image.open(plain / row["background"]), SIZE)
            at = Placement(*(float(row[name]) for name in ("x", "y", "area", "rotation")))
            expected, inside = place(cutout, background, at)
            assert np.array_equal(np.asarray(expected), np.asarray(Image.open(everything / row["file"])))
            assert float(row["inside"]) == pytest.approx(inside, abs=1e-4)
            assert row["background_class"] == ""
        skipped = sum(skip["kind"] == kind for skip in skips_of(everything))
        assert len(rows) + skipped == 4 * {"si-size": 10, "si-rotation": 8, "si-location": 9}[kind]
    assert len(pairs) == 4, "pairs are drawn once for all kinds"
    assert {(row["x"], row["y"]) for row in rows_of(everything, "si-location")} == {
        (x, y) for x in ("0.0", "0.5", "1.0") for y in ("0.0", "0.5", "1.0")
    }
    assert {row["rotation"] for row in rows_of(everything, "si-rotation")} == {"1", "201"}
    assert {row["area"] for row in rows_of(everything, "si-size")} <= {str(i / 100) for i in range(1, 101, 10)}


def test_masks_lie_where_the_object_was_put(everything, photos):
    for row in rows_of(everything, "si-location"):
        found = mask_at(everything / row["mask"])[0] > 0.5
        places = found.nonzero().double() + 0.5
        if row["foreground_class"] == "stripe" and row["x"] == row["y"] == "0.5":
            # A filled box: its middle and its area are those asked for, but for whole pixels.
            assert places.mean(dim=0).tolist() == pytest.approx([SIZE / 2] * 2, abs=1)
            assert float(found.double().mean()) == pytest.approx(0.2, rel=0.1)
        reach = np.sqrt(0.2) * SIZE * 2
        for axis, name in ((0, "y"), (1, "x")):
            assert abs(places[:, axis] - float(row[name]) * SIZE).max() < reach
    # Where a mask is certain, the object's bright colour is seen; where it says nothing, the background.
    for row in rows_of(everything, "si-size")[:8]:
        certain = mask_at(everything / row["mask"])[0] == 1
        assert pixels(everything / row["file"])[:, certain].min() > 0.5


def test_less_than_the_least_share_is_left_out(tmp_path, photos, plain):
    options = dict(kinds="si-location", backgrounds=str(plain), pairs=2, every=5, size=64)
    found = shifts(*photos, out=tmp_path / "most", min_inside=0.9, **options)
    rows = rows_of(tmp_path / "most")
    assert len(rows) == found.images["si-location"] == found.made
    assert min(float(row["inside"]) for row in rows) >= 0.9
    assert found.skipped == {"si-location": {"less than 90 % of the object's box lies inside": 50 - len(rows)}}
    assert len(skips_of(tmp_path / "most")) == 50 - len(rows) > 0
    everywhere = shifts(*photos, out=tmp_path / "all", **options)
    assert sum(everywhere.images.values()) + sum(everywhere.skipped["si-location"].values()) == 50
    assert min(float(row["inside"]) for row in rows_of(tmp_path / "all")) < 0.5


def test_pairs_are_even_over_classes_distinct_and_fixed_by_the_seed():
    labels = ["a"] * 2 + ["b"] * 7 + ["c"] * 3

    def fits(member, background):
        return (member + background) % 4 != 0

    pairs = draw_pairs(labels, 9, 12, 3, fits)
    assert pairs == draw_pairs(labels, 9, 12, 3, fits) != draw_pairs(labels, 9, 12, 4, fits)
    assert len(set(pairs)) == 12
    assert all(fits(*pair) for pair in pairs)
    assert Counter(labels[member] for member, _ in pairs) == {"a": 4, "b": 4, "c": 4}
    assert max(Counter(member for member, _ in pairs if labels[member] == "c").values()) == 2
    fit = {(member, other) for member in range(12) for other in range(9) if fits(member, other)}
    assert set(draw_pairs(labels, 9, 1000, 0, fits)) == fit
    assert draw_pairs(labels, 0, 5, 0, fits) == []
    firsts = Counter(draw_pairs(labels, 9, 1, seed, lambda m, b: True)[0] for seed in range(600))
    assert len(firsts) == 18
    assert max(firsts.values()) < 3 * 600 / 18


def test_backgrounds_are_other_classes_own_where_none_are_given(tmp_path, photos):
    images, masks = photos
    found = shifts(images, masks, out=tmp_path / "out", kinds=["si-size"], pairs=6, every=50, size=40)
    assert any("only-bg-t" in note for note in found.notes)
    for row in rows_of(tmp_path / "out"):
        assert row["background_class"] != row["foreground_class"]
        assert row["background"].startswith(row["background_class"])
        lender = slowly_tiled(pixels(images / row["background"]), mask_at(masks / row["background"]))
        lender = Image.fromarray((255 * lender).round().byte().permute(1, 2, 0).numpy())
        cutout = cut_out(Image.open(images / row["foreground"]), read_mask(masks / row["foreground"]))
        at = Placement(*(float(row[name]) for name in ("x", "y", "area", "rotation")))
        expected, _ = place(cutout, square_background(lender, 40), at)
        assert np.array_equal(np.asarray(expected), np.asarray(Image.open(tmp_path / "out" / row["file"])))


def test_small_backgrounds_are_enlarged_and_it_says_so(tmp_path, photos, plain):
    found = shifts(*photos, out=tmp_path / "a", kinds="si-size", backgrounds=plain, pairs=12, every=99, size=64)
    assert "Enlarged, for they are smaller than the images: 3 of 4 backgrounds." in found.notes  # 60, 50 and 30 pixels
    found = shifts(*photos, out=tmp_path / "b", kinds="si-size", backgrounds=plain, pairs=12, every=99, size=30)
    assert found.notes == []


@pytest.mark.slow
def test_other_processes_make_the_same_files_to_the_byte(tmp_path, everything, photos, plain):
    options = dict(kinds="imagenet-9,si-score", backgrounds=str(plain), pairs=4, every=10, size=SIZE)
    shifts(*photos, out=tmp_path / "out", workers=2, **options)
    assert files_in(tmp_path / "out") == files_in(everything)


def test_second_call_makes_only_what_is_missing(capsys, tmp_path, everything, photos, plain):
    out = tmp_path / "out"
    shutil.copytree(everything, out)
    before = files_in(out)
    rows = rows_of(out)
    lost = [rows[3]["file"], rows[40]["mask"], rows[-1]["file"], rows[-2]["file"], "metadata.csv"]
    for name in lost:
        (out / name).unlink()
    (out / rows[3]["file"]).with_name(f".{rows[3]['id']}.png.new").write_bytes(b"half")  # what a kill leaves
    made_anew = {Path(name).stem for name in lost}
    made_anew.add("contact-sheet")  # as the lists are, if anything was made
    kept = {n: (out / n).stat().st_mtime_ns for n in before if n.endswith(".png") and Path(n).stem not in made_anew}
    arguments = [*photos, "--out", out, "--kinds", "si-score,imagenet-9", "--backgrounds", plain, "--pairs", 4,
                 "--every", 10, "--size", SIZE]  # fmt: skip
    code, stdout, stderr = run(capsys, *arguments)
    assert (code, stderr) == (0, "")
    assert "4 of them made now" in stdout
    assert files_in(out) == before
    assert all((out / name).stat().st_mtime_ns == when for name, when in kept.items())
    assert "0 of them made now" in run(capsys, *arguments)[1]


def test_what_could_not_be_made_is_not_tried_again(tmp_path, plain):
    images, masks = write_photos(tmp_path, 1)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[0:20, 0:2] = mask[18:20, 0:20] = 255  # an L: its right upper part is empty
    for name in CLASSES:
        Image.fromarray(mask).save(masks / name / "000.png")
    options = dict(kinds="si-location", backgrounds=str(plain), pairs=3, every=20, size=64)
    found = shifts(images, masks, out=tmp_path / "out", **options)
    assert found.skipped["si-location"]["nothing of the object is to be seen"] == 3  # at the left lower corner
    assert {(row["x"], row["y"]) for row in rows_of(tmp_path / "out")} == {
        ("0.0", "0.0"),
        ("1.0", "0.0"),
        ("1.0", "1.0"),
    }
    assert len(skips_of(tmp_path / "out")) == 3
    again = shifts(images, masks, out=tmp_path / "out", **options)
    assert (again.made, again.images, again.skipped) == (0, found.images, found.skipped)


def test_evaluate_reads_every_kind_with_its_masks(capsys, everything, model_folder):
    for kind in (*VARIANTS, *GRIDS):
        arguments = ["evaluate", "--model", model_folder, "--images", everything / kind, "--swaps", 0]
        if (everything / "masks" / kind).is_dir():
            arguments += ["--masks", everything / "masks" / kind]
        code = cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        assert f"on {len(rows_of(everything, kind))} photos" in captured.out
        assert ("mIoU" in captured.out) == (kind in SHOWN + GRIDS)


def test_photos_are_cropped_to_the_middle_and_what_is_lost_is_left_out(tmp_path):
    rng = np.random.default_rng(0)
    boxes = {"in": (30, 70), "half": (0, 50), "out": (0, 20), "lost": (0, 49)}
    for name, (left, right) in boxes.items():
        for kind in ("images", "masks"):
            (tmp_path / kind / "wide").mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (50, 100, 3), dtype=np.uint8)).save(tmp_path / f"images/wide/{name}.png")
        mask = np.zeros((50, 100), np.uint8)
        mask[10:30, left:right] = 255
        Image.fromarray(mask).save(tmp_path / f"masks/wide/{name}.png")
    # The crop shows columns 25 to 75: all of "in", exactly half of "half", a little less of "lost", nothing of "out".
    found = shifts(tmp_path / "images", tmp_path / "masks", out=tmp_path / "o", kinds="original,only-bg-t", size=50)
    assert found.images == {"original": 1, "only-bg-t": 1}
    assert found.skipped["original"] == {"half or more of the object's box is lost to the crop": 3}
    row = rows_of(tmp_path / "o", "original")[0]
    photo = np.asarray(Image.open(tmp_path / "images" / row["foreground"]))
    assert row["foreground"] == "wide/in.png"
    assert np.array_equal(np.asarray(Image.open(tmp_path / "o" / row["file"])), photo[:, 25:75])


def test_photos_without_background_lend_none(tmp_path):
    images, masks = write_photos(tmp_path, 2)
    for name in ("000", "001"):
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[1:, 1:] = 255  # 96 % of the frame
        Image.fromarray(mask).save(masks / "frame" / f"{name}.png")
    found = shifts(images, masks, out=tmp_path / "o", kinds="only-bg-b,mixed-same,mixed-next,si-size", pairs=4, size=48)
    assert found.images["only-bg-b"] == 4
    assert found.images["mixed-same"] == 4
    assert found.images["mixed-next"] == 4, "disc comes before frame, which has nothing to lend"
    assert all(row["background_class"] != "frame" for row in rows_of(tmp_path / "o"))
    assert "no other photo of the class drawn has a background to lend" in found.skipped["mixed-next"]


def test_jpeg_csv_lists_and_odd_names(capsys, tmp_path, photos):
    images, masks = photos
    lines = ["image,mask,label"]
    names = {"disc": "tabby, tabby cat", "frame": "Ära № 7 'q'", "stripe": "[bold]x"}
    for name, label in names.items():
        for number in range(3):
            quoted = '"' + label.replace('"', '""') + '"'
            lines.append(f"{images / name / f'{number:03d}.png'},{masks / name / f'{number:03d}.png'},{quoted}")
    (tmp_path / "list.csv").write_text("\n".join(lines), encoding="utf-8")
    code, stdout, stderr = run(
        capsys,
        tmp_path / "list.csv",
        "--out",
        tmp_path / "o",
        "--kinds",
        "mixed-rand",
        "--format",
        "jpeg",
        "--size",
        64,
    )
    assert (code, stderr) == (0, "")
    assert "9 images" in stdout
    rows = rows_of(tmp_path / "o")
    assert {row["foreground_class"] for row in rows} == set(names.values())
    for row in rows:
        assert (tmp_path / "o" / row["file"]).suffix == ".jpg"
        assert Image.open(tmp_path / "o" / row["file"]).format == "JPEG"
        assert Image.open(tmp_path / "o" / row["mask"]).format == "PNG"
        assert (tmp_path / row["foreground"]).is_file(), "photos are named relative to the list"


def test_names_that_are_no_utf_8(capsys, tmp_path):
    images, masks = write_photos(tmp_path, 1)
    for folder in (images, masks):
        (folder / "disc" / "000.png").rename(os.fsdecode(os.fsencode(folder / "disc") + b"/caf\xe9.png"))
    assert run(capsys, images, masks, "--out", tmp_path / "o", "--kinds", "only-fg")[0] == 0
    assert rows_of(tmp_path / "o")[0]["foreground"] == "disc/caf\\udce9.png"
    for folder in (images, masks):
        (folder / "disc").rename(os.fsdecode(os.fsencode(folder) + b"/caf\xe9"))
    assert "is not UTF-8" in refused(capsys, images, masks, "--out", tmp_path / "p", "--kinds", "only-fg")


def test_dry_run_counts_and_writes_nothing(capsys, tmp_path, everything, photos, plain):
    options = ["--kinds", "imagenet-9,si-score", "--backgrounds", plain, "--pairs", 4, "--every", 10, "--size", SIZE]
    code, stdout, _ = run(capsys, *photos, "--out", tmp_path / "o", *options, "--dry-run")
    assert code == 0
    assert not (tmp_path / "o").exists()
    assert "nothing was written" in stdout
    total = len(rows_of(everything)) + sum("to be seen" in row["reason"] for row in skips_of(everything))
    assert f"{total} images would go to" in stdout
    assert "left out: less than 95 %" in stdout
    # The default: the whole grids, with 20 pairs where there are fewer classes.
    found = shifts(*photos, out=str(tmp_path / "o"), kinds="si-score", backgrounds=str(plain), dry_run=True)
    assert found.images["si-location"] == 20 * 441
    assert found.images["si-size"] + sum(found.skipped["si-size"].values()) == 20 * 100
    assert found.size > 1e9


def test_soft_and_doubtful_masks(tmp_path, photos):
    images, masks = write_photos(tmp_path, 2)
    soft = np.zeros((SIZE, SIZE), np.float32)
    soft[10:30, 10:30] = np.linspace(0.0, 1.0, 20)
    np.save(masks / "disc" / "000.npy", soft)
    (masks / "disc" / "000.png").unlink()
    np.save(masks / "frame" / "000.npy", 0.4 * soft)
    (masks / "frame" / "000.png").unlink()
    found = shifts(images, masks, out=tmp_path / "o", kinds="only-fg,si-size", pairs=2, every=30, size=SIZE)
    assert found.skipped["only-fg"] == {"no pixel of the mask is above one half": 1}
    assert found.skipped["si-size"]["no pixel of the mask is above one half"] == 1
    row = rows_of(tmp_path / "o", "only-fg")[0]
    assert row["foreground"] == "disc/000.png"
    expected = torch.from_numpy(soft)[None].double() * pixels(images / "disc" / "000.png")
    assert abs(pixels(tmp_path / "o" / row["file"]) - expected).max() <= 0.5 / 255 + 1e-6
    assert abs(read_mask(tmp_path / "o" / row["mask"]) - soft).max() < 32 / 255


def test_seed_decides(tmp_path, photos):
    def chosen(seed, name):
        shifts(*photos, out=tmp_path / name, kinds="mixed-rand,si-size", pairs=5, every=99, size=32, seed=seed)
        return [(row["id"], row["foreground"], row["background"]) for row in rows_of(tmp_path / name)]

    assert chosen(0, "a") == chosen(0, "b") != chosen(1, "c")
    assert files_in(tmp_path / "a") == files_in(tmp_path / "b")


@pytest.mark.slow
def test_killed_call_leaves_no_process_and_goes_on(tmp_path, photos, plain, server):
    arguments = [*photos, "--out", tmp_path / "o", "--kinds", "si-location", "--backgrounds", plain, "--pairs", "2",
                 "--size", "64"]  # fmt: skip
    (process,) = server.start(["shifts", *arguments, "--workers", "1"])
    assert wait_for(lambda: list((tmp_path / "o").rglob("si-location-*.png")), process), server.said()
    assert len(_alive(process)) > 1
    kill(process)
    assert server.wait() == [-signal.SIGKILL]
    assert wait_for(lambda: not _alive(process), os.getpid()), "workers must end with the process they work for"
    done = len(list((tmp_path / "o" / "si-location").rglob("[!.]*.png")))
    assert 0 < done < 2 * 441
    found = shifts(*photos, out=tmp_path / "o", kinds="si-location", backgrounds=str(plain), pairs=2, size=64)
    assert 0 < found.made <= 2 * 441 - done + 2  # a worker was between a mask and its image
    assert len(rows_of(tmp_path / "o")) == sum(found.images.values())


def _alive(group: int) -> list[int]:
    """Processes of a group that are not dead; Linux."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state, _, of = (process / "stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(of) == group and state != "Z":
            found.append(int(process.name))
    return found


def test_public_function_and_module_do_not_shadow_each_other():
    import robustvit
    import robustvit.data.shifts.shifts

    assert callable(robustvit.shifts)
    with pytest.raises(UserError, match="expected --kinds to be one of"):
        robustvit.shifts(".", ".", out="c", kinds="d")
