"""MegaDetector: one JSON file with the boxes that the detector found in each photo of a camera trap."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeGuard

from robustvit.common.errors import UserError
from robustvit.common.options import BoxUnits, Orientation
from robustvit.common.wording import shown
from robustvit.masks.annotations.annotated import Annotations
from robustvit.masks.annotations.files import load_json
from robustvit.masks.annotations.listing import PhotoListing
from robustvit.masks.annotations.marked import MarkedBox, MarkedPhoto
from robustvit.masks.annotations.objects import Box, BrokenEntry
from robustvit.masks.annotations.other_formats import name_format
from robustvit.masks.annotations.photo_folder import PhotoFolder
from robustvit.masks.annotations.values import as_dict, as_list, expect_box, expect_confidence, holds

_USUAL = 0.2  # what the makers of MegaDetector 5 and later advise
_NAMES = {"1": "animal", "2": "person", "3": "vehicle"}


@dataclass(frozen=True)
class _Results:
    """What a file holds.

    Attributes:
        entries: of the photos.
        names: of the categories; None where each detection has the name of its own.
        units: of the boxes.
        min_confidence: confidence below which detections do not count.
        species: whether a classifier named species, too.
    """

    entries: list
    names: dict[str, str] | None
    units: BoxUnits
    min_confidence: float
    species: bool = False


def read_megadetector(source: Path, images: Path | None, orientation: Orientation | None = None) -> Annotations:
    """List the photos of MegaDetector's results; masks as ``read_annotations`` describes.

    Reads its batch output, with ``images`` whose ``detections`` have ``category``, ``conf`` and ``bbox`` (left, top,
    width and height, as shares), and the list that Microsoft's package writes, with the name of the category,
    ``confidence`` and corners in pixels, and SpeciesNet's predictions, which hold its boxes. Detections count from the
    threshold that the file calls typical, else from 0.2. A photo without detections has no object; one that the
    detector failed on is left out.
    """
    results = _load(source)
    folder = PhotoFolder(images)
    listing = PhotoListing(source, orientation)
    if results.species:
        line = "species are not used: photos have the detector's categories as classes"
        listing.problems.append(f"{source}: {line}")
    photos = dict(enumerate(_photos(results, listing.problems)))
    found = listing.match(photos, folder, lambda key: photos[key].name)
    folder.report_lacking(found, f"usable results in {source.name}", listing.problems)
    names = None if results.names is None else results.names.values()
    return replace(listing.finish(folder.folder, names), min_confidence=results.min_confidence)


def _load(source: Path) -> _Results:
    content = load_json(source)
    if isinstance(content, list) and content and all(holds(one, file=object) for one in content):
        return _Results(content, None, "pixels", _USUAL)
    if is_speciesnet(content):
        return _Results(
            [_from_speciesnet(one) for one in content["predictions"]], dict(_NAMES), "shares", _USUAL, species=True
        )
    if holds(content, images=list):
        entries, names = content["images"], content.get("detection_categories", _NAMES)
        if isinstance(names, dict) and all(holds(one, file=object) for one in entries):
            named, species = {key: str(name) for key, name in names.items()}, "classification_categories" in content
            return _Results(entries, named, "shares", _typical(content), species)
    known = holds(content, detection_categories=object)
    other = "" if known else name_format(content)
    raise UserError(
        f"expected MegaDetector's results in {source}, with images that have a file and detections, found "
        f"{other or 'something else'}: "
        "check the format"
    )


def is_speciesnet(content: object) -> TypeGuard[dict]:
    """Whether a JSON value is SpeciesNet's predictions, which hold the boxes of MegaDetector."""
    entries = as_list(as_dict(content).get("predictions"))
    return bool(entries) and all(holds(one, filepath=object) for one in entries)


def _from_speciesnet(entry: dict) -> dict:
    failures = as_list(entry.get("failures"))
    failed = failures if "DETECTOR" in failures else None
    return {"file": entry["filepath"], "detections": entry.get("detections"), "failure": failed}


def _typical(content: dict) -> float:
    """The threshold that the file calls typical of its detector."""
    about = as_dict(as_dict(content.get("info")).get("detector_metadata"))
    try:
        said = expect_confidence(about.get("typical_detection_threshold"))
    except BrokenEntry:
        return _USUAL
    return _USUAL if said is None else said


def _photos(results: _Results, problems: list[str]) -> list[MarkedPhoto]:
    """The photos; those that the detector failed on are named."""
    photos = []
    for number, entry in enumerate(results.entries):
        name, detections = entry["file"], entry.get("detections")
        if not isinstance(name, str) or not name:
            problems.append(f"entry number {number}: expected the name of a file, found {shown(name)}; left out")
        elif entry.get("failure"):
            problems.append(f"{name}: the detector failed on it ({shown(entry['failure'])}); left out")
        elif not isinstance(detections, list):
            problems.append(f"{name}: no detections; left out")
        else:
            areas = [_box(one, f"detection {number}", results) for number, one in enumerate(detections, 1)]
            photos.append(MarkedPhoto(name, None, areas, partial(json.dumps, detections), nothing=True))
    return photos


def _box(detection: object, where: str, results: _Results) -> MarkedBox:
    entry = as_dict(detection)
    given, sides = entry.get("category"), results.units == "shares"
    name = None if given is None else str(given) if results.names is None else results.names.get(str(given))

    def read() -> Box:
        if not isinstance(detection, dict):
            raise BrokenEntry(f"expected a detection, found {shown(detection)}")
        if not name:
            raise BrokenEntry(f"unknown category {shown(given)}")
        return expect_box(entry.get("bbox"), sides=sides)

    return MarkedBox(name, read, where, entry.get("conf", entry.get("confidence")), results.units, sides)
