"""MegaDetector: one JSON file with the boxes that the detector found in each photo of a camera trap."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeGuard

from robustvit.common.errors import UserError
from robustvit.common.options import BoxUnits, Orientation
from robustvit.common.wording import shown
from robustvit.masks.annotations.boxes import as_confidence, corners_of, doubt_units
from robustvit.masks.annotations.broken import BrokenEntry
from robustvit.masks.annotations.listing import (
    AnnotatedPhoto,
    Annotations,
    BoxedObject,
    MarkedObject,
    PhotoFolder,
    load_json,
    photo_with_objects,
)
from robustvit.masks.annotations.objects import Corners
from robustvit.masks.annotations.orientation import View, view_photo
from robustvit.masks.annotations.other_formats import name_format

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

    def corners(self, detection: dict) -> Corners:
        return corners_of(detection.get("bbox"), sides=self.units == "shares")

    def name(self, detection: dict) -> str:
        given = detection.get("category")
        found = str(given) if self.names is None else self.names.get(str(given))
        if not found or given is None:
            raise BrokenEntry(f"unknown category {shown(given)}")
        return found


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
    problems: list[str] = []
    if results.species:
        problems.append(f"{source}: species are not used: photos have the detector's categories as classes")
    detected = _detected(results, problems)
    found = folder.match(dict(enumerate(name for name, _ in detected)), problems, describe=lambda key: detected[key][0])
    folder.report_lacking(found, f"usable results in {source.name}", problems)
    photos: list[AnnotatedPhoto] = []
    for key, image in found.items():
        name, entries = detected[key]
        try:
            view = view_photo(image, None, orientation)
        except UserError as error:
            problems.append(f"{name}: {error}; left out")
            continue
        decode = partial(_decode, image, view, entries, results)
        photos.append(photo_with_objects(image, decode, problems, view, partial(json.dumps, entries)))
    doubt = doubt_units(list(_boxes(detected, results)), results.units, source)
    photos.sort(key=lambda photo: photo.image)
    return Annotations(
        photos,
        problems,
        _categories(detected, results),
        doubts={"units": doubt} if doubt else {},
        min_confidence=results.min_confidence,
    )


def _load(source: Path) -> _Results:
    content = load_json(source)
    if isinstance(content, list) and content and all(isinstance(one, dict) and "file" in one for one in content):
        return _Results(content, None, "pixels", _USUAL)
    if is_speciesnet(content):
        return _Results(
            [_from_speciesnet(one) for one in content["predictions"]], dict(_NAMES), "shares", _USUAL, species=True
        )
    if isinstance(content, dict) and isinstance(content.get("images"), list):
        entries, names = content["images"], content.get("detection_categories", _NAMES)
        if isinstance(names, dict) and all(isinstance(one, dict) and "file" in one for one in entries):
            named, species = {key: str(name) for key, name in names.items()}, "classification_categories" in content
            return _Results(entries, named, "shares", _typical(content), species)
    known = isinstance(content, dict) and "detection_categories" in content
    other = "something else" if known else name_format(content) or "something else"
    raise UserError(
        f"expected MegaDetector's results in {source}, with images that have a file and detections, found {other}: "
        "check the format"
    )


def is_speciesnet(content: object) -> TypeGuard[dict]:
    """Whether a JSON value is SpeciesNet's predictions, which hold the boxes of MegaDetector."""
    entries = content.get("predictions") if isinstance(content, dict) else None
    return (
        isinstance(entries, list)
        and bool(entries)
        and all(isinstance(one, dict) and "filepath" in one for one in entries)
    )


def _from_speciesnet(entry: dict) -> dict:
    failures = entry.get("failures")
    failed = isinstance(failures, list) and "DETECTOR" in failures
    return {"file": entry["filepath"], "detections": entry.get("detections"), "failure": failures if failed else None}


def _typical(content: dict) -> float:
    """The threshold that the file calls typical of its detector."""
    info = content.get("info")
    about = info.get("detector_metadata") if isinstance(info, dict) else None
    try:
        said = as_confidence(about.get("typical_detection_threshold")) if isinstance(about, dict) else None
    except BrokenEntry:
        said = None
    return _USUAL if said is None else said


def _detected(results: _Results, problems: list[str]) -> list[tuple[str, list]]:
    """Name and detections of each photo; those that the detector failed on are named."""
    found = []
    for number, entry in enumerate(results.entries):
        name, detections = entry["file"], entry.get("detections")
        if not isinstance(name, str) or not name:
            problems.append(f"entry number {number}: expected the name of a file, found {shown(name)}; left out")
        elif entry.get("failure") or not isinstance(detections, list):
            reason = (
                f"the detector failed on it ({shown(entry['failure'])})" if entry.get("failure") else "no detections"
            )
            problems.append(f"{name}: {reason}; left out")
        else:
            found.append((name, detections))
    return found


def _decode(image: Path, view: View, detections: list, results: _Results, complaints: list[str]) -> list[MarkedObject]:
    objects: list[MarkedObject] = []
    for number, one in enumerate(detections, 1):
        where = f"{image}: detection {number}"
        try:
            if not isinstance(one, dict):
                raise BrokenEntry(f"expected a detection, found {shown(one)}")
            confidence = as_confidence(one.get("conf", one.get("confidence")))
            objects.append(BoxedObject(results.name(one), results.corners(one), where, results.units, confidence))
        except BrokenEntry as error:
            complaints.append(f"{where}: {error}; left out")
    return objects


def _boxes(detected: list[tuple[str, list]], results: _Results) -> Iterator[Corners]:
    for _, entries in detected:
        for one in entries:
            try:
                yield results.corners(one)
            except (BrokenEntry, AttributeError):
                continue


def _categories(detected: list[tuple[str, list]], results: _Results) -> tuple[str, ...]:
    if results.names is not None:
        return tuple(dict.fromkeys(results.names.values()))
    given = (one.get("category") for _, entries in detected for one in entries if isinstance(one, dict))
    return tuple(dict.fromkeys(str(name) for name in given if name is not None))
