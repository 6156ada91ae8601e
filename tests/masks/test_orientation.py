"""Photos with an EXIF orientation: what the size shows is used, what it does not show is said, or asked."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from helpers.annotation_files import (
    CORNERS,
    FLAT,
    HEIGHT,
    WIDTH,
    box_mask,
    coco,
    complaints,
    labelme,
    read_coco,
    save_mask,
    save_photo,
    write_json,
)
from robustvit import make_masks
from robustvit.data.mask_files import read_mask
from robustvit.masks.annotations import read_annotations

pytest.importorskip("pycocotools.mask")


def tagged(tag: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = tag
    return exif


def photo_with_tag(path, tag: int, size=(WIDTH, HEIGHT)):
    return save_photo(path, size, exif=tagged(tag))


@pytest.mark.parametrize("tag", [2, 3, 4])
@pytest.mark.parametrize("format", ["coco", "yolo", "labelme", "binary"])
def test_turns_that_no_size_shows_are_said_in_every_reader(tmp_path, tag, format):
    photo_with_tag(tmp_path / "images" / "a.jpg", tag)
    source = tmp_path / "source"
    if format == "coco":
        source = write_json(coco(file_name="a.jpg"), source / "a.json")
    elif format == "yolo":
        source.mkdir()
        (source / "a.txt").write_text(f"0 {CORNERS}")
        (source / "classes.txt").write_text("cat")
    elif format == "labelme":
        write_json(labelme(imagePath="a.jpg"), source / "a.json")
    else:
        save_mask(box_mask(), source / "a.png")
    annotations = read_annotations(format, source, tmp_path / "images")
    assert "1 photo with an EXIF tag that turns or flips them" in complaints(annotations)
    assert "--orientation stored" in complaints(annotations)
    for said in ("upright", "stored"):
        assert not read_annotations(format, source, tmp_path / "images", said).problems


@pytest.mark.parametrize("tag", range(2, 9))
def test_masks_drawn_on_the_stored_photo_are_turned_with_it(tmp_path, tag):
    """The mask lies on the photo, as ``ImageOps.exif_transpose`` turns both."""
    photo_with_tag(tmp_path / "images" / "a.jpg", tag)
    content = coco(file_name="a.jpg")
    source = write_json(content, tmp_path / "a.json")
    (photo,) = read_annotations("coco", source, tmp_path / "images", "stored").photos
    drawn = Image.fromarray(box_mask().astype(np.uint8))
    drawn.getexif()[0x0112] = tag
    assert np.array_equal(photo.read()[0].mask, np.asarray(ImageOps.exif_transpose(drawn)))


def test_square_photos_and_missing_sizes_are_in_doubt_too(tmp_path):
    photo_with_tag(tmp_path / "images" / "a.jpg", 6, (40, 40))
    content = coco(file_name="a.jpg", height=40, width=40)
    assert "EXIF" in complaints(read_coco(content, tmp_path))
    photo_with_tag(tmp_path / "images" / "a.jpg", 6)
    content["images"] = [{"id": 1, "file_name": "a.jpg"}]
    assert "EXIF" in complaints(read_coco(content, tmp_path))


def test_a_size_that_shows_the_upright_photo_settles_the_others(tmp_path):
    photo_with_tag(tmp_path / "images" / "a.jpg", 3)
    photo_with_tag(tmp_path / "images" / "b.jpg", 6, (HEIGHT, WIDTH))  # upright: WIDTH x HEIGHT
    content = coco(file_name="a.jpg")
    content["images"].append({**content["images"][0], "id": 2, "file_name": "b.jpg"})
    content["annotations"].append({**content["annotations"][0], "id": 8, "image_id": 2})
    annotations = read_coco(content, tmp_path)
    assert len(annotations.photos) == 2
    assert complaints(annotations) == ""


def test_a_size_as_stored_names_the_option_that_reads_it(tmp_path):
    photo_with_tag(tmp_path / "images" / "a.jpg", 6)
    source = write_json(coco(file_name="a.jpg"), tmp_path / "a.json")
    annotations = read_annotations("coco", source, tmp_path / "images")
    assert not annotations.photos
    assert "its EXIF tag may turn it: say --orientation upright" in complaints(annotations)
    assert read_annotations("coco", source, tmp_path / "images", "stored").photos[0].read()[0].mask.shape == (44, 30)
    assert not read_annotations("coco", source, tmp_path / "images", "upright").photos


def test_a_mask_in_doubt_is_doubtful_until_it_is_said(tmp_path):
    photo_with_tag(tmp_path / "images" / "a.jpg", 3)
    save_photo(tmp_path / "images" / "b.jpg")
    content = coco(file_name="a.jpg")
    content["images"].append({**content["images"][0], "id": 2, "file_name": "b.jpg"})
    content["annotations"].append({**content["annotations"][0], "id": 8, "image_id": 2, "segmentation": [FLAT]})
    source, images = str(write_json(content, tmp_path / "a.json")), str(tmp_path / "images")
    made = make_masks(source, out=str(tmp_path / "m"), from_="coco", images=images)
    assert [(one.verdict, one.confidence) for one in made.records] == [("doubtful", 0), ("good", 1)]
    assert "EXIF tag" in made.records[0].reason
    said = make_masks(source, out=str(tmp_path / "s"), from_="coco", images=images, orientation="stored")
    assert [one.verdict for one in said.records] == ["good", "good"]
    assert (read_mask(tmp_path / "s" / "a.png") == box_mask()[::-1, ::-1]).all()
