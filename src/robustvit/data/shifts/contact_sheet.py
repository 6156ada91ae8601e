"""A contact sheet of shifted copies: a row of examples for each kind."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from robustvit.common.pictures import figure_of_rows, fit_side
from robustvit.data.read_photos import read_photo
from robustvit.data.shifts.folder import ShiftFolder
from robustvit.data.shifts.kinds import Shift, ShiftPlan

SHEET = "contact-sheet.png"
_ACROSS, _SIDE, _DPI = 5, 192, 80
_BLANK = ("", np.full((1, 1, 3), 255, np.uint8))


def write_contact_sheet(plan: ShiftPlan, left_out: Collection[str], folder: ShiftFolder) -> Path | None:
    """Write a picture with up to five images of each kind; kinds that do not move the object show the same photos.

    Returns:
        The picture; None if there is no image at all.
    """
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
    if not rows:
        return None
    figure_of_rows(rows, folder.path / SHEET, dpi=_DPI)
    return folder.path / SHEET


def _spread(shifts: Sequence[Shift]) -> list[Shift]:
    """Return up to ``_ACROSS`` of them, evenly spaced, first and last included."""
    at = np.linspace(0, len(shifts) - 1, min(_ACROSS, len(shifts))).round().astype(int)
    return [shifts[number] for number in at]


def _read(shift: Shift, folder: ShiftFolder) -> np.ndarray:
    return np.array(fit_side(read_photo(folder.path / shift.file(folder.suffix)), _SIDE))
