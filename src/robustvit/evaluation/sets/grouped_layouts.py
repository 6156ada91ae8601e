"""Readers of sets in groups: birds by place, camera traps, pets indoors and outdoors, chest X-rays, SI-Score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from robustvit.common.csv_files import read_csv
from robustvit.common.errors import UserError
from robustvit.common.options import Protocol
from robustvit.evaluation.sets.benchmark import Sample
from robustvit.evaluation.sets.class_tables import member_classes
from robustvit.evaluation.sets.folders import list_class_images, list_images, name_some

WATERBIRDS = ("landbird", "waterbird")
IWILDCAM_CLASSES = 182
METASHIFT = ("cat", "dog")
CHEXPERT = ("finding", "no finding")
_AGAIN = "extract the archive again"
MetadataRow = Mapping[str, str]
Factor = Literal["size", "rotation", "location"]
_COLUMNS = {"size": ("area",), "rotation": ("rotation",), "location": ("x", "y")}


def read_waterbirds(folder: Path, protocol: Protocol) -> tuple[list[Sample], list[str]]:
    """Read the test images that ``metadata.csv`` lists (``split`` 2), grouped by bird (``y``) and place."""
    listing = folder / "metadata.csv"

    def sample(row: MetadataRow) -> tuple[str, int, str]:
        bird, place = (_read_number(row, column, listing, 2) for column in ("y", "place"))
        return row["img_filename"], bird, f"{WATERBIRDS[bird]} on {('land', 'water')[place]}"

    rows = read_csv(listing, ("img_filename", "y", "split", "place"), fix=_AGAIN).rows
    tests = [row for row in rows if row["split"].strip() == "2"]
    return _list_samples(listing, tests, sample, folder, lambda bird: WATERBIRDS[bird])


def read_iwildcam(folder: Path, protocol: Protocol) -> tuple[list[Sample], list[str]]:
    """Read the images of iWildCam's WILDS test split: camera traps that training does not have, a group each."""
    listing = folder / "metadata.csv"
    names = _read_species(folder / "categories.csv")

    def sample(row: MetadataRow) -> tuple[str, int, str]:
        label = _read_number(row, "y", listing, IWILDCAM_CLASSES)
        return row["filename"], label, f"camera {row['location_remapped'].strip()}"

    rows = read_csv(listing, ("filename", "y", "split", "location_remapped"), fix=_AGAIN).rows
    tests = [row for row in rows if row["split"].strip() == "test"]
    return _list_samples(listing, tests, sample, folder / "train", lambda label: names.get(label, f"class {label}"))


def _read_species(path: Path) -> dict[int, str]:
    if not path.is_file():
        return {}
    rows = read_csv(path, ("y", "name"), fix=_AGAIN).rows
    return {_read_number(row, "y", path, IWILDCAM_CLASSES): row["name"] for row in rows if row["y"].strip() != "99999"}


def read_metashift(folder: Path, protocol: Protocol) -> tuple[list[Sample], list[str]]:
    """Read the four groups of MetaShift's cats and dogs, ``<part>/<class>/<class>(indoor)``.

    Cats are indoors and dogs outdoors in the part to train on, and the reverse in the part to test on; a model trained
    on the first is tested on the second.
    """
    samples: list[Sample] = []
    problems: list[str] = []
    for label, name in enumerate(METASHIFT):
        for place in ("indoor", "outdoor"):
            inner = folder / "test" / name / f"{name}({place})"
            if not inner.is_dir():
                continue
            images, others = list_images(inner)
            samples += [Sample(image, (label,), name, f"{name}, {place}") for image in images]
            problems += others
    if absent := [name for name in METASHIFT if name not in {sample.class_name for sample in samples}]:
        problems.append(f"no images of {name_some(absent)}: expected folders such as test/cat/cat(outdoor)")
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
    return _list_samples(listing, rows, sample, folder / "valid", lambda label: CHEXPERT[label])


def _list_samples(
    listing: Path,
    rows: Sequence[MetadataRow],
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
    problems = [f"listed in {listing.name}, but missing in {folder.name}: {name_some(absent)}"] if absent else []
    return sorted(samples, key=lambda sample: sample.image), problems


def _read_number(row: MetadataRow, column: str, path: Path, below: int) -> int:
    text = row[column]
    if not text.strip().isdecimal() or int(text) >= below:
        said = "0 or 1" if below == 2 else f"a class from 0 to {below - 1}"
        raise UserError(f"expected {said} in the column {column!r} of {path}, found {text!r}: {_AGAIN}")
    return int(text)


def read_si_score(folder: Path, protocol: Protocol, *, factor: Factor) -> tuple[list[Sample], list[str]]:
    """Read folders named by class (``kite`` is the bird), with files named by number (``17.jpg``).

    ``metadata.csv``, in the folder or in ``object_<factor>`` beside it, gives the factor's value (the group) of each.
    The mean over groups (standard) needs that file; the mean over images (paper) does not.
    """
    classes = member_classes("si_score")
    found, problems = list_class_images(folder, list(classes), "SI-Score's class names")
    places = [folder / "metadata.csv", folder.parent / f"object_{factor}" / "metadata.csv"]
    listing = next((place for place in places if place.is_file()), None)
    if listing is None:
        if protocol == "standard":
            raise UserError(
                f"expected {places[0]} or {places[1]}, which tell the {factor} of each image, found none: get it from "
                f"s3://si-score-dataset/object_{factor}/metadata.csv, or use the paper's protocol (mean over images)"
            )
        return [Sample(image, classes[name], name) for name, image in found], problems
    groups = _read_groups(listing, factor)
    samples = [
        Sample(image, classes[name], name, groups[int(image.stem)])
        for name, image in found
        if image.stem.isdecimal() and int(image.stem) in groups
    ]
    if len(samples) < len(found):
        listed = {sample.image for sample in samples}
        strangers = [image.name for _, image in found if image not in listed]
        problems.append(f"no row in {listing}, left out: {name_some(strangers)}")
    return samples, problems


def _read_groups(listing: Path, factor: Factor) -> Mapping[int, str]:
    """Return the group of each image by its number; columns are named as in the original or as this package does."""
    otherwise = "take the original file, or one that this package wrote"
    groups = {}
    for row in read_csv(listing, fix=otherwise).rows:
        try:
            values = [float(row.get(name) or row[f"{name}_coord"]) for name in _COLUMNS[factor]]
            number = int(row.get("image_id") or row["id"])
        except (KeyError, ValueError, TypeError) as error:
            names = "image_id, " + ", ".join(f"{name}_coord" if len(name) == 1 else name for name in _COLUMNS[factor])
            raise UserError(f"expected the columns {names} in {listing} ({error!r}): {otherwise}") from error
        groups[number] = _name_group(factor, values)
    return groups


def _name_group(factor: Factor, values: list[float]) -> str:
    """Name a factor's value so that names sort by value, rounded as SI-Score's own metric does."""
    if factor == "location":
        return f"x {values[0]:.2f}, y {values[1]:.2f}"
    return f"area {values[0]:.2f}" if factor == "size" else f"rotation {values[0]:03.0f}"
