"""Annotation files of every format as the tests write them, and plain second implementations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robustvit.common.errors import UserError
from robustvit.masks.annotations import read_annotations

mask_tools = pytest.importorskip("pycocotools.mask")


HEIGHT, WIDTH = 30, 44


DATA = Path(__file__).parents[3] / "shared" / "data"


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
    annotation = {"id": 7, "image_id": 1, "category_id": 3, "segmentation": [[*FLAT]], "iscrowd": 0}
    content = {"images": [image], "annotations": [annotation], "categories": [{"id": 3, "name": "cat"}]}
    for key, value in changes.items():
        if key in content:
            content[key] = value
        else:
            (image if key in ("file_name", "height", "width") else annotation)[key] = value
    return content


def labelme(**changes) -> dict:
    points = [[*point] for point in BOX]
    shape = {"label": "cat", "points": points, "group_id": None, "shape_type": "polygon", "flags": {}}
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


CORNERS = "0.2 0.2 0.8 0.2 0.8 0.8"
