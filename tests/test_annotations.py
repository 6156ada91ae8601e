"""Annotations of other tools: known masks written in each format come back, broken entries are named, none crashes."""

from __future__ import annotations

import base64
import copy
import io
import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robustvit.annotations import FORMATS, read_annotations
from robustvit.annotations.run_lengths import decode_run_lengths
from robustvit.errors import UserError

mask_tools = pytest.importorskip("pycocotools.mask")

HEIGHT, WIDTH = 30, 44
DATA = Path(__file__).parents[2] / "shared" / "data"
BOX = [[10, 5], [30, 5], [30, 20], [10, 20]]  # x, y
FLAT = [float(number) for point in BOX for number in point]


def box_mask() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[5:20, 10:30] = True
    return mask


def blob_mask(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((HEIGHT, WIDTH)) < 0.4


def save_photo(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT), **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "teal").save(path, **options)
    return path


def save_mask(values: np.ndarray, path: Path, palette: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    if palette:
        image.putpalette([step * 37 % 256 for step in range(768)])
    image.save(path)
    return path


def iou(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one > 0.5, other > 0.5
    return (one & other).sum() / (one | other).sum()


def inside(polygon: np.ndarray, height: int, width: int) -> np.ndarray:
    """Even-odd rule at each pixel centre, one pixel after the other."""
    mask = np.zeros((height, width), dtype=bool)
    for row in range(height):
        for column in range(width):
            x, y = column + 0.5, row + 0.5
            for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
                if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
                    mask[row, column] ^= True
    return mask


def star(seed: int, height: int, width: int, reach: float = 0.45) -> np.ndarray:
    """A random polygon that does not cross itself, ``(11, 2)`` in pixels."""
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 11))
    lengths = rng.uniform(0.5, 1, 11) * reach
    return np.stack([width * (0.5 + lengths * np.cos(angles)), height * (0.5 + lengths * np.sin(angles))], axis=1)


def coco(**changes) -> dict:
    image = {"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}
    annotation = {"id": 7, "image_id": 1, "category_id": 3, "segmentation": [FLAT], "iscrowd": 0}
    content = {"images": [image], "annotations": [annotation], "categories": [{"id": 3, "name": "cat"}]}
    for key, value in changes.items():
        if key in content:
            content[key] = value
        else:
            (image if key in ("file_name", "height", "width") else annotation)[key] = value
    return content


def labelme(**changes) -> dict:
    shape = {"label": "cat", "points": BOX, "group_id": None, "shape_type": "polygon", "flags": {}}
    content = {"version": "5.4.1", "imagePath": "a.png", "imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
    for key, value in changes.items():
        (content if key in content or key == "shapes" else shape)[key] = value
    return {"shapes": [shape], **content}


def write_json(content: object, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def read_coco(content: object, folder: Path):
    if not (folder / "images").exists():
        save_photo(folder / "images" / "a.png")
    return read_annotations("coco", write_json(content, folder / "instances.json"), folder / "images")


def read_labelme(content: object, folder: Path):
    save_photo(folder / "a.png")
    return read_annotations("labelme", write_json(content, folder / "a.json"), None)


def read_yolo(text: str, folder: Path):
    save_photo(folder / "images" / "a.png")
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "labels" / "a.txt").write_text(text)
    return read_annotations("yolo", folder, folder / "images")


def complaints(annotations) -> str:
    """All that reading every photo complains of; checks what holds for every object on the way."""
    lines = []
    for photo in annotations:
        try:
            objects = photo.read()
        except UserError as error:
            lines.append(str(error))
            continue
        assert objects
        for found in objects:
            assert found.mask.dtype == np.float32
            assert found.mask.ndim == 2
            assert 0 <= found.mask.min() <= found.mask.max() <= 1
            assert found.mask.max() > 0
    lines = annotations.problems + lines
    assert all(len(line.splitlines()) == 1 for line in lines)
    return "\n".join(lines)


def only(annotations):
    """The one object of the one photo, which has no problems."""
    (photo,) = annotations.photos
    (found,) = photo.read()
    assert annotations.problems == []
    return found


def uncompressed(mask: np.ndarray) -> dict:
    flat = mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat]).astype(int))) if flat.any() else np.array([], int)
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return {"size": list(mask.shape), "counts": counts}


def compressed(mask: np.ndarray) -> dict:
    packed = mask_tools.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": packed["counts"].decode()}


@pytest.mark.parametrize("pack", [uncompressed, compressed])
@pytest.mark.parametrize("seed", range(4))
def test_coco_run_lengths_come_back_exactly(tmp_path, pack, seed):
    mask = blob_mask(seed)
    mask[0, 0] = seed % 2
    found = only(read_coco(coco(segmentation=pack(mask), iscrowd=1), tmp_path))
    assert (found.category, found.crowd) == ("cat", True)
    assert np.array_equal(found.mask, mask)


def test_long_runs_in_text_match_pycocotools():
    mask = np.zeros((900, 700), dtype=bool)
    mask[100:800, 300:650] = True
    mask[5, 5] = mask[899, 699] = True
    packed = compressed(mask)
    assert np.array_equal(decode_run_lengths(packed, 900, 700), mask_tools.decode(packed))


def test_coco_polygons_of_one_object_are_joined(tmp_path):
    second = [2.0, 22.0, 8.0, 22.0, 8.0, 28.0, 2.0, 28.0]
    annotations = read_coco(coco(segmentation=[FLAT, second]), tmp_path)
    expected = box_mask()
    expected[22:28, 2:8] = True
    found = only(annotations)
    assert iou(found.mask, expected) > 0.95
    assert not found.crowd
    assert annotations.categories == ("cat",)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("reach", [0.45, 0.8])
def test_polygons_match_a_plain_fill(tmp_path, seed, reach):
    height, width = 60, 80
    polygon = star(seed, height, width, reach)
    save_photo(tmp_path / "images" / "a.png", (width, height))
    (photo,) = read_coco(coco(height=height, width=width, segmentation=[polygon.ravel().tolist()]), tmp_path).photos
    assert iou(photo.read()[0].mask, inside(polygon, height, width)) > 0.97  # also where the frame cuts it


def test_yolo_matches_a_plain_fill_and_takes_names(tmp_path):
    polygon = star(5, HEIGHT, WIDTH)
    shares = (polygon / (WIDTH, HEIGHT)).ravel()
    (tmp_path / "data.yaml").write_text("names: {0: dog, 1: cat}\n")
    annotations = read_yolo("1 " + " ".join(f"{share:.6f}" for share in shares) + "\n\n", tmp_path)
    found = only(annotations)
    assert found.category == "cat"
    assert annotations.categories == ("dog", "cat")
    assert iou(found.mask, inside(polygon, HEIGHT, WIDTH)) > 0.9  # 6 digits of a small photo


def test_yolo_names_from_a_list_and_numbers_without(tmp_path):
    line = "1 0.2 0.2 0.8 0.2 0.8 0.8\n"
    annotations = read_yolo(line, tmp_path)
    assert only(annotations).category == "1"
    assert annotations.categories == ("1",)
    (tmp_path / "labels" / "classes.txt").write_text("dog\ncat\n")
    assert only(read_yolo(line, tmp_path)).category == "cat"


def test_yolo_mirrors_inner_folders(tmp_path):
    for part in ("train", "val"):
        save_photo(tmp_path / "images" / part / "a.jpg")
        (tmp_path / "labels" / part).mkdir(parents=True)
        (tmp_path / "labels" / part / "a.txt").write_text("0 0.2 0.2 0.8 0.2 0.8 0.8")
    (tmp_path / "labels" / "val" / "b.txt").write_text("0 0.2 0.2 0.8 0.2 0.8 0.8")
    save_photo(tmp_path / "images" / "train" / "b.jpg")  # the label lies in val: not the same photo
    annotations = read_annotations("yolo", tmp_path, None)
    assert [photo.image.parent.name for photo in annotations] == ["train", "val"]
    assert "no photo 'val/b'" in complaints(annotations)
    assert "1 photos without labels" in complaints(annotations)


def test_yolo_empty_label_means_background(tmp_path):
    annotations = read_yolo("\n", tmp_path)
    assert annotations.photos == []
    assert annotations.problems == []


SHAPES = {
    "polygon": {},
    "rectangle": {"shape_type": "rectangle", "points": [[30, 20], [10, 5]]},
    "four corners": {"shape_type": "rectangle"},
}


@pytest.mark.parametrize("name", SHAPES)
def test_labelme_boxes(tmp_path, name):
    annotations = read_labelme(labelme(**SHAPES[name]), tmp_path)
    found = only(annotations)
    assert found.category == "cat"
    assert annotations.categories == ("cat",)
    assert iou(found.mask, box_mask()) > 0.95


def test_labelme_circle(tmp_path):
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    expected = (rows - 12) ** 2 + (columns - 20) ** 2 <= 25
    found = only(read_labelme(labelme(shape_type="circle", points=[[20, 12], [23, 16]]), tmp_path))
    assert np.array_equal(found.mask, expected)


@pytest.mark.parametrize(("left", "top"), [(10, 5), (-3, -2), (40, 25)])
def test_labelme_mask(tmp_path, left, top):
    inner = blob_mask()[:12, :9]
    stream = io.BytesIO()
    Image.fromarray(inner.astype(np.uint8)).save(stream, "PNG")
    shape = {"shape_type": "mask", "points": [[left, top], [left + 8, top + 11]]}
    found = only(read_labelme(labelme(mask=base64.b64encode(stream.getvalue()).decode(), **shape), tmp_path))
    expected = np.zeros((HEIGHT + 24, WIDTH + 24), dtype=bool)
    expected[top + 12 : top + 24, left + 12 : left + 21] = inner
    assert np.array_equal(found.mask, expected[12 : 12 + HEIGHT, 12 : 12 + WIDTH])


def test_labelme_group_is_one_object(tmp_path):
    content = labelme(group_id=4)
    part = {**content["shapes"][0], "points": [[2, 22], [8, 22], [8, 28], [2, 28]]}
    other = {**part, "group_id": None}
    content["shapes"] += [part, other]
    (photo,) = read_labelme(content, tmp_path).photos
    joined, alone = photo.read()
    assert joined.mask.sum() == box_mask().sum() + 36
    assert alone.mask.sum() == 36


def test_labelme_photo_in_another_folder(tmp_path):
    save_photo(tmp_path / "photos" / "inner" / "a.png")
    write_json(labelme(imagePath="..\\elsewhere\\a.png"), tmp_path / "json" / "a.json")
    annotations = read_annotations("labelme", tmp_path / "json", tmp_path / "photos")
    assert only(annotations).category == "cat"
    assert "no photo" in complaints(read_annotations("labelme", tmp_path / "json", None))


def class_ids() -> np.ndarray:
    ids = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    ids[5:20, 10:30] = 2
    ids[20:25, 10:30] = 1
    ids[4, 10:30] = 255
    return ids


@pytest.mark.parametrize("palette", [True, False])
@pytest.mark.parametrize("nested", [True, False])
def test_voc_ids(tmp_path, palette, nested):
    inner = "cat" if nested else "."
    save_photo(tmp_path / "images" / inner / "a.jpg")
    save_mask(class_ids(), tmp_path / "masks" / inner / "a.png", palette)
    annotations = read_annotations("voc", tmp_path / "masks", tmp_path / "images")
    (photo,) = annotations.photos
    one, two = photo.read()
    assert [one.category, two.category] == ["1", "2"]
    assert np.array_equal(one.mask, class_ids() == 1)
    assert np.array_equal(two.mask, class_ids() == 2)


@pytest.mark.parametrize("names", ["labelmap.txt", "classes.txt"])
def test_voc_names(tmp_path, names):
    save_photo(tmp_path / "images" / "a.jpg")
    save_mask(class_ids(), tmp_path / "masks" / "a.png", palette=True)
    lines = ["# label:color_rgb:parts:actions", "background:0,0,0::", "ant:1,2,3::", "bee:9,9,9::"]
    (tmp_path / names).write_text("\n".join(lines) if names == "labelmap.txt" else "ant\nbee")
    annotations = read_annotations("voc", tmp_path / "masks", tmp_path / "images")
    assert annotations.categories == ("ant", "bee")
    assert [found.category for found in annotations.photos[0].read()] == ["ant", "bee"]


def test_voc_colours_by_label_map(tmp_path):
    save_photo(tmp_path / "images" / "a.jpg")
    colours = np.array([[0, 0, 0], [1, 2, 3], [9, 9, 9], [7, 7, 7]], dtype=np.uint8)
    save_mask(colours[class_ids().clip(0, 3)], tmp_path / "masks" / "a.png")
    with pytest.raises(UserError, match="found colours"):
        read_annotations("voc", tmp_path / "masks", tmp_path / "images").photos[0].read()
    (tmp_path / "masks" / "labelmap.txt").write_text("background:0,0,0::\nant:1,2,3::\nbee:9,9,9::\n")
    annotations = read_annotations("voc", tmp_path / "masks", tmp_path / "images")
    masks = {found.category: found.mask for found in annotations.photos[0].read()}
    assert np.array_equal(masks["bee"], class_ids() == 2)
    assert set(masks) == {"ant", "bee"}
    assert "1 colours that labelmap.txt does not name" in complaints(annotations)


def test_imagenet_s_ids(tmp_path):
    save_photo(tmp_path / "images" / "n01" / "a.jpg")
    ids = np.zeros((HEIGHT, WIDTH), dtype=np.int64)
    ids[5:20, 10:30], ids[0, :], ids[1, :] = 300, 1000, 7
    channels = np.stack([ids % 256, ids // 256, 0 * ids], axis=-1).astype(np.uint8)
    save_mask(channels, tmp_path / "masks" / "n01" / "a.png")
    (photo,) = read_annotations("imagenet-s", tmp_path / "masks", tmp_path / "images").photos
    low, high = photo.read()
    assert [low.category, high.category] == ["7", "300"]
    assert np.array_equal(high.mask, ids == 300)


@pytest.mark.parametrize("kind", ["npy", "8 bits", "16 bits"])
@pytest.mark.parametrize("format", ["soft", "grey", "binary"])
def test_plain_masks(tmp_path, kind, format):
    save_photo(tmp_path / "images" / "a.jpg")
    soft = np.random.default_rng(0).random((HEIGHT, WIDTH)).astype(np.float32)
    soft[0, 0], soft[0, 1] = 1, 0
    path = tmp_path / "masks" / "a.npy"
    path.parent.mkdir()
    if kind == "npy":
        np.save(path, soft)
    elif kind == "8 bits":
        save_mask((255 * soft).round().astype(np.uint8), path.with_suffix(".png"))
    else:
        save_mask((65535 * soft.astype(float)).round().astype(np.uint16), path.with_suffix(".png"))
    found = only(read_annotations(format, tmp_path / "masks", tmp_path / "images"))
    assert found.category is None
    if format == "binary":
        doubtful = abs(soft - 0.5) < 0.01
        assert np.array_equal(found.mask[~doubtful], (soft >= 0.5)[~doubtful])
        assert set(np.unique(found.mask)) == {0, 1}
    else:
        assert np.abs(found.mask - soft).max() < (1e-6 if kind == "npy" else 0.6 / 255)


def test_size_is_the_upright_one(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save_photo(tmp_path / "images" / "a.jpg", (HEIGHT, WIDTH), exif=exif)
    assert np.array_equal(only(read_coco(coco(file_name="a.jpg"), tmp_path)).mask, box_mask())
    lying = read_coco(coco(file_name="a.jpg", height=WIDTH, width=HEIGHT), tmp_path)
    assert "EXIF" in complaints(lying)


def test_coco_looks_by_path_then_by_name(tmp_path):
    for folder in ("one", "two"):
        save_photo(tmp_path / "images" / folder / "a.png")
    save_photo(tmp_path / "images" / "two" / "b.png")
    (photo,) = read_coco(coco(file_name="two/a.png"), tmp_path).photos
    assert photo.image.parent.name == "two"
    (photo,) = read_coco(coco(file_name="other\\b.png"), tmp_path).photos
    assert photo.image.name == "b.png"
    assert "several photos could be 'a.png'" in complaints(read_coco(coco(), tmp_path))


def test_one_broken_object_leaves_the_others(tmp_path):
    content = coco()
    broken = {**content["annotations"][0], "id": 8, "segmentation": {"size": [3, 3], "counts": [9]}}
    content["annotations"].append(broken)
    annotations = read_coco(content, tmp_path)
    (photo,) = annotations.photos
    assert len(photo.read()) == 1
    assert len(photo.read()) == 1
    assert len(annotations.problems) == 1  # said once
    assert "a.png: annotation 8: run lengths of size 3 x 3" in annotations.problems[0]


RUNS = {"size": [HEIGHT, WIDTH]}
ENTRY = coco()["images"][0]
BAD_COCO = {
    "wrong photo size": (coco(height=31), "30 x 44 pixels (height x width), the annotation says 31 x 44"),
    "huge": (coco(height=10**6, width=10**6), "too large"),
    "negative size": (coco(height=-30), "above 0"),
    "boolean size": (coco(height=True), "above 0"),
    "no file name": (coco(file_name=None), "file_name"),
    "no photo": (coco(file_name="b.png"), "image id 1: no photo 'b.png'"),
    "path out": (coco(file_name="../../../etc/hostname"), "no photo"),
    "long name": (coco(file_name="n" * 5000), "no photo"),
    "null in name": (coco(file_name="a\0.png\n"), "no photo"),
    "same id twice": (coco(images=[ENTRY, ENTRY]), "image id 1 is listed twice"),
    "same file twice": (coco(images=[ENTRY, {**ENTRY, "id": 2}]), "is listed twice: image id 1 has it"),
    "image without id": (coco(images=[{"file_name": "a.png"}, 3]), "expected an id"),
    "unknown image": (coco(image_id=9), "annotation 7: unknown image id 9"),
    "unknown category": (coco(category_id=[1]), "unknown category id a list"),
    "categories broken": (coco(categories=[{"id": 3}, 4]), "expected an id and a name"),
    "category twice": (coco(categories=[{"id": 3, "name": "cat"}] * 2), "category id 3 is listed twice"),
    "annotation broken": (coco(annotations=[None]), "annotation number 0"),
    "unused photo": (coco(annotations=[]), "1 photos"),
    "empty": (coco(segmentation=[]), "annotation 7: empty segmentation"),
    "flat list": (coco(segmentation=FLAT), "neither a list of polygons"),
    "text": (coco(segmentation="abc"), "neither a list of polygons"),
    "two points": (coco(segmentation=[FLAT[:4]]), "polygon of 2 points"),
    "odd": (coco(segmentation=[FLAT[:7]]), "odd number"),
    "one part odd": (coco(segmentation=[FLAT, FLAT[:7]]), "this part is left out"),
    "nan": (coco(segmentation=[[float("nan"), *FLAT[1:]]]), "NaN"),
    "very large": (coco(segmentation=[[10**400, *FLAT[1:]]]), "NaN or infinite"),
    "words": (coco(segmentation=[["1", *FLAT[1:]]]), "not a list of numbers"),
    "outside": (coco(segmentation=[[-5.0, *FLAT[1:]]]), "polygon outside the frame: 1 of 4 points"),
    "far outside": (coco(segmentation=[[1e308, *FLAT[1:]]]), "polygon outside the frame: 1 of 4 points"),
    "all outside": (coco(segmentation=[[100 + number for number in FLAT]]), "covers no pixel"),
    "tangled": (coco(segmentation=[[0.0, 0.0, 44.0, 30.0] * 120_000]), "tangled"),
    "run size": (coco(segmentation={"size": [WIDTH, HEIGHT], "counts": [1320]}), "run lengths of size 44 x 30"),
    "run size odd": (coco(segmentation={"size": 4, "counts": [1320]}), "run lengths of size 4 "),
    "run sum": (coco(segmentation={**RUNS, "counts": [10, 20]}), "sum to 30, not to 30 x 44 = 1320"),
    "run huge": (coco(segmentation={**RUNS, "counts": [10**4200] * 3}), "sum to a huge number"),
    "run negative": (coco(segmentation={**RUNS, "counts": [1330, -10]}), "negative"),
    "run none": (coco(segmentation={**RUNS, "counts": None}), "neither a list"),
    "run nothing": (coco(segmentation={**RUNS, "counts": [1320]}), "cover no pixel"),
    "run text": (coco(segmentation={**RUNS, "counts": "\u00e9\u00e9"}), "not packed"),
    "run endless": (coco(segmentation={**RUNS, "counts": "o" * 50}), "not packed"),
    "run cut off": (coco(segmentation={**RUNS, "counts": "oo"}), "cut off"),
}


@pytest.mark.parametrize("name", BAD_COCO)
def test_broken_coco_is_named(tmp_path, name):
    content, words = BAD_COCO[name]
    assert words in complaints(read_coco(content, tmp_path))


NOT_COCO = {
    "list": ([], "a list of results"),
    "number": (3, "something else"),
    "lacking": ({"images": []}, "no list of annotations or categories"),
    "labelme": (labelme(), "read it as labelme"),
    "yolo": ({"names": []}, "as yolo"),
}


@pytest.mark.parametrize("name", NOT_COCO)
def test_json_that_is_not_coco(tmp_path, name):
    content, words = NOT_COCO[name]
    with pytest.raises(UserError, match=words):
        read_coco(content, tmp_path)


@pytest.mark.parametrize("text", ["{", "", "[" * 100_000, "\xff", "1" * 5000, '{"a": \n\n x}'])
def test_text_that_is_not_json(tmp_path, text):
    save_photo(tmp_path / "a.png")
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match="cannot read") as caught:
        read_annotations("coco", tmp_path / "a.json", tmp_path)
    assert "\n" not in str(caught.value)
    assert "cannot read" in complaints(read_annotations("labelme", tmp_path, None))


CORNERS = "0.2 0.2 0.8 0.2 0.8 0.8"
BAD_YOLO = {
    "box": ("0 0.5 0.5 0.2 0.2", "a.txt line 1: a box, not an outline"),
    "second line": (f"0 {CORNERS}\n0 0.5 0.5 0.2 0.2", "a.txt line 2: a box"),
    "outside": ("0 -0.2 0.2 0.8 0.2 0.8 0.8", "a.txt line 1: polygon outside the frame: 1 of 3"),
    "far": ("0 1e308 0.2 0.8 0.2 0.8 0.8", "polygon outside the frame: 1 of 3"),
    "odd": (f"0 {CORNERS} 0.5", "odd number"),
    "garbage": (f"0 {CORNERS} x y", "expected numbers"),
    "nan": ("0 nan 0.2 0.8 0.2 0.8 0.8", "NaN"),
    "class": (f"cat {CORNERS}", "the number of a class, found 'cat'"),
    "negative class": (f"-1 {CORNERS}", "the number of a class"),
    "only a class": ("0", "polygon of 0 points"),
    "nothing covered": ("0 0.5 0.5 0.5 0.5 0.5 0.5", "covers no pixel"),
}


@pytest.mark.parametrize("name", BAD_YOLO)
def test_broken_yolo_is_named(tmp_path, name):
    text, words = BAD_YOLO[name]
    assert words in complaints(read_yolo(text, tmp_path))


def test_yolo_slightly_outside_is_rounding(tmp_path):
    assert read_yolo("0 -0.0000005 0.2 1.0000005 0.2 0.8 0.8", tmp_path).problems == []


def test_yolo_files_that_do_not_match(tmp_path):
    read_yolo(f"5 {CORNERS}", tmp_path)
    (tmp_path / "labels" / "b.txt").write_text(f"0 {CORNERS}")
    (tmp_path / "labels" / "c.txt").write_bytes(b"\xff\xfe\xff")
    for name in ("a.jpg", "c.jpg", "d.jpg"):
        save_photo(tmp_path / "images" / name)
    found = complaints(read_annotations("yolo", tmp_path, tmp_path / "images"))
    assert "several photos could be 'a': a.jpg and a.png" in found
    assert "b.txt: no photo 'b'" in found
    assert "c.txt: expected text" in found
    assert "photos without labels" in found
    (tmp_path / "images" / "a.jpg").unlink()
    (tmp_path / "data.yml").write_text("names: [cat, {a: b}]")
    found = complaints(read_annotations("yolo", tmp_path, tmp_path / "images"))
    assert "class 5 has no name" in found
    assert "expected a number and a name" in found
    (tmp_path / "data.yaml").write_text("names: [cat")
    assert "data.yaml: expected class names" in complaints(read_annotations("yolo", tmp_path, tmp_path / "images"))


BAD_LABELME = {
    "line": (labelme(shape_type="line"), "shape 0 ('cat'): a shape of type 'line' is no area"),
    "type": (labelme(shape_type=["x"]), "a shape of type a list"),
    "two points": (labelme(points=BOX[:2]), "polygon of 2 points"),
    "three numbers": (labelme(points=[[1, 2, 3]] * 4), "expected points"),
    "words": (labelme(points=[["1", 2]] * 4), "not a list of numbers"),
    "no points": (labelme(points=None), "expected points"),
    "circle of one point": (labelme(shape_type="circle", points=[[1, 2]]), "expected 2 points"),
    "circle nan": (labelme(shape_type="circle", points=[[1, float("nan")], [1, 2]]), "NaN"),
    "circle outside": (labelme(shape_type="circle", points=[[900, 900], [901, 900]]), "covers no pixel"),
    "mask without image": (labelme(shape_type="mask"), "without its image"),
    "mask broken": (labelme(shape_type="mask", mask="abcd"), "broken"),
    "mask not base64": (labelme(shape_type="mask", mask="\u00e9"), "broken"),
    "outside": (labelme(points=[[-4, 5], *BOX[1:]]), "polygon outside the frame: 1 of 4 points"),
    "label": (labelme(label=None), "expected a label"),
    "shape": (labelme(shapes=[3]), "shape 0: expected a shape"),
    "size": (labelme(imageHeight=31), "the annotation says 31 x 44"),
    "image path": (labelme(imagePath=5), "expected an imagePath"),
    "no photo": (labelme(imagePath="b.png"), "no photo 'b.png'"),
    "not a photo": (labelme(imagePath="a.json"), "not an image"),
    "coco": (coco(), "read it as coco"),
    "list": ([1], "expected LabelMe"),
}


@pytest.mark.parametrize("name", BAD_LABELME)
def test_broken_labelme_is_named(tmp_path, name):
    content, words = BAD_LABELME[name]
    found = complaints(read_labelme(content, tmp_path))
    assert words in found
    assert "a.json" in found or "a.png" in found


def test_two_labelme_files_for_one_photo(tmp_path):
    write_json(labelme(), tmp_path / "b.json")
    read_labelme(labelme(), tmp_path)
    assert "listed twice" in complaints(read_annotations("labelme", tmp_path, None))


def test_masks_that_do_not_match(tmp_path):
    for name in ("a", "b", "c", "d", "e"):
        save_photo(tmp_path / "images" / f"{name}.jpg")
    masks = tmp_path / "masks"
    save_mask(class_ids().T.copy(), masks / "a.png")
    save_mask(0 * class_ids(), masks / "b.png")
    save_mask(class_ids(), masks / "z.png")
    save_mask(class_ids(), masks / "c.png")
    np.save(masks / "c.npy", np.ones((HEIGHT, WIDTH)))
    np.save(masks / "d.npy", np.ones((WIDTH, HEIGHT)))
    found = complaints(read_annotations("grey", masks, tmp_path / "images"))
    assert "a.png: the mask has 44 x 30 pixels" in found
    assert "b.png: no pixel is on an object" in found
    assert "z.png: no photo 'z'" in found
    assert "c.npy has it already" in found
    assert "d.npy: the mask has 44 x 30 pixels" in found
    assert "1 photos without a mask, the first is" in found


def test_masks_of_another_coding(tmp_path):
    save_photo(tmp_path / "images" / "a.jpg")
    grey = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint8)
    save_mask(grey, tmp_path / "masks" / "a.png")
    assert "is it a grey mask?" in complaints(read_annotations("voc", tmp_path / "masks", tmp_path / "images"))
    assert "ImageNet-S" in complaints(read_annotations("imagenet-s", tmp_path / "masks", tmp_path / "images"))


def test_what_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"expected an annotation format out of coco.*did you mean coco"):
        read_annotations("Cocoo", tmp_path, tmp_path)
    for name in FORMATS:
        with pytest.raises(UserError, match="expected"):
            read_annotations(name, tmp_path / "nowhere", tmp_path)
        with pytest.raises(UserError, match="expected"):
            read_annotations(name, tmp_path, tmp_path)
    content = write_json(coco(), tmp_path / "a.json")
    with pytest.raises(UserError, match="expected a folder of photos"):
        read_annotations("coco", content, None)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_text("no photo")
    assert "not an image" in complaints(read_annotations("coco", content, tmp_path / "images"))


def test_without_pycocotools(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    with pytest.raises(UserError, match="pip install pycocotools"):
        read_coco(coco(), tmp_path)


def test_linked_folders_are_walked_once(tmp_path):
    save_photo(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "train").symlink_to(tmp_path / "elsewhere")
    assert only(read_coco(coco(), tmp_path)).category == "cat"


JUNK = (None, True, -1, 0, 1e308, float("nan"), float("inf"), 10**30, "", "a.png", "\ud800\n", [], {}, [[1, 2]], [0, 1])


def mutate(node, rng: random.Random):
    """Change one place of a JSON value: replace, drop or double it."""
    if isinstance(node, (dict, list)) and node and rng.random() < 0.95:
        key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        kind = rng.random()
        if kind < 0.75:
            node[key] = mutate(node[key], rng)
        elif kind < 0.9:
            del node[key]
        elif isinstance(node, list):
            node.append(copy.deepcopy(node[key]))
        return node
    return copy.deepcopy(rng.choice(JUNK))


def rich_coco() -> dict:
    content = coco()
    for number, segmentation in enumerate((uncompressed(blob_mask()), compressed(blob_mask()), [FLAT, FLAT])):
        content["annotations"].append({**content["annotations"][0], "id": number, "segmentation": segmentation})
    return content


def rich_labelme() -> dict:
    content = labelme()
    stream = io.BytesIO()
    Image.fromarray(blob_mask()).save(stream, "PNG")
    extra = (
        {"shape_type": "circle", "points": [[20, 12], [23, 16]]},
        {"shape_type": "rectangle", "points": BOX[::2]},
        {"shape_type": "mask", "points": BOX[::2], "mask": base64.b64encode(stream.getvalue()).decode()},
    )
    content["shapes"] += [{**content["shapes"][0], **shape} for shape in extra]
    return content


@pytest.mark.parametrize(("read", "rich"), [(read_coco, rich_coco), (read_labelme, rich_labelme)])
def test_random_changes_of_json_never_crash(tmp_path, read, rich):
    rng = random.Random(0)
    usable = 0
    for _ in range(300):
        content = rich()
        for _ in range(rng.randint(1, 3)):
            content = mutate(content, rng)
        try:
            annotations = read(content, tmp_path)
        except UserError:
            continue
        complaints(annotations)
        usable += bool(annotations.photos)
    assert usable > 50


def test_random_changes_of_text_never_crash(tmp_path):
    rng = random.Random(0)
    for _ in range(300):
        text = list(f"0 {CORNERS}\n1 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5\n")
        for _ in range(rng.randint(1, 6)):
            text[rng.randrange(len(text))] = rng.choice(
                ["", " ", "\n", "-", "e9", "9", ".", "x", "nan", "inf", "\x00", "é"]
            )
        (tmp_path / "data.yaml").write_text("".join(text) if rng.random() < 0.3 else "names: [a, b]")
        complaints(read_yolo("".join(text), tmp_path))
        packed = {"size": [HEIGHT, WIDTH], "counts": "".join(rng.choices([chr(code) for code in range(40, 120)], k=9))}
        complaints(read_coco(coco(segmentation=packed), tmp_path / "coco"))


def test_coco128_whole():
    if not (DATA / "coco128-polygons").is_dir():
        pytest.skip("needs shared/data/coco128-polygons")
    annotations = read_annotations("yolo", DATA / "coco128-polygons", None)
    assert len(annotations.photos) == 63  # of 64: one label file has no photo, one photo has no label file
    assert sum(len(photo.read()) for photo in annotations) == 542
    assert len(annotations.problems) == 2


def test_voc_animals_whole():
    if not (DATA / "voc-animals").is_dir():
        pytest.skip("needs shared/data/voc-animals")
    train = DATA / "voc-animals" / "train"
    annotations = read_annotations("voc", train / "masks", train / "images")
    assert len(annotations.photos) == 150
    assert annotations.problems == []
    found = {found.category for photo in annotations for found in photo.read()}
    assert {"8", "10", "12", "13", "17"} <= found  # cat, cow, dog, horse, sheep
    assert found <= {str(number) for number in range(1, 21)}
