"""One scale for the photos of a set, decided before the first is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from robustvit.common.errors import UserError, printable
from robustvit.common.progress import warn
from robustvit.common.range_option import Scale
from robustvit.common.wording import pluralize
from robustvit.data.deep_pixels import Numbers, NumberSummary, PixelError, is_deep, numbers_of, scale_of
from robustvit.data.dicom import DICOM_SUFFIXES
from robustvit.data.image_tags import count_pages
from robustvit.data.pixels import PLAIN, Pixels
from robustvit.data.read_photos import open_header, open_photo, read_photo

_START = 2**12
_SEVERAL = frozenset({".png", ".apng", ".webp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif", ".hif"})
_NAMED = 3


@dataclass(frozen=True)
class SetPixels:
    """How the photos of a set are read.

    Attributes:
        photos: those of more than 8 bits, with their scale.
        notes: lines on what was chosen, and on files of several pictures.
    """

    photos: Mapping[Path, Pixels] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def settle_pixels(paths: Iterable[Path], pixels: Pixels = PLAIN) -> SetPixels:
    """Look at all photos of a set and decide on one scale for those of more than 8 bits.

    Nothing is refused here: photos without an obvious scale are refused when they are read.
    """
    kinds = {path: _look_at(path) for path in paths}
    several = {path: count for path, (count, _) in kinds.items() if count > 1}
    notes = [_describe_several(several)] if several else []
    deep = [path for path, (_, is_deep) in kinds.items() if is_deep]
    if pixels.scale is not None:
        notes.append(_describe_scale(len(deep), pixels.scale))
        return SetPixels(notes=tuple(notes))
    return _decide({path: found for path in deep if (found := _summarize(path, pixels)) is not None}, pixels, notes)


def read_together(paths: Sequence[str | Path], pixels: Pixels = PLAIN) -> list[Image.Image]:
    """Read photos as one set: those of more than 8 bits are on one scale."""
    settled = settle_pixels(map(Path, paths), pixels)
    for line in settled.notes:
        warn(line)
    return [read_photo(path, pixels=settled.photos.get(Path(path), pixels)) for path in paths]


def recorded_scale(chosen: Iterable[Pixels]) -> str | None:
    """Return the scale of photos as a value of ``--range``; None if they have several scales or none."""
    scales = {pixels.scale for pixels in chosen} - {None}
    return str(scales.pop()) if len(scales) == 1 else None


def _decide(found: Mapping[Path, NumberSummary], pixels: Pixels, notes: list[str]) -> SetPixels:
    stated = {} if pixels.by_percentile else {path: one.stated for path, one in found.items() if one.stated}
    photos: dict[Path, Pixels] = {}
    if stated:
        ways = sorted(set(stated.values()))
        shown = ways[0] if len(ways) == 1 else f"in {len(ways)} ways, such as {ways[0]} and {ways[-1]}"
        notes.append(
            f"{pluralize(len(stated), 'photo')} {'states' if len(stated) == 1 else 'state'} which numbers are black "
            f"and white ({shown}); --range LOW:HIGH overrides that, on one scale for all."
        )
    for floats in (False, True):
        group = {path: one for path, one in found.items() if one.floats is floats and path not in stated}
        if not group:
            continue
        try:
            scale = scale_of(list(group.values()), pixels.by_percentile)
            photos |= dict.fromkeys(group, replace(pixels, scale=scale))
            notes.append(_describe_scale(len(group), scale))
        except PixelError as error:
            photos |= dict.fromkeys(group, replace(pixels, doubt=str(error)))
    return SetPixels(photos, tuple(notes))


def _look_at(path: Path) -> tuple[int, bool]:
    """Return the number of pictures in a file, and whether its pixels have more than 8 bits; little is read."""
    suffix = path.suffix.lower()
    if suffix in DICOM_SUFFIXES:
        return 1, True
    if suffix not in _SEVERAL | {".pgm", ".ppm", ".pnm"}:
        return 1, False
    try:
        with path.open("rb") as file:
            start = file.read(_START)
        if start.startswith(b"\x89PNG") and b"acTL" not in start:
            return 1, start[24:25] == b"\x10"
        if start[8:12] == b"WEBP" and b"ANIM" not in start:
            return 1, False
        with open_header(path) as image:
            # Pillow would read the tags of every page, which nobody has looked at
            pages = count_pages(path) if image.format == "TIFF" else getattr(image, "n_frames", 1)
            return pages, is_deep(image)
    except (OSError, ValueError, UserError):  # it is refused where it is read; a name may hold a null
        return 1, False


def _summarize(path: Path, pixels: Pixels) -> NumberSummary | None:
    """Summarize the numbers of a photo; None if it has 8 bits or will be refused when it is read."""
    try:
        image = open_photo(path)
        numbers = image if isinstance(image, Numbers) else numbers_of(image)
        if numbers is not None:
            return numbers.summarize(pixels.by_percentile)
    except UserError:
        pass
    return None


def _describe_scale(photos: int, scale: Scale) -> str:
    if not photos:
        return f"No photo here has more than 8 bits: --range {scale} changes nothing."
    return f"{pluralize(photos, 'photo')} of more than 8 bits: {scale.describe()}."


def _describe_several(several: Mapping[Path, int]) -> str:
    first = ", ".join(f"{printable(path.name)}: {count}" for path, count in sorted(several.items())[:_NAMED])
    more = ", ..." if len(several) > _NAMED else ""
    return (
        f"{pluralize(len(several), 'photo')} {'holds' if len(several) == 1 else 'hold'} several pictures "
        f"({first}{more}): the first of each is read; save the others as files of their own to use them."
    )
