"""Readers of benchmark sets in the layouts of their archives: class folders and their names."""

from __future__ import annotations

import re
from pathlib import Path

from robustvit.common.csv_files import read_csv
from robustvit.common.errors import UserError
from robustvit.common.options import Protocol
from robustvit.evaluation.sets.benchmark import Sample
from robustvit.evaluation.sets.class_tables import (
    IMAGENET_CLASSES,
    imagenet_subset,
    imagenet_wnids,
    member_classes,
    unique_imagenet_names,
)
from robustvit.evaluation.sets.folders import class_images, some

WATERBIRDS = ("landbird", "waterbird")
PLACES = ("land", "water")


def read_wnid_folders(folder: Path, protocol: Protocol, *, subset: str = "") -> tuple[list[Sample], list[str]]:
    """Read ImageNet's layout: folders named by WordNet id. ``subset``: ``a`` or ``r`` for their 200 classes."""
    indices = imagenet_subset(subset) if subset else range(IMAGENET_CLASSES)
    wnids = {imagenet_wnids()[index]: index for index in indices}
    found, problems = class_images(folder, list(wnids), "WordNet id (n01440764)")
    return [_imagenet_sample(image, wnids[wnid]) for wnid, image in found], problems


def read_number_folders(folder: Path, protocol: Protocol) -> tuple[list[Sample], list[str]]:
    """Read ImageNet-V2's layout: folders ``0`` to ``999``, read as numbers, since as text 10 comes before 2."""
    found, problems = class_images(folder, [str(index) for index in range(IMAGENET_CLASSES)], "class number (0 to 999)")
    return [_imagenet_sample(image, int(number)) for number, image in found], problems


def read_imagenet_9(folder: Path, protocol: Protocol) -> tuple[list[Sample], list[str]]:
    """Read a variant of ImageNet-9: ``val/00_dog`` to ``val/08_fish``, by number, else by class name."""
    classes = list(member_classes("imagenet_9"))
    inner = folder / "val"
    if not inner.is_dir():
        raise UserError(f"expected the folder val in {folder}, found none: extract the archive of ImageNet-9 again")

    def class_of(name: str) -> str:
        number = name.partition("_")[0]
        return classes[int(number)] if number.isdecimal() and int(number) < len(classes) else name

    found, problems = class_images(inner, classes, "number and class (00_dog)", class_of)
    return [Sample(image, (classes.index(name),), name) for name, image in found], problems


_CUES = re.compile(r"([a-z]+)\d+-([a-z]+)\d+$")


def read_cue_conflict(folder: Path, protocol: Protocol) -> tuple[list[Sample], list[str]]:
    """Read folders named by shape, files named by shape and texture (``cat/cat1-elephant2.png``)."""
    classes = list(member_classes("cue_conflict"))
    found, problems = class_images(folder, classes, "shape (airplane, bear, ...)")
    samples, nameless = [], []
    for shape, image in found:
        cues = _CUES.search(image.stem)
        if cues is None or cues[1] != shape or cues[2] not in classes:
            nameless.append(image.name)
        else:
            samples.append(Sample(image, (classes.index(shape),), shape, texture=classes.index(cues[2])))
    if nameless:
        problems.append(f"no shape and texture in the name (cat1-elephant2.png), left out: {some(nameless)}")
    return samples, problems


def read_waterbirds(folder: Path, protocol: Protocol) -> tuple[list[Sample], list[str]]:
    """Read the test images that ``metadata.csv`` lists (``split`` 2), grouped by bird (``y``) and place."""
    listing = folder / "metadata.csv"
    samples, absent = [], []
    for row in read_csv(listing, ("img_filename", "y", "split", "place"), fix="extract the archive again").rows:
        if row["split"].strip() != "2":
            continue
        bird, place = (_choice(row, column, listing) for column in ("y", "place"))
        image = folder / row["img_filename"]
        if image.is_file():
            samples.append(Sample(image, (bird,), WATERBIRDS[bird], f"{WATERBIRDS[bird]} on {PLACES[place]}"))
        else:
            absent.append(row["img_filename"])
    problems = [f"listed in metadata.csv, but missing: {some(absent)}"] if absent else []
    return sorted(samples, key=lambda sample: sample.image), problems


def _choice(row: dict[str, str], column: str, path: Path) -> int:
    if row[column].strip() not in ("0", "1"):
        raise UserError(f"expected 0 or 1 in the column {column!r} of {path}, found {row[column]!r}: extract it again")
    return int(row[column])


def _imagenet_sample(image: Path, index: int) -> Sample:
    return Sample(image, (index,), unique_imagenet_names()[index])
