"""Feed the parsers with random and mutated files: each must return a result or raise UserError, nothing else.

Needs atheris (pip install atheris); ``tests/hostile/test_parser_properties.py`` drives the same functions with
hypothesis.

    python scripts/fuzz_parsers.py --seconds 60
    python scripts/fuzz_parsers.py coco yolo --seconds 600
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import inspect
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from robustvit.common.errors import UserError
from robustvit.common.yaml_files import read_mapping
from robustvit.data.find_photos import find_photos
from robustvit.data.manifest import read_manifest
from robustvit.data.mask_files import read_mask
from robustvit.data.review import read_review
from robustvit.evaluation.records.record import read_record
from robustvit.experiments.sweeps.experiment_grid import read_experiment
from robustvit.masks.annotations import read_annotations, resolve_format

__all__ = ["PARSERS", "TEMPLATES", "altered", "survives"]

HEIGHT, WIDTH = 12, 16
_SIZE = [HEIGHT, WIDTH]
_OUTLINE = [2, 2, 12, 2, 12, 9, 2, 9]
_RING = [[2, 2], [12, 2], [12, 9]]
_PACKED = {"$binary": {"base64": "eJyb7BfqGxDJyFDGUK2eklqcXKRupaBek2SorqOgnpZfVFKUmBefX5SSChJ3S8wp", "subType": "00"}}


def _studio(kind: str, **value: object) -> dict[str, Any]:
    """A result of Label Studio."""
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    return {"id": kind, "type": kind, **size, "value": {kind: ["cat"], **value}}


TEMPLATES: dict[str, Any] = {
    "coco": {
        "images": [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "annotations": [
            {"id": 7, "image_id": 1, "category_id": 3, "segmentation": [_OUTLINE], "iscrowd": 0},
            {
                "id": 8,
                "image_id": 1,
                "category_id": 3,
                "segmentation": {"size": [HEIGHT, WIDTH], "counts": [9, 3, 180]},
            },
            {"id": 9, "image_id": 1, "category_id": 3, "segmentation": {"size": _SIZE, "counts": "93d5"}},
        ],
        "categories": [{"id": 3, "name": "cat"}],
    },
    "labelme": {
        "shapes": [
            {"label": "cat", "points": [[2, 2], [12, 2], [12, 9]], "group_id": None, "shape_type": "polygon"},
            {"label": "dog", "points": [[2, 2], [4, 4]], "group_id": 1, "shape_type": "circle"},
            {"label": "dog", "points": [[2, 2], [4, 4]], "group_id": 1, "shape_type": "rectangle"},
            {"label": "cow", "points": [[2, 2], [4, 4]], "group_id": 2, "shape_type": "mask", "mask": "iVBORw0KGgo="},
        ],
        "imagePath": "a.png",
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
    },
    "label-studio": [
        {
            "id": 1,
            "data": {"image": "/data/upload/1/a.png"},
            "annotations": [
                {
                    "id": 2,
                    "was_cancelled": False,
                    "updated_at": "2026-01-01",
                    "result": [
                        _studio("polygonlabels", points=[[10, 10], [90, 10], [90, 90]]),
                        _studio("rectanglelabels", x=10, y=10, width=40, height=50, rotation=10),
                        _studio("ellipselabels", x=50, y=50, radiusX=20, radiusY=10, rotation=10),
                        _studio("brushlabels", format="rle", rle=[0, 0, 3, 0, 58, 36, 72, 24, 0, 0, 0, 0]),
                        _studio("choices", choices=["cat"]),
                    ],
                }
            ],
        }
    ],
    "supervisely": {
        "size": {"height": HEIGHT, "width": WIDTH},
        "objects": [
            {"geometryType": "polygon", "classTitle": "cat", "points": {"exterior": _RING, "interior": [_RING]}},
            {
                "geometryType": "rectangle",
                "classTitle": "cat",
                "points": {"exterior": [[1, 1], [5, 5]], "interior": []},
            },
            {"geometryType": "bitmap", "classTitle": "cat", "bitmap": {"data": "iVBORw0KGgo=", "origin": [1, 2]}},
        ],
    },
    "sa-1b": {
        "image": {"image_id": 1, "width": WIDTH, "height": HEIGHT, "file_name": "a.png"},
        "annotations": [{"id": 1, "segmentation": {"size": _SIZE, "counts": [9, 3, 180]}}],
    },
    "datumaro": {
        "categories": {"label": {"labels": [{"name": "cat"}]}},
        "items": [
            {
                "id": "a",
                "image": {"path": "a.png", "size": _SIZE},
                "annotations": [
                    {"type": "polygon", "label_id": 0, "points": _OUTLINE},
                    {"type": "mask", "label_id": 0, "rle": {"size": _SIZE, "counts": "93d5"}},
                    {"type": "bbox", "label_id": 0, "bbox": [1, 2, 3, 4], "attributes": {"rotation": 10}},
                    {"type": "ellipse", "label_id": 0, "points": [1, 2, 8, 9]},
                ],
            }
        ],
    },
    "fiftyone": {
        "samples": [
            {
                "filepath": "data/a.png",
                "metadata": {"width": WIDTH, "height": HEIGHT},
                "ground_truth": {
                    "_cls": "Detections",
                    "detections": [
                        {"_cls": "Detection", "label": "cat", "bounding_box": [0.1, 0.1, 0.5, 0.5]},
                        {"_cls": "Detection", "label": "cat", "bounding_box": [0, 0, 0.5, 1], "mask": _PACKED},
                        {"_cls": "Polyline", "closed": True, "label": "cat", "points": [[[0, 0], [1, 0], [1, 1]]]},
                        {"_cls": "Segmentation", "mask": _PACKED},
                    ],
                },
            }
        ]
    },
    "imagefolder": {
        "file_name": "a.png",
        "objects": {"bbox": [[1, 2, 3, 4]], "categories": ["cat"], "segmentation": [[_OUTLINE]]},
    },
    "record": {"robustvit_record": 1, "set": "s", "protocol": "paper", "model": {"weights": "abc"}, "samples": 1},
    "experiment": {"base": {"images": "i", "model": "m"}, "grid": {"lr": [1e-6, 2e-6], "seed": [0, 1]}},
}
_ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1, 3, 2**31, 2**63, 10**400, 0.5, -1e308, 1e308, float("nan"), float("inf"), "", "a.png", "\0",
    "../a.png", "\n", "<script>", "9" * 30, "\ud800", "x" * 300, [], {}, [[]], [1, 2], [[1, 2]],
    {"size": [1, 1], "counts": [1]},
)  # fmt: skip


def altered(content: Any, choose: Callable[[int], int], times: int = 3) -> Any:
    """Copy JSON content, with some values replaced by unusual ones or removed.

    Args:
        content: lists, dictionaries and plain values.
        choose: a number from 0 up to, without, its argument.
        times: how many places to change.
    """
    content = copy.deepcopy(content)
    for _ in range(1 + choose(times)):
        places = list(_places(content))
        if not places:
            break
        holder, key = places[choose(len(places))]
        odd = choose(len(_ODD) + 1)
        if odd == len(_ODD):
            del holder[key]
        else:
            holder[key] = copy.deepcopy(_ODD[odd])
    return content


def _places(content: Any):
    keys = content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    for key in list(keys):
        yield content, key
        yield from _places(content[key])


def _photo(folder: Path) -> Path:
    (folder / "images").mkdir()
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "images" / "a.png")
    return folder / "images"


def _read(kind: str, source: Path, images: Path) -> None:
    annotations = read_annotations(kind, source, images)
    for photo in annotations:
        try:
            objects = photo.read()
        except UserError:
            continue
        assert all(found.mask.shape == (HEIGHT, WIDTH) and np.isfinite(found.mask).all() for found in objects)
    assert all(len(line.splitlines()) == 1 for line in annotations.problems), annotations.problems


def _one_file(name: str, reader: Callable[[Path], object]) -> Callable[[bytes, Path], None]:
    def parse(data: bytes, folder: Path) -> None:
        (folder / name).write_bytes(data)
        reader(folder / name)

    return parse


def _annotations(form: str, name: str = "a.json") -> Callable[[bytes, Path], None]:
    """Write a file of annotations and a photo; the format must be told without another error, too."""

    def parse(data: bytes, folder: Path) -> None:
        (folder / name).write_bytes(data)
        with contextlib.suppress(UserError):
            resolve_format("auto", folder / name)
        _read(form, folder / name, _photo(folder))

    return parse


def _yolo(data: bytes, folder: Path) -> None:
    """Write a label file and, after a null byte, the settings of the data set."""
    (folder / "labels").mkdir()
    lines, _, settings = data.partition(b"\0")
    (folder / "labels" / "a.txt").write_bytes(lines)
    (folder / "data.yaml").write_bytes(settings)
    _read("yolo", folder, _photo(folder))


def _imagenet_s(data: bytes, folder: Path) -> None:
    """Use bytes as pixels of a mask; if there are too few, as a file."""
    images = _photo(folder)
    (folder / "masks").mkdir()
    if len(data) >= HEIGHT * WIDTH * 3:
        pixels = np.frombuffer(data[: HEIGHT * WIDTH * 3], np.uint8).reshape(HEIGHT, WIDTH, 3)
        Image.fromarray(pixels).save(folder / "masks" / "a.png")
    else:
        (folder / "masks" / "a.png").write_bytes(data)
    _read("imagenet-s", folder / "masks", images)


PARSERS: dict[str, Callable[[bytes, Path], None]] = {
    "coco": _annotations("coco"),
    "yolo": _yolo,
    "labelme": _annotations("labelme"),
    "cvat": _annotations("cvat", "a.xml"),
    "label-studio": _annotations("label-studio"),
    "supervisely": _annotations("supervisely", "a.png.json"),
    "sa-1b": _annotations("sa-1b"),
    "datumaro": _annotations("datumaro"),
    "fiftyone": _annotations("fiftyone"),
    "imagefolder": _annotations("imagefolder", "metadata.jsonl"),
    "kaggle": _annotations("kaggle", "a.csv"),
    "imagenet-s": _imagenet_s,
    "config": _one_file("o.yaml", read_mapping),
    "experiment": _one_file("e.yaml", read_experiment),
    "record": _one_file("r.json", read_record),
    "list": _one_file("l.csv", find_photos),
    "review": _one_file("v.csv", read_review),
    "manifest": _one_file("m.csv", read_manifest),
    "npy": _one_file("m.npy", read_mask),
}


def survives(name: str, data: bytes) -> bool:
    """Run a parser on a file; True if it returned a result, False if it raised UserError with one line.

    Raises:
        Exception: the parser failed with anything else: a bug.
    """
    refused = ""
    with tempfile.TemporaryDirectory() as place:
        try:
            PARSERS[name](data, Path(place))
        except UserError as error:
            refused = str(error) or "nothing said"
    if "\n" in refused or refused == "nothing said":
        raise AssertionError(f"expected a refusal in one line, got {refused!r}")
    return not refused


def _fuzz(name: str, seconds: int) -> None:
    import atheris

    # ours alone: PyTorch and the other libraries that are loaded by now would take minutes
    for module in [module for name, module in sys.modules.items() if name.startswith(("robustvit.", "yaml."))]:
        for function in vars(module).values():
            if inspect.isfunction(function) and function.__module__ == module.__name__:
                atheris.instrument_func(function)

    def once(data: bytes) -> None:
        provider = atheris.FuzzedDataProvider(data)
        if name in TEMPLATES and provider.ConsumeBool():
            content = altered(TEMPLATES[name], lambda below: provider.ConsumeIntInRange(0, below - 1))
            data = json.dumps(content).encode("utf-8", "surrogatepass")
        survives(name, data)

    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-max_len=4096", "-rss_limit_mb=4096"], once)
    atheris.Fuzz()


def main() -> int:
    """Fuzz the given parsers, or all, each in its own process: atheris exits the process when done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parsers", nargs="*", choices=[[], *PARSERS], help="all when left out")
    parser.add_argument("--seconds", type=int, default=60, help="for each")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        _fuzz(options.parsers[0], options.seconds)
        return 0
    try:
        import atheris  # noqa: F401
    except ImportError:
        print("expected atheris to fuzz with, it is not installed: pip install atheris", file=sys.stderr)
        return 2
    failed = []
    for name in options.parsers or PARSERS:
        print(f"--- {name}", flush=True)
        words = [sys.executable, __file__, name, "--seconds", str(options.seconds), "--alone"]
        if subprocess.run(words, check=False).returncode:
            failed.append(name)
    print(f"failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
