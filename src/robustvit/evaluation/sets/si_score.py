"""Reader of SI-Score: objects on backgrounds, with size, rotation or location in ``metadata.csv``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from robustvit.common.csv_files import read_csv
from robustvit.common.errors import UserError
from robustvit.common.options import Protocol
from robustvit.evaluation.sets.benchmark import Sample
from robustvit.evaluation.sets.class_tables import member_classes
from robustvit.evaluation.sets.folders import class_images, some

Factor = Literal["size", "rotation", "location"]
_COLUMNS = {"size": ("area",), "rotation": ("rotation",), "location": ("x", "y")}


def read_si_score(folder: Path, protocol: Protocol, *, factor: Factor) -> tuple[list[Sample], list[str]]:
    """Folders named by class (``kite`` is the bird), files by number (``17.jpg``).

    ``metadata.csv``, in the folder or in ``object_<factor>`` beside it, gives the factor's value (the group) of each.
    The mean over groups (standard) needs that file; the mean over images (paper) does not.
    """
    classes = member_classes("si_score")
    found, problems = class_images(folder, list(classes), "SI-Score's class names")
    places = [folder / "metadata.csv", folder.parent / f"object_{factor}" / "metadata.csv"]
    listing = next((place for place in places if place.is_file()), None)
    if listing is None:
        if protocol == "standard":
            raise UserError(
                f"expected {places[0]} or {places[1]}, which tell the {factor} of each image, found none: get it from "
                f"s3://si-score-dataset/object_{factor}/metadata.csv, or use the paper's protocol (mean over images)"
            )
        return [Sample(image, classes[name], name) for name, image in found], problems
    groups = _groups(listing, factor)
    samples = [
        Sample(image, classes[name], name, groups[int(image.stem)])
        for name, image in found
        if image.stem.isdecimal() and int(image.stem) in groups
    ]
    if len(samples) < len(found):
        listed = {sample.image for sample in samples}
        strangers = [image.name for _, image in found if image not in listed]
        problems.append(f"no row in {listing}, left out: {some(strangers)}")
    return samples, problems


def _groups(listing: Path, factor: Factor) -> Mapping[int, str]:
    """The group of each image by its number. Columns are named as in the original or as this package writes them."""
    otherwise = "take the original file, or one that this package wrote"
    groups = {}
    for row in read_csv(listing, fix=otherwise).rows:
        try:
            values = [float(row.get(name) or row[f"{name}_coord"]) for name in _COLUMNS[factor]]
            number = int(row.get("image_id") or row["id"])
        except (KeyError, ValueError, TypeError) as error:
            names = "image_id, " + ", ".join(f"{name}_coord" if len(name) == 1 else name for name in _COLUMNS[factor])
            raise UserError(f"expected the columns {names} in {listing} ({error!r}): {otherwise}") from error
        groups[number] = _group(factor, values)
    return groups


def _group(factor: Factor, values: list[float]) -> str:
    """A factor's value as a name that sorts by value, rounded as SI-Score's own metric does."""
    if factor == "location":
        return f"x {values[0]:.2f}, y {values[1]:.2f}"
    return f"area {values[0]:.2f}" if factor == "size" else f"rotation {values[0]:03.0f}"
