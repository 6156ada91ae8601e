"""Reader of ObjectNet: the classes it shares with ImageNet, by its four mapping files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from robustvit.common.errors import UserError
from robustvit.common.options import Protocol
from robustvit.evaluation.sets.benchmark import Sample
from robustvit.evaluation.sets.class_tables import IMAGENET_CLASSES
from robustvit.evaluation.sets.folders import list_class_images

BORDER = 2  # red pixels that mark the images as a test set


def read_objectnet(folder: Path, protocol: Protocol) -> tuple[list[Sample], list[str]]:
    """Read ``images/<folder>/`` with ``mappings/`` beside it; folders without an ImageNet class are left out.

    Every ImageNet class that ObjectNet's class maps to is right; under the paper's protocol only the first.
    """
    classes, others = objectnet_classes(folder / "mappings")
    inner = folder / "images"
    if not inner.is_dir():
        raise UserError(f"expected the folder images in {folder}, found none: extract ObjectNet's archive again")
    found, problems = list_class_images(inner, [*classes, *others], "ObjectNet's folder_to_objectnet_label.json")
    samples = [
        Sample(image, classes[name][:1] if protocol == "paper" else classes[name], name)
        for name, image in found
        if name in classes
    ]
    return samples, problems


def objectnet_classes(mappings: Path) -> tuple[Mapping[str, tuple[int, ...]], list[str]]:
    """Return the ImageNet classes of ObjectNet's folders, and the folders that have none.

    The files chain: folder → ObjectNet's label (``folder_to_objectnet_label.json``) → ImageNet labels, joined by
    ``"; "`` (``objectnet_to_imagenet_1k.json``) → line, from 0 (``imagenet_to_label_2012_v2``) → index
    (``pytorch_to_imagenet_2012_id.json``, read backwards).
    """
    labels = _read_json(mappings / "folder_to_objectnet_label.json", str)
    shared = _read_json(mappings / "objectnet_to_imagenet_1k.json", str)
    text = _read_text(mappings / "imagenet_to_label_2012_v2")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    line_of = _read_json(mappings / "pytorch_to_imagenet_2012_id.json", int)
    whole = range(IMAGENET_CLASSES)
    if len(lines) != len(whole) or set(line_of) != set(map(str, whole)) or set(line_of.values()) != set(whole):
        raise UserError(
            f"expected {IMAGENET_CLASSES} ImageNet labels and as many indices in {mappings}, found {len(lines)} and "
            f"{len(line_of)}: extract ObjectNet's archive again"
        )
    index_of_line = {line: int(index) for index, line in line_of.items()}
    index = {name: index_of_line[line] for line, name in enumerate(lines)}
    classes = {}
    for folder, label in labels.items():
        if label in shared:
            names = shared[label].split("; ")
            if stranger := next((name for name in names if name not in index), None):
                raise UserError(
                    f"{mappings / 'objectnet_to_imagenet_1k.json'} names {stranger!r}, which is not a line of "
                    "imagenet_to_label_2012_v2: extract ObjectNet's archive again"
                )
            classes[folder] = tuple(index[name] for name in names)
    return dict(sorted(classes.items())), sorted(set(labels) - set(classes))


def crop_border(image: Image.Image, protocol: Protocol) -> Image.Image:
    """Cut off the red border, except under the paper's protocol."""
    if protocol == "paper" or min(image.size) <= 2 * BORDER:
        return image
    return image.crop((BORDER, BORDER, image.width - BORDER, image.height - BORDER))


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"expected ObjectNet's mapping file {path}, cannot read it: its four mapping files lie in mappings/ "
            "beside images/ in the archive; extract them too"
        ) from error


def _read_json(path: Path, kind: type) -> dict[str, Any]:
    try:
        found = json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"cannot read {path} as JSON ({error}): extract ObjectNet's archive again") from error
    if not isinstance(found, dict) or not all(isinstance(value, kind) for value in found.values()):
        raise UserError(
            f"expected a table of {kind.__name__} in {path}, found another: extract ObjectNet's archive again"
        )
    return found
