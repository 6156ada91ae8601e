"""Masks written as annotations, to be corrected in CVAT or Label Studio and read again."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.common.files import read_json, write_json
from robustvit.common.options import AnnotationTarget
from robustvit.common.progress import track
from robustvit.data.manifest import MaskRecord
from robustvit.data.mask_files import read_mask
from robustvit.masks.annotation_writers import CocoWriter, LabelStudioWriter, WrittenMask
from robustvit.masks.annotations.kept_verdicts import digest_json
from robustvit.masks.annotations.orientation import upright_size

_NAMES: dict[AnnotationTarget, str] = {
    "coco": "coco.json",
    "coco-polygons": "coco.json",
    "label-studio": "label-studio.json",
}
_DIGEST = "digest"


def check_target(folder: str | Path, form: AnnotationTarget) -> None:
    """Refuse to replace a file of annotations in a folder of masks that was not written there, or changed since."""
    path = Path(folder) / _NAMES[form]
    if path.exists():
        content = read_json(path)
        if _take_digest(content) != digest_json(content):
            raise UserError(f"{path} exists and was not written by robustvit masks, or was changed since: move it away")


def write_annotations(
    records: Sequence[MaskRecord], folder: Path, root: Path | None, form: AnnotationTarget
) -> tuple[Path, list[str]]:
    """Write the masks of a folder into a file in it; return the file, and a line for each mask or photo left out.

    Every photo is listed, also without a mask. Pixels of one half and more are the object.

    Args:
        records: rows of the manifest.
        folder: of the masks.
        root: folder of the photos, from which their names start; None for their common folder.
        form: ``coco`` writes run lengths, ``coco-polygons`` and ``label-studio`` polygons.
    """
    by_image: dict[Path, list[MaskRecord]] = defaultdict(list)
    for record in records:
        by_image[record.image].append(record)
    base = root if root is not None else Path(os.path.commonpath([image.parent.resolve() for image in by_image]))
    writer = LabelStudioWriter() if form == "label-studio" else CocoWriter(polygons=form == "coco-polygons")
    path, lines = folder / _NAMES[form], []
    for image, rows in track(list(by_image.items()), "writing annotations"):
        name = Path(os.path.relpath(image.resolve(), base.resolve())).as_posix()
        try:
            size = upright_size(image)
            lines += [f"{image}: {line}" for line in writer.add(name, size, list(_masks(rows, size)))]
        except UserError as error:
            lines.append(f"{error}; not in {path.name}")
    content = writer.content()
    _put_digest(content, digest_json(content))
    write_json(content, path)
    return path, lines


def _masks(records: Sequence[MaskRecord], size: tuple[int, int]) -> Iterator[WrittenMask]:
    """The masks of a photo that have a pixel on the object."""
    for record in records:
        if record.mask is None:
            continue
        inside = read_mask(record.mask) >= 0.5
        if inside.shape != size:
            raise UserError(
                f"{record.mask}: expected the size of its photo, {size[0]} x {size[1]} pixels: make it again"
            )
        if inside.any():
            yield WrittenMask(record, inside)


def _notes(content: object) -> dict | None:
    """The part of a file that holds its digest: COCO's ``info``, or ``meta`` of Label Studio's first task."""
    place = content.get("info") if isinstance(content, dict) else None
    if isinstance(content, list) and content and isinstance(content[0], dict):
        place = content[0].get("meta")
    return place if isinstance(place, dict) else None


def _put_digest(content: object, digest: str) -> None:
    notes = _notes(content)
    if notes is not None:
        notes[_DIGEST] = digest


def _take_digest(content: object) -> object:
    notes = _notes(content)
    return None if notes is None else notes.pop(_DIGEST, None)
