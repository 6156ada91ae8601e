"""FiftyOne's exports: a data set of its own (``samples.json``), or boxes (``labels.json``)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TypeGuard

from robustvit.common.errors import UserError
from robustvit.common.options import Orientation
from robustvit.common.wording import shown
from robustvit.masks.annotations.annotated import Annotations
from robustvit.masks.annotations.fiftyone_labels import areas_of, is_area
from robustvit.masks.annotations.files import load_json
from robustvit.masks.annotations.listing import PhotoListing
from robustvit.masks.annotations.marked import MarkedPhoto
from robustvit.masks.annotations.objects import BrokenEntry
from robustvit.masks.annotations.photo_folder import PhotoFolder
from robustvit.masks.annotations.values import as_dict, dicts_in, holds

_FILES = ("samples.json", "labels.json")


def read_fiftyone(
    source: Path, images: Path | None, orientation: Orientation | None = None, *, which: str | None = None
) -> Annotations:
    """List the photos of an export of FiftyOne; masks as ``read_annotations`` describes.

    ``source`` is the folder of the export, or the file ``samples.json`` or ``labels.json`` in it. Photos are looked up
    in ``images``, else in the folder ``data`` beside the file. ``which`` names the field to read if several mark areas.
    """
    path = find_fiftyone_file(source) if source.is_dir() else source
    content = load_json(path)
    folder = PhotoFolder.find(images, path.parent / "data", path.parent)
    listing = PhotoListing(path, orientation)
    marked: dict[str, MarkedPhoto] = {}
    for where, sample, labels, names in _samples(content, path, which):
        with listing.leaving_out(where):
            marked[where] = _photo(sample, labels, names, path.parent, listing.no_areas)
    listing.match(marked, folder)
    return listing.finish(folder.folder)


def find_fiftyone_file(folder: Path) -> Path:
    """Return the file of an export that lies in a folder."""
    found = next((folder / name for name in _FILES if (folder / name).is_file()), None)
    if found is None:
        raise UserError(f"expected {' or '.join(_FILES)} of FiftyOne in {folder}, found neither: check the path")
    return found


def is_fiftyone(content: object) -> TypeGuard[dict]:
    """Whether a JSON value is the file of a data set that FiftyOne exported, or of its boxes."""
    return holds(content, samples=list) or holds(content, classes=list, labels=dict)


def _samples(
    content: object, path: Path, which: str | None
) -> Iterator[tuple[str, dict, list[object], dict[int, str]]]:
    """Yield each sample: its name in messages, its entry, its labels and the names of its classes."""
    if not is_fiftyone(content):
        raise UserError(f"expected an export of FiftyOne in {path}, found something else: check the format")
    if "samples" not in content:
        names = dict(enumerate(map(str, content["classes"])))
        for name, labels in content["labels"].items():
            boxes: list[object] = [{"_cls": "Detection", **one} for one in dicts_in(labels)]
            yield f"labels of {shown(name)}", {"filepath": name}, boxes, names
        return
    entries = dicts_in(content["samples"])
    field = _choose_field(entries, path, which)
    names = _read_targets(path.parent / "metadata.json", field)
    for number, entry in enumerate(entries):
        yield f"sample {number} ({shown(entry.get('filepath'))})", entry, [entry.get(field)], names


def _choose_field(samples: list[dict], path: Path, which: str | None) -> str:
    fields = list(dict.fromkeys(name for one in samples for name, value in one.items() if is_area(value)))
    if which is not None and which not in fields:
        raise UserError(
            f"expected --which to name a field with areas in {path}, got {which!r}: it has {_listed(fields)}"
        )
    if len(fields) > 1 and which is None:
        raise UserError(f"several fields of {path} mark areas, {_listed(fields)}: say --which {fields[0]}")
    return which or next(iter(fields), "ground_truth")


def _listed(fields: list[str]) -> str:
    return ", ".join(map(shown, fields[:5])) or "none"


def _read_targets(path: Path, field: str) -> dict[int, str]:
    """The names of the numbers in masks, from the data set's ``metadata.json``."""
    content = as_dict(load_json(path)) if path.is_file() else {}
    places = [content, as_dict(content.get("info"))]
    named = [as_dict(one.get("mask_targets")).get(field) for one in places]
    named += [one.get("default_mask_targets") for one in places]
    targets = next((one for one in named if isinstance(one, dict)), {})
    return {int(number): str(name) for number, name in targets.items() if number.isdecimal()}


def _photo(
    sample: dict, labels: list[object], names: dict[int, str], root: Path, no_areas: Counter[str]
) -> MarkedPhoto:
    path = sample.get("filepath")
    if not isinstance(path, str) or not path:
        raise BrokenEntry("expected a filepath")
    areas = [area for label in labels for area in areas_of(label, names, root, no_areas)]
    metadata = as_dict(sample.get("metadata"))
    return MarkedPhoto(path, (metadata.get("height"), metadata.get("width")), areas, partial(json.dumps, labels))
