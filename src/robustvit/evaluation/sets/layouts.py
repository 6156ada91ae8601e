"""Readers of benchmark sets in the layouts of their archives: class folders and their names."""

from __future__ import annotations

import re
from pathlib import Path

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
from robustvit.evaluation.sets.folders import list_class_images, name_some


def read_wnid_folders(folder: Path, protocol: Protocol, *, subset: str = "") -> tuple[list[Sample], list[str]]:
    """Read ImageNet's layout: folders named by WordNet id. ``subset``: ``a`` or ``r`` for their 200 classes."""
    indices = imagenet_subset(subset) if subset else range(IMAGENET_CLASSES)
    wnids = {imagenet_wnids()[index]: index for index in indices}
    found, problems = list_class_images(folder, list(wnids), "WordNet id (n01440764)")
    return [_imagenet_sample(image, wnids[wnid]) for wnid, image in found], problems


def read_number_folders(folder: Path, protocol: Protocol) -> tuple[list[Sample], list[str]]:
    """Read ImageNet-V2's layout: folders ``0`` to ``999``, read as numbers, since as text 10 comes before 2."""
    numbers = [str(index) for index in range(IMAGENET_CLASSES)]
    found, problems = list_class_images(folder, numbers, "class number (0 to 999)")
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

    found, problems = list_class_images(inner, classes, "number and class (00_dog)", class_of)
    return [Sample(image, (classes.index(name),), name) for name, image in found], problems


_CUES = re.compile(r"([a-z]+)\d+-([a-z]+)\d+$")


def read_cue_conflict(folder: Path, protocol: Protocol) -> tuple[list[Sample], list[str]]:
    """Read folders named by shape, files named by shape and texture (``cat/cat1-elephant2.png``)."""
    classes = list(member_classes("cue_conflict"))
    found, problems = list_class_images(folder, classes, "shape (airplane, bear, ...)")
    samples, nameless = [], []
    for shape, image in found:
        cues = _CUES.search(image.stem)
        if cues is None or cues[1] != shape or cues[2] not in classes:
            nameless.append(image.name)
        else:
            samples.append(Sample(image, (classes.index(shape),), shape, texture=classes.index(cues[2])))
    if nameless:
        problems.append(f"no shape and texture in the name (cat1-elephant2.png), left out: {name_some(nameless)}")
    return samples, problems


def _imagenet_sample(image: Path, index: int) -> Sample:
    return Sample(image, (index,), unique_imagenet_names()[index])
