"""Readers of sets whose images come in groups: camera traps, indoor and outdoor pets, views of chest X-rays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from robustvit.common.csv_files import read_csv
from robustvit.common.errors import UserError
from robustvit.common.options import Protocol
from robustvit.evaluation.sets.benchmark import Sample
from robustvit.evaluation.sets.folders import images_in, some

IWILDCAM_CLASSES = 182
METASHIFT = ("cat", "dog")
CHEXPERT = ("finding", "no finding")
_PLACES = ("indoor", "outdoor")
_AGAIN = "extract the archive again"
MetadataRow = Mapping[str, str]


def read_iwildcam(folder: Path, protocol: Protocol) -> tuple[list[Sample], list[str]]:
    """Read the images of iWildCam's WILDS test split: camera traps that training does not have, a group each."""
    listing = folder / "metadata.csv"
    names = _species(folder / "categories.csv")

    def sample(row: MetadataRow) -> tuple[str, int, str]:
        label = _number(row["y"], listing, IWILDCAM_CLASSES)
        return row["filename"], label, f"camera {row['location_remapped'].strip()}"

    rows = read_csv(listing, ("filename", "y", "split", "location_remapped"), fix=_AGAIN).rows
    tests = [row for row in rows if row["split"].strip() == "test"]
    return _listed(tests, sample, folder / "train", lambda label: names.get(label, f"class {label}"))


def _species(path: Path) -> dict[int, str]:
    if not path.is_file():
        return {}
    rows = read_csv(path, ("y", "name"), fix=_AGAIN).rows
    return {_number(row["y"], path, IWILDCAM_CLASSES): row["name"] for row in rows if row["y"].strip() != "99999"}


def read_metashift(folder: Path, protocol: Protocol) -> tuple[list[Sample], list[str]]:
    """Read the four groups of MetaShift's cats and dogs, ``<part>/<class>/<class>(indoor)``.

    Cats are indoors and dogs outdoors in the part to train on, and the reverse in the part to test on; a model trained
    on the first is tested on the second.
    """
    samples: list[Sample] = []
    problems: list[str] = []
    for label, name in enumerate(METASHIFT):
        for place in _PLACES:
            inner = folder / "test" / name / f"{name}({place})"
            if not inner.is_dir():
                continue
            images, others = images_in(inner)
            samples += [Sample(image, (label,), name, f"{name}, {place}") for image in images]
            problems += others
    if absent := [name for name in METASHIFT if name not in {sample.class_name for sample in samples}]:
        problems.append(f"no images of {some(absent)}: expected folders such as test/cat/cat(outdoor)")
    return samples, problems


def read_chexpert(folder: Path, protocol: Protocol) -> tuple[list[Sample], list[str]]:
    """Read CheXpert's validation images, which radiologists labelled, as *No Finding* or not, by sex and view."""
    listing = folder / "valid.csv"

    def sample(row: MetadataRow) -> tuple[str, int, str]:
        view = f"frontal {row['AP/PA'].strip()}" if row["Frontal/Lateral"].strip() == "Frontal" else "lateral"
        inside = row["Path"].replace("\\", "/").partition("/valid/")[2]
        right = row["No Finding"].strip()
        if right not in ("1.0", "0.0", "1", "0", ""):
            raise UserError(f"expected 0 or 1 in the column 'No Finding' of {listing}, found {right!r}: {_AGAIN}")
        return inside, int(right in ("1", "1.0")), f"{row['Sex'].strip()}, {view}"

    rows = read_csv(listing, ("Path", "Sex", "Frontal/Lateral", "AP/PA", "No Finding"), fix=_AGAIN).rows
    return _listed(rows, sample, folder / "valid", lambda label: CHEXPERT[label])


def _listed(
    rows: list[MetadataRow] | list[dict[str, str]],
    read: Callable[[MetadataRow], tuple[str, int, str]],
    folder: Path,
    name_of: Callable[[int], str],
) -> tuple[list[Sample], list[str]]:
    """Return the images that a list names in a folder, and a line on those that are missing."""
    samples, absent = [], []
    for row in rows:
        inside, label, group = read(row)
        image = folder / inside
        if inside and image.is_file():
            samples.append(Sample(image, (label,), name_of(label), group))
        else:
            absent.append(inside)
    problems = [f"listed, but missing in {folder.name}: {some(absent)}"] if absent else []
    return sorted(samples, key=lambda sample: sample.image), problems


def _number(text: str, path: Path, below: int) -> int:
    if not text.strip().isdecimal() or int(text) >= below:
        raise UserError(f"expected a class from 0 to {below - 1} in the column 'y' of {path}, found {text!r}: {_AGAIN}")
    return int(text)
