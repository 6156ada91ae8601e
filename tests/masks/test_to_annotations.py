"""Masks written as annotations and read again: nothing is lost as run lengths, little as polygons."""

from __future__ import annotations

import json

import numpy as np
import pytest

from helpers.annotation_files import HEIGHT, WIDTH, box_mask, iou, save_mask, save_photo
from helpers.hostile import said
from robustvit import UserError, make_masks
from robustvit.cli.main import main as cli
from robustvit.data.manifest import read_manifest
from robustvit.data.mask_files import read_mask
from robustvit.masks.annotations.shapes import Frame
from robustvit.masks.polygons import polygons_of

SIZE = 4 * HEIGHT, 4 * WIDTH


def ring() -> np.ndarray:
    """An ellipse with two holes, and a part of its own."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    mask = ((rows - 60) / 45) ** 2 + ((columns - 80) / 60) ** 2 <= 1
    mask &= ((rows - 60) / 12) ** 2 + ((columns - 60) / 15) ** 2 > 1
    mask &= ((rows - 50) / 8) ** 2 + ((columns - 100) / 9) ** 2 > 1
    mask[100:115, 150:170] = True
    return mask


@pytest.fixture
def made(tmp_path):
    """Three photos in a folder of masks: with a ring, with a whole frame, and with a box."""
    for name, mask in {"cat/a.png": ring(), "cat/b.png": np.ones(SIZE, bool), "dog/c.png": ring()[::-1]}.items():
        save_photo(tmp_path / "photos" / name, SIZE[::-1])
        save_mask((255 * mask).astype(np.uint8), tmp_path / "drawn" / name)
    return tmp_path


def again(made, form: str, read: str, suffix: str) -> dict[str, np.ndarray]:
    """Write the masks as annotations, read those, and return the masks by photo."""
    words = {"images": str(made / "photos"), "orientation": "upright"}
    done = make_masks(str(made / "drawn"), out=str(made / "one"), from_="binary", to=form, **words)
    assert str(done.annotations) in str(done)
    assert done.annotations == made / "one" / suffix
    back = make_masks(str(done.annotations), out=str(made / "two"), from_=read, **words)
    found = {str(one.image.resolve().relative_to(made / "photos")): one for one in back.records if one.mask}
    assert {one.label for one in found.values()} == {"cat", "dog"}
    return {name: read_mask(one.mask) > 0.5 for name, one in found.items()}


def test_run_lengths_lose_nothing(made):
    found = again(made, "coco", "coco", "coco.json")
    assert np.array_equal(found["cat/a.png"], ring())
    assert np.array_equal(found["dog/c.png"], ring()[::-1])
    content = json.loads((made / "one" / "coco.json").read_text())
    assert [one["file_name"] for one in content["images"]] == ["cat/a.png", "cat/b.png", "dog/c.png"]
    assert [one["area"] for one in content["annotations"]] == [int(ring().sum())] * 2
    left, top, width, height = content["annotations"][0]["bbox"]
    rows, columns = np.nonzero(ring())
    assert (left, top, left + width, top + height) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


@pytest.mark.parametrize("form", ["coco-polygons", "label-studio"])
def test_polygons_lose_little(made, form):
    name = "coco.json" if form == "coco-polygons" else "label-studio.json"
    found = again(made, form, form.removesuffix("-polygons"), name)
    assert iou(found["cat/a.png"], ring()) >= 0.98
    assert iou(found["dog/c.png"], ring()[::-1]) >= 0.98


def test_polygons_have_no_holes_and_few_points():
    outlines = polygons_of(ring())
    assert len(outlines) >= 3
    assert sum(map(len, outlines)) < 200
    assert iou(Frame(*SIZE).fill(outlines), ring()) >= 0.98
    specks = np.random.default_rng(0).random((40, 60)) < 0.3
    assert min(map(len, polygons_of(specks))) >= 3
    single = np.zeros((5, 5), bool)
    single[2, 3] = True
    assert np.array_equal(Frame(5, 5).fill(polygons_of(single)) > 0.5, single)


def test_a_second_call_writes_the_file_alone(made, capsys):
    words = ["masks", made / "drawn", "--from", "binary", "--images", made / "photos", "--out", made / "one"]
    assert cli(list(map(str, words))) == 0
    assert not (made / "one" / "coco.json").exists()
    assert cli(list(map(str, [*words, "--to", "coco"]))) == 0
    assert "0 photos done now" in capsys.readouterr().out
    assert cli(list(map(str, [*words, "--to", "coco-polygons"]))) == 0  # written there, so it may be replaced
    content = json.loads((made / "one" / "coco.json").read_text())
    content["annotations"].pop()
    (made / "one" / "coco.json").write_text(json.dumps(content))
    assert "changed since: move it away" in said(capsys, *words, "--to", "coco")
    assert json.loads((made / "one" / "coco.json").read_text()) == content
    assert "expected --to to be one of coco" in said(capsys, *words, "--to", "coc")


def test_a_doubt_lasts_until_the_outline_changes(made):
    photos = str(made / "photos")
    make_masks(str(made / "drawn"), out=str(made / "one"), from_="binary", images=photos)
    manifest = made / "one" / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("good,1.0000,,", "doubtful,0.2500,it is blurred,", 1))
    make_masks(str(made / "drawn"), out=str(made / "one"), from_="binary", images=photos, to="coco")
    source = made / "one" / "coco.json"
    make_masks(str(source), out=str(made / "two"), from_="coco", images=photos)
    first, second = [one for one in read_manifest(made / "two" / "manifest.csv") if one.mask]
    assert (first.verdict, first.reason) == ("doubtful", "it is blurred")
    assert second.verdict == "good"
    content = json.loads(source.read_text())
    content["annotations"][0]["segmentation"] = content["annotations"][1]["segmentation"]
    source.write_text(json.dumps(content))
    make_masks(str(source), out=str(made / "two"), from_="coco", images=photos)
    assert {one.verdict for one in read_manifest(made / "two" / "manifest.csv") if one.mask} == {"good"}


def test_a_mask_of_another_size_is_named(made):
    photos = str(made / "photos")
    make_masks(str(made / "drawn"), out=str(made / "one"), from_="binary", images=photos)
    save_mask((255 * box_mask()).astype(np.uint8), made / "one" / "cat" / "a.png")
    done = make_masks(str(made / "drawn"), out=str(made / "one"), from_="binary", images=photos, to="coco")
    assert any("expected the size of its photo, 120 x 176" in line for line in done.problems)
    with pytest.raises(UserError, match="--to"):
        make_masks(str(made / "drawn"), out=str(made / "one"), from_="binary", images=photos, to="yolo")
