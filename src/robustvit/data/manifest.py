"""The manifest of a folder of masks: each photo's mask, its class, and how trustworthy the mask is."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from robustvit.common.csv_files import csv_text, read_csv
from robustvit.common.errors import UserError
from robustvit.common.files import explain_full_disk, read_json, write_text
from robustvit.data.file_finder import FileFinder
from robustvit.data.review import resolve_folder

MANIFEST, SETTINGS = "manifest.csv", "settings.json"
MaskVerdict = Literal["good", "doubtful", "none", "no-object"]
NO_OBJECT: MaskVerdict = "no-object"
MASK_MEASURES = ("share", "border", "agreement", "cut", "eigengap", "objects", "turned")
MASK_ORIGIN = ("prompt", "model", "threshold")
_QUALITY = ("verdict", "confidence", "reason", "source", *MASK_MEASURES)
_COLUMNS = ("image", "mask", "label", *_QUALITY, "inputs", *MASK_ORIGIN)


@dataclass(frozen=True)
class MaskRecord:
    """A photo's mask and its quality.

    Attributes:
        image: the photo.
        mask: its mask, unless the verdict is ``none``.
        label: its class as named on disk or in the annotation, if known.
        verdict: ``good``, ``doubtful`` (left out of training unless asked for), ``none`` (no object found; left out) or
            ``no-object`` (the user said that there is none; its mask is black).
        confidence: in [0, 1].
        reason: why the verdict is not ``good``.
        source: method or format of the mask.
        measures: see ``robustvit.masks.confidence``; some of ``MASK_MEASURES``.
        inputs: digest of the photo and the annotation or model that the mask was made from; empty in manifests of
            earlier versions.
        origin: options of the source, some of ``MASK_ORIGIN``.
    """

    image: Path
    mask: Path | None
    label: str | None
    verdict: MaskVerdict
    confidence: float
    reason: str = ""
    source: str = ""
    measures: dict[str, float] = field(default_factory=dict)
    inputs: str = ""
    origin: dict[str, str] = field(default_factory=dict)


def is_mask_folder(folder: Path) -> bool:
    """Whether ``make_masks`` wrote its masks into a folder."""
    return (folder / MANIFEST).is_file() and (folder / SETTINGS).is_file()


def write_manifest(records: Sequence[MaskRecord], path: str | Path) -> None:
    """Write records as CSV, with paths relative to its folder, whole or not at all."""
    write_text(csv_text([_COLUMNS, *(_row(record, Path(path)) for record in records)]), path)


def append_record(record: MaskRecord, path: str | Path) -> None:
    """Add a row to a manifest, or start one; killing the process loses at most that row."""
    path = Path(path)
    started = path.is_file() and path.stat().st_size > 0
    with explain_full_disk(path), path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not started:
            writer.writerow(_COLUMNS)
        writer.writerow(_row(record, path))


def read_manifest(path: str | Path) -> list[MaskRecord]:
    """Read a manifest; a truncated last row is ignored."""
    path = Path(path)
    table = read_csv(path, what="a manifest of masks", fix="check the path, or make the masks again")
    rows = list(zip(table.rows, table.lines, strict=True))
    if rows and (not table.ended or None in rows[-1][0].values()):
        rows.pop()
    finder = FileFinder(letters_only=True)
    return [_read_record(row, path, line, finder) for row, line in rows]


def count_skipped_photos(records: Sequence[MaskRecord]) -> dict[str, int]:
    """Count photos without a mask by reason, without the numbers in brackets, most frequent first."""
    reasons = Counter(one.reason.partition(" (")[0] for one in records if one.verdict == "none")
    return dict(reasons.most_common())


def _row(record: MaskRecord, path: Path) -> list[str]:
    measures = [f"{record.measures[name]:.6g}" if name in record.measures else "" for name in MASK_MEASURES]
    return [
        _relate(record.image, path),
        "" if record.mask is None else _relate(record.mask, path),
        record.label or "",
        record.verdict,
        f"{record.confidence:.4f}",
        record.reason,
        record.source,
        *measures,
        record.inputs,
        *(record.origin.get(name, "") for name in MASK_ORIGIN),
    ]


def _relate(place: Path, manifest: Path) -> str:
    return Path(os.path.relpath(resolve_folder(place), manifest.parent.resolve())).as_posix()


def _read_record(row: Mapping[str, str | None], path: Path, line: int, finder: FileFinder) -> MaskRecord:
    try:
        image, verdict = (row["image"] or "").strip(), (row["verdict"] or "").strip()
        confidence = float(row["confidence"] or 0)
        measures = {name: float(row[name] or 0) for name in MASK_MEASURES if row.get(name)}
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}, line {line}: expected the columns {', '.join(_COLUMNS[:5])}, got {error}") from error
    if not image or verdict not in get_args(MaskVerdict):
        raise UserError(
            f"{path}, line {line}: expected an image and a verdict good, doubtful, none or no-object, got {verdict!r}"
        )
    mask = (row.get("mask") or "").strip()
    places = [path.parent / image, path.parent / mask]  # a file that was removed keeps the name in the manifest
    return MaskRecord(
        finder.find(places[0]) or places[0],
        (finder.find(places[1]) or places[1]) if mask else None,
        (row.get("label") or "").strip() or None,
        verdict,  # type: ignore[arg-type]
        confidence,
        row.get("reason") or "",
        row.get("source") or "",
        measures,
        row.get("inputs") or "",
        {name: text for name in MASK_ORIGIN if (text := row.get(name))},
    )


def tokencut_protocol(config: dict[str, Any]) -> str | None:
    """Return the protocol of TokenCut from the settings in the folder of masks; None if it did not make them."""
    place = config.get("masks") or (Path(str(config["images"])).parent if config.get("images") else None)
    if place is None or not (Path(str(place)) / SETTINGS).is_file():
        return None
    settings = read_json(Path(str(place)) / SETTINGS)
    if not isinstance(settings, dict) or settings.get("method") != "tokencut":
        return None
    return str(settings.get("protocol", "standard"))  # older versions had only the standard protocol
