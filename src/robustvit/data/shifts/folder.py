"""The folder of shifted copies: images, masks, the lists of both, their settings, and a sheet of examples."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robustvit.common.csv_files import csv_text, read_csv
from robustvit.common.errors import UserError, printable
from robustvit.common.files import read_settings, write_json, write_text
from robustvit.common.output_paths import check_own_folder
from robustvit.common.pictures import figure_of_rows, fit_side
from robustvit.data.photo import Photo
from robustvit.data.read_photos import read_photo
from robustvit.data.shifts.kinds import KINDS, Shift, ShiftPlan, Skip

SHEET = "contact-sheet.png"
METADATA, SKIPPED, SETTINGS = "metadata.csv", "skipped.csv", "settings.json"
_MADE_BY = "robustvit shifts"
_COLUMNS = (
    "id", "file", "mask", "kind", "x", "y", "area", "rotation", "foreground_class", "foreground", "background_class",
    "background", "inside",
)  # fmt: skip
_LONGEST_NAME = 255
_ACROSS, _SIDE, _DPI = 5, 192, 80  # of the contact sheet
_BLANK = ("", np.full((1, 1, 3), 255, np.uint8))


def check_class_names(photos: Iterable[Photo]) -> None:
    """Refuse class names that cannot be folder names for ``evaluate``."""
    for name in sorted({str(photo.class_name) for photo in photos}):
        try:
            long = len(name.encode("utf-8")) > _LONGEST_NAME
        except UnicodeEncodeError as error:
            raise UserError(f"class {name!r} is not UTF-8, as CSV files need: rename it") from error
        if long or name.startswith(".") or set(name) & set("/\\\0"):
            raise UserError(
                f"class {name!r} cannot name a folder of images (a dot in front, a slash, or over {_LONGEST_NAME} "
                "bytes): rename it"
            )


def digest_sources(photos: Iterable[Photo], backgrounds: Iterable[Path]) -> str:
    """Return a digest of the classes, names and sizes in bytes of photos, masks and backgrounds."""
    digest = hashlib.sha256()
    for photo in photos:
        files = [photo.image, *([photo.mask] if photo.mask else [])]
        digest.update(json.dumps([photo.class_name, *_list_sizes(files)]).encode())
    digest.update(json.dumps(_list_sizes(backgrounds)).encode())
    return digest.hexdigest()


def _list_sizes(files: Iterable[Path]) -> list[tuple[str, int]]:
    return [(file.name, file.stat().st_size) for file in files]


class ShiftFolder:
    """Shifted copies in ``<kind>/<class>/<id>.png`` and their masks in ``masks/<kind>/<class>/<id>.png``.

    Beside them lie ``metadata.csv`` with a row for each image, ``skipped.csv`` with a row for each that could not be
    made, and ``settings.json``.

    Args:
        path: the folder.
        settings: options that its files depend on.
        suffix: of the images.
        inputs: folders that it may not lie in.
    """

    def __init__(
        self, path: str | Path, settings: Mapping[str, Any], *, suffix: str = ".png", inputs: Sequence[Path] = ()
    ) -> None:
        self.path, self.suffix = Path(path), suffix
        self.settings = {"made_by": _MADE_BY, **settings}
        for place in inputs:
            if place.is_dir() and self.path.resolve().is_relative_to(place.resolve()):
                raise UserError(f"expected --out outside of {place}, got {path}: copies would be taken for photos")
        old = read_settings(self.path / SETTINGS)
        own = old is not None and old.get("made_by") == _MADE_BY
        if not check_own_folder(self.path, own, command="shifts") or old is None:
            return
        if other := [name for name in sorted({*old, *self.settings}) if old.get(name) != self.settings.get(name)]:
            name = other[0]
            told = f"{name} {old.get(name)}, not {self.settings.get(name)}"
            if name == "inputs":
                told = "other photos, masks or backgrounds"
            if other == ["draws"]:
                raise UserError(
                    f"{self.path} holds copies of an older version, which drew other backgrounds: name another --out"
                )
            raise UserError(
                f"{self.path} holds copies made with {told}: give the same options to continue, or another --out"
            )

    def start(self) -> None:
        """Create the folder, or continue with an existing one."""
        self.path.mkdir(parents=True, exist_ok=True)
        if not (self.path / SETTINGS).exists():
            write_json(self.settings, self.path / SETTINGS)

    def is_done(self, shift: Shift) -> bool:
        """Whether an image, and its mask if it has one, exist."""
        image, mask = self.path / shift.file(self.suffix), self.path / shift.mask
        return image.is_file() and (not shift.has_mask or mask.is_file())

    def left_out(self) -> dict[str, str]:
        """Return ids of images that an earlier call could not make, with the reasons."""
        path = self.path / SKIPPED
        rows = read_csv(path).rows if path.is_file() else []
        return {row["id"]: row["reason"] for row in rows if row.get("id") and "reason" in row}

    def finish(self, plan: ShiftPlan, left_out: Mapping[str, str], root: Path, backgrounds: Path | None) -> None:
        """Write the lists of images that were made and, with the reasons, left out.

        The names of photos are relative to ``root``, those of plain backgrounds to ``backgrounds``.
        """
        rows = [self._row(shift, root, backgrounds) for shift in plan.shifts if shift.id not in left_out]
        write_text(csv_text([_COLUMNS, *rows]), self.path / METADATA)
        late = [Skip(one.id, one.kind, one.photo, left_out[one.id]) for one in plan.shifts if one.id in left_out]
        skips = sorted([*plan.skips, *late], key=lambda skip: (KINDS.index(skip.kind), skip.id))
        lines: list[tuple[object, ...]] = [("id", "kind", "foreground_class", "foreground", "reason")]
        lines += [
            (one.id, one.kind, one.photo.class_name, _relative(one.photo.image, root), one.reason) for one in skips
        ]
        write_text(csv_text(lines), self.path / SKIPPED)

    def _row(self, shift: Shift, root: Path, backgrounds: Path | None) -> tuple[Any, ...]:
        at = shift.placement
        where = ("", "", "", "") if at is None else (at.x, at.y, at.area, at.angle)
        background = ("", "")
        if isinstance(shift.background, Path):
            background = ("", _relative(shift.background, backgrounds or root))
        elif shift.background is not None:
            background = (str(shift.background.class_name), _relative(shift.background.image, root))
        mask = shift.mask.as_posix() if shift.has_mask else ""
        own = (str(shift.photo.class_name), _relative(shift.photo.image, root))
        file = shift.file(self.suffix).as_posix()
        return (shift.id, file, mask, shift.kind, *where, *own, *background, f"{shift.inside:.4f}")


def _relative(path: Path, root: Path) -> str:
    return printable(Path(os.path.relpath(path, root)).as_posix())


def write_contact_sheet(plan: ShiftPlan, left_out: Collection[str], folder: ShiftFolder) -> None:
    """Write a picture with up to five images of each kind; kinds that do not move the object show the same photos."""
    made: dict[str, list[Shift]] = {}
    for shift in plan.shifts:
        if shift.id not in left_out:
            made.setdefault(shift.kind, []).append(shift)
    unmoved = [{shift.photo.image for shift in some} for some in made.values() if some[0].placement is None]
    everywhere = set.intersection(*unmoved) if unmoved else set()
    rows = []
    for kind, some in made.items():
        shared = [shift for shift in some if shift.placement is not None or shift.photo.image in everywhere]
        shown = [(f"{kind}: {shift.photo.class_name}", _read(shift, folder)) for shift in _spread(shared or some)]
        rows.append(shown + [_BLANK] * (_ACROSS - len(shown)))
    if rows:
        figure_of_rows(rows, folder.path / SHEET, dpi=_DPI)


def _spread(shifts: Sequence[Shift]) -> list[Shift]:
    """Return up to ``_ACROSS`` images, evenly spaced, first and last included."""
    at = np.linspace(0, len(shifts) - 1, min(_ACROSS, len(shifts))).round().astype(int)
    return [shifts[number] for number in at]


def _read(shift: Shift, folder: ShiftFolder) -> np.ndarray:
    return np.array(fit_side(read_photo(folder.path / shift.file(folder.suffix)), _SIDE))
