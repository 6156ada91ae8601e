"""The page for reviewing automatic masks."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from robustvit.common.errors import UserError
from robustvit.common.files import write_text
from robustvit.common.output_paths import check_own_page
from robustvit.common.pictures import draw_outline, fit_side, jpeg_url
from robustvit.common.progress import bar
from robustvit.data.manifest import NO_OBJECT, MaskRecord
from robustvit.data.mask_files import check_mask, read_mask
from robustvit.data.pixels import ANY
from robustvit.data.read_photos import read_photo
from robustvit.data.review import resolve_folder

_MARK = "robustvit-review"
_LONGER_SIDE = 360
_QUALITY = 80
_TINT, _OPACITY = np.array([214, 32, 140]), 0.4  # magenta, which is rare in photos, and shows on dark ones too
_WORKERS = 8  # each holds a photo decoded whole


def check_review(path: str | Path) -> None:
    """Refuse a path at which a review page cannot be written."""
    check_own_page(path, _MARK, "a review page")


def write_review(records: Sequence[MaskRecord], path: str | Path, *, title: str = "Review of the masks") -> Path:
    """Write the page for keeping or dropping masks: one HTML file with its pictures, which loads nothing.

    Good masks start as kept, doubtful ones as dropped. A photo without a mask, or whose photo or mask cannot be read,
    is shown with the reason and cannot be kept. The last of several records of a photo counts. An older review page at
    the path is replaced.
    """
    from robustvit.common.pages import page_template

    path = Path(path)
    if not records:
        raise UserError("expected at least one photo to review, got none: make the masks first")
    check_review(path)
    latest = {resolve_folder(record.image): record for record in records}
    with ThreadPoolExecutor(min(_WORKERS, os.cpu_count() or 1)) as pool, bar() as progress:
        drawn = pool.map(partial(_card, folder=path.parent), latest.values())
        cards = list(progress.track(drawn, total=len(latest), description="drawing outlines"))
    cards.sort(key=lambda card: (card.confidence, card.image))
    page = page_template(__package__, "review.html.j2")
    text = page.render(mark=_MARK, title=_printable(title), key=_key(cards), cards=cards)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(text, path)
    return path


@dataclass(frozen=True)
class _Card:
    """A photo on the page; it cannot be kept if it has a problem."""

    image: str
    name: str
    label: str
    verdict: str
    confidence: float
    reason: str
    picture: str = ""
    problem: str = ""

    @property
    def keep(self) -> bool:
        return self.verdict in ("good", NO_OBJECT) and not self.problem


def _card(record: MaskRecord, folder: Path) -> _Card:
    picture, problem = "", ""
    try:
        photo = fit_side(
            read_photo(record.image, pixels=ANY), _LONGER_SIDE
        )  # a small one grows: its outline would hide it
        picture = jpeg_url(np.array(photo), _LONGER_SIDE, quality=_QUALITY)
        if record.mask is None:
            problem = "no object found"
        elif record.verdict != NO_OBJECT:
            mask = read_mask(record.mask)
            check_mask(mask, record.mask)
            picture = jpeg_url(_draw_mask(photo, mask), _LONGER_SIDE, quality=_QUALITY)
    except UserError as error:
        problem = str(error)
    return _Card(
        image=_printable(_relative(record.image, folder)),
        name=_printable(record.image.name),
        label=_printable(record.label or ""),
        verdict=record.verdict,
        confidence=record.confidence if math.isfinite(record.confidence) else 0.0,
        reason=_printable(record.reason),
        picture=picture,
        problem=_printable(problem),
    )


def _relative(image: Path, folder: Path) -> str:
    place = resolve_folder(image)
    try:
        return Path(os.path.relpath(place, folder.resolve())).as_posix()
    except ValueError:  # another drive
        return place.as_posix()


def _printable(text: str) -> str:
    """Replace surrogates, which stand for bytes of a file name that are not UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _draw_mask(photo: Image.Image, mask: np.ndarray) -> np.ndarray:
    """Draw where the mask, scaled to the photo, passes half its maximum; tint what is outside."""
    fitted = np.asarray(Image.fromarray(mask).resize(photo.size, Image.Resampling.BILINEAR))
    inside = fitted >= fitted.max() / 2
    pixels = np.array(photo)
    pixels[~inside] = ((1 - _OPACITY) * pixels[~inside] + _OPACITY * _TINT).round().astype(np.uint8)
    return draw_outline(pixels, inside)


def _key(cards: Sequence[_Card]) -> str:
    """Return the browser's storage key for the decisions; it differs for other photos or masks."""
    content = hashlib.sha256()
    for card in cards:
        content.update(repr(card).encode())
    return f"{_MARK}-{content.hexdigest()[:16]}"
