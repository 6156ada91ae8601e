"""Files of annotation tools as the tests write them: one photo ``a.png`` in which a box is marked as a cat."""

from __future__ import annotations

import base64
import csv
import io
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from helpers.annotation_files import BOX, FLAT, HEIGHT, WIDTH, box_mask, compressed, save_mask, save_photo, write_json

SHARES = [[x / WIDTH, y / HEIGHT] for x, y in BOX]
PERCENT = [[100 * x, 100 * y] for x, y in SHARES]


def cvat(*shapes: str, name: str = "a.png") -> str:
    """An export of CVAT for images with these shapes, or a polygon."""
    points = ";".join(f"{x},{y}" for x, y in BOX)
    inner = "".join(shapes) or f'<polygon label="cat" source="manual" occluded="0" points="{points}" z_order="0"/>'
    labels = "<meta><task><labels><label><name>cat</name></label><label><name>dog</name></label></labels></task></meta>"
    image = f'<image id="0" name="{name}" width="{WIDTH}" height="{HEIGHT}">{inner}</image>'
    return f'<?xml version="1.0"?><annotations><version>1.1</version>{labels}{image}</annotations>'


def by_rows(mask: np.ndarray) -> list[int]:
    """Lengths of runs along the rows, background first."""
    counts, value = [0], False
    for pixel in mask.reshape(-1):
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


def studio(kind: str, labels: tuple[str, ...] = ("cat",), **value: object) -> dict:
    """A result of Label Studio."""
    return {
        "id": f"r-{kind}", "type": kind, "from_name": "label", "to_name": "image", "image_rotation": 0,
        "original_width": WIDTH, "original_height": HEIGHT, "value": {kind: list(labels), **value},
    }  # fmt: skip


def studio_task(*results: dict, name: str = "/data/upload/3/a.png", **further: object) -> dict:
    """A task of Label Studio with one annotation."""
    done = {"id": 5, "was_cancelled": False, "ground_truth": False, "updated_at": "2026-01-02", "result": list(results)}
    return {"id": 1, "data": {"image": name}, "annotations": [done], "predictions": [], **further}


def packed_png(inner: np.ndarray) -> str:
    """A mask as Supervisely packs it: a PNG with a palette, in zlib, in base64."""
    stream = io.BytesIO()
    image = Image.fromarray(inner.astype(np.uint8))
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(stream, "PNG", transparency=0)
    return base64.b64encode(zlib.compress(stream.getvalue())).decode()


def packed_array(values: np.ndarray) -> dict:
    """An array as FiftyOne packs it: NumPy's format, in zlib, in base64."""
    stream = io.BytesIO()
    np.save(stream, values)
    return {"$binary": {"base64": base64.b64encode(zlib.compress(stream.getvalue())).decode(), "subType": "00"}}


def supervisely(*objects: dict) -> dict:
    """Supervisely's annotation of a photo, with these objects, or a polygon; its points are pixels."""
    exterior = [[10, 5], [29, 5], [29, 19], [10, 19]]
    polygon = {"geometryType": "polygon", "classTitle": "cat", "points": {"exterior": exterior, "interior": []}}
    return {"tags": [], "size": {"height": HEIGHT, "width": WIDTH}, "objects": list(objects) or [polygon]}


def sa1b(*masks: np.ndarray) -> dict:
    """SA-1B's annotation of a photo with these masks."""
    entries = [{"id": number, "segmentation": compressed(mask)} for number, mask in enumerate(masks)]
    return {"image": {"image_id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}, "annotations": entries}


def datumaro(*entries: dict) -> dict:
    """A part of a set in Datumaro's format, with these annotations, or a polygon."""
    found = list(entries) or [{"id": 0, "type": "polygon", "label_id": 0, "points": FLAT, "attributes": {}, "group": 0}]
    labels = {"labels": [{"name": "cat", "parent": "", "attributes": []}]}
    item = {"id": "a", "annotations": found, "image": {"path": "a.png", "size": [HEIGHT, WIDTH]}}
    return {"infos": {}, "categories": {"label": labels}, "items": [item]}


def fiftyone(**fields: dict) -> dict:
    """A data set of FiftyOne with these fields, or detections with a mask."""
    box = [10 / WIDTH, 5 / HEIGHT, 20 / WIDTH, 15 / HEIGHT]
    one = {"_cls": "Detection", "label": "cat", "bounding_box": box, "mask": packed_array(np.ones((15, 20), bool))}
    found = fields or {"ground_truth": {"_cls": "Detections", "detections": [one]}}
    sample = {"filepath": "data/a.png", "metadata": {"width": WIDTH, "height": HEIGHT}, "_media_type": "image"}
    return {"samples": [sample | found]}


def runs_of(mask: np.ndarray, along_rows: bool = False) -> str:
    """Kaggle's pairs of a start, from 1, and a length; one pixel after the other."""
    pairs: list[list[int]] = []
    for number, pixel in enumerate((mask if along_rows else mask.T).reshape(-1), 1):
        if pixel and pairs and sum(pairs[-1]) == number:
            pairs[-1][1] += 1
        elif pixel:
            pairs.append([number, 1])
    return " ".join(str(number) for pair in pairs for number in pair)


def write_csv(path: Path, *rows: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def _write_cvat(root: Path) -> Path:
    save_photo(root / "images" / "a.png")
    (root / "annotations.xml").write_text(cvat())
    return root


def _write_label_studio(root: Path) -> Path:
    save_photo(root / "photos" / "a.png")
    return write_json([studio_task(studio("polygonlabels", points=PERCENT, closed=True))], root / "project.json")


def _write_supervisely(root: Path) -> Path:
    save_photo(root / "set" / "img" / "a.png")
    write_json({"classes": []}, root / "meta.json")
    write_json(supervisely(), root / "set" / "ann" / "a.png.json")
    return root


def _write_sa1b(root: Path) -> Path:
    save_photo(root / "a.png")
    write_json(sa1b(box_mask()), root / "a.json")
    return root


def _write_datumaro(root: Path) -> Path:
    save_photo(root / "images" / "train" / "a.png")
    write_json(datumaro(), root / "annotations" / "train.json")
    return root


def _write_fiftyone(root: Path) -> Path:
    save_photo(root / "data" / "a.png")
    write_json(fiftyone(), root / "samples.json")
    return root


def _write_image_folder(root: Path) -> Path:
    save_photo(root / "train" / "a.png")
    save_mask((255 * box_mask()).astype(np.uint8), root / "train" / "masks" / "a.png")
    write_csv(
        root / "train" / "metadata.csv", ["file_name", "mask_file_name", "label"], ["a.png", "masks/a.png", "cat"]
    )
    return root


def _write_kaggle(root: Path) -> Path:
    save_photo(root / "train_images" / "a.png")
    return write_csv(root / "train.csv", ["ImageId", "EncodedPixels", "label"], ["a", runs_of(box_mask()), "cat"])


def _write_voc(root: Path) -> Path:
    save_photo(root / "JPEGImages" / "a.png")
    save_mask(box_mask().astype(np.uint8), root / "SegmentationClass" / "a.png")
    (root / "labelmap.txt").write_text("background:0,0,0::\ncat:128,0,0::\n")
    return root


def _write_roboflow_coco(root: Path) -> Path:
    for part in ("train", "valid"):
        image = {"id": 0, "file_name": f"{part}.png", "height": HEIGHT, "width": WIDTH}
        entry = {"id": 0, "image_id": 0, "category_id": 1, "segmentation": [FLAT], "iscrowd": 0}
        save_photo(root / part / image["file_name"])
        categories = [{"id": 0, "name": "things"}, {"id": 1, "name": "cat"}]
        content = {"images": [image], "annotations": [entry], "categories": categories}
        write_json(content, root / part / "_annotations.coco.json")
    return root


def _write_roboflow_masks(root: Path) -> Path:
    save_photo(root / "train" / "a.png")
    save_mask(box_mask().astype(np.uint8), root / "train" / "a_mask.png")
    (root / "train" / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, cat\n")
    return root


def _write_ultralytics(root: Path) -> Path:
    save_photo(root / "images" / "train" / "a.png")
    line = " ".join(str(number) for point in SHARES for number in point)
    (root / "labels" / "train").mkdir(parents=True)
    (root / "labels" / "train" / "a.txt").write_text(f"0 {line}\n")
    (root / "data.yaml").write_text(f"path: {root}\ntrain: images/train\nval: images/train\nnames: {{0: cat}}\n")
    return root


# The format that each is told to be, how it is written, and whether the photos must be named.
TOOLS: dict[str, tuple[str, Callable[[Path], Path], str | None]] = {
    "cvat": ("cvat", _write_cvat, None),
    "label studio": ("label-studio", _write_label_studio, "photos"),
    "supervisely": ("supervisely", _write_supervisely, None),
    "sa-1b": ("sa-1b", _write_sa1b, None),
    "datumaro": ("datumaro", _write_datumaro, None),
    "fiftyone": ("fiftyone", _write_fiftyone, None),
    "image folder": ("imagefolder", _write_image_folder, None),
    "kaggle": ("kaggle", _write_kaggle, None),
    "voc": ("voc", _write_voc, None),
    "roboflow coco": ("coco", _write_roboflow_coco, None),
    "roboflow masks": ("voc", _write_roboflow_masks, None),
    "ultralytics": ("yolo", _write_ultralytics, None),
}


def write_tool(name: str, root: Path) -> tuple[Path, Path | None]:
    """Write the files of a tool; return its annotations, and the folder of photos if it must be named."""
    _, write, photos = TOOLS[name]
    source = write(root)
    return source, None if photos is None else root / photos
