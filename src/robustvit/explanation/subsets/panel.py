"""The panel of sufficient input subsets: its classes, named or drawn at random, its numbers in words, its picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robustvit.common.errors import UserError, nearest, printable
from robustvit.common.files import new_file
from robustvit.common.frames import FrameRow, Tabular
from robustvit.common.options import Categories

if TYPE_CHECKING:
    from torch import Tensor

    from robustvit.models.classifier import Classifier

_INCHES = 2.4  # width of a picture, for the size of the letters
_LEAST = 336  # pixels that the longer side of a picture is drawn with, about


@dataclass(frozen=True)
class ClassSubset:
    """The pixels of one photo that suffice for one class.

    Attributes:
        label: index of the class.
        name: its name.
        forced: whether it is another class than the model gives the photo.
        found: whether a subset reaches the confidence.
        pixels: size of the subset; None without one.
        share: of the photo's pixels as the model takes it, 0 to 1; None likewise.
        confidence: probability of the class with all other pixels filled; without a subset, the highest seen.
        whole: probability of the class in the whole photo.
        empty: probability of the class when every pixel is filled.
    """

    label: int
    name: str
    forced: bool
    found: bool
    pixels: int | None
    share: float | None
    confidence: float
    whole: float
    empty: float

    @property
    def title(self) -> str:
        """Three lines for the picture."""
        first = f"{'forced' if self.forced else 'own class'}: {shorten(self.name, 24)}"
        if self.pixels is None or self.share is None:
            return f"{first}\nnone found,\nat most {100 * self.confidence:.0f} % sure"
        size = f"{self.pixels} pixels, {100 * self.share:.1f} %" if self.pixels else "no pixel: the filling alone"
        return f"{first}\n{100 * self.confidence:.1f} % sure with\n{size}"

    def __str__(self) -> str:
        kind = "forced" if self.forced else "own class"
        if self.pixels is None or self.share is None:
            return f"{self.name} ({kind}): none found, at most {100 * self.confidence:.1f} %"
        return (
            f"{self.name} ({kind}): {100 * self.confidence:.1f} % with {self.pixels} pixels "
            f"({100 * self.share:.1f} % of the photo; whole photo {100 * self.whole:.1f} %)"
        )


@dataclass(frozen=True)
class SubsetPanel(Tabular):
    """What was found in some photos.

    Attributes:
        model: where it came from.
        photos: by file, the subset of the model's own class first, then those of the classes forced.
        picture: the PNG.
        record: the JSON file with the numbers.
        notes: what a reader must know of the photos.
    """

    model: str
    photos: dict[str, list[ClassSubset]]
    picture: Path
    record: Path
    notes: tuple[str, ...] = ()

    def frame_rows(self) -> Iterator[FrameRow]:
        """A row for each photo and class."""
        for photo, found in self.photos.items():
            yield from ({"photo": photo} | vars(one) for one in found)

    def __str__(self) -> str:
        lines = []
        for photo, subsets in self.photos.items():
            lines += [photo, *(f"  {one}" for one in subsets)]
        forced = [one for subsets in self.photos.values() for one in subsets if one.forced]
        if forced:
            reached = sum(one.found for one in forced)
            lines.append(
                f"{reached} of {len(forced)} forced classes reached. Pixels that suffice for a class that is not in "
                "the photo show that having such pixels is not evidence of what a model used."
            )
        return "\n".join([*lines, f"{self.picture}, {self.record}"])


def shorten(text: str, most: int = 32) -> str:
    """Cut a text to ``most`` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def draw_rows(rows: Sequence[Sequence[tuple[str, Tensor]]], path: str | Path) -> None:
    """Write rows of pictures as a PNG; each of their pixels becomes a square of pixels, and none is blurred.

    A row is a list of titles (three lines at most) and pictures, ``(3, H, W)`` in [0, 1], all of one size.
    """
    import numpy as np
    from matplotlib.figure import Figure

    height, width = rows[0][0][1].shape[-2:]
    zoom = max(1, round(_LEAST / max(height, width)))
    height, width = zoom * height, zoom * width
    dots = round(width / _INCHES)
    gap, title = round(0.12 * dots), round(0.62 * dots)
    whole = (gap + max(map(len, rows)) * (width + gap), gap + len(rows) * (title + height + gap))
    figure = Figure(figsize=(whole[0] / dots, whole[1] / dots), dpi=dots)
    for row, pictures in enumerate(rows):
        bottom = whole[1] - (row + 1) * (title + height + gap)
        for column, (words, picture) in enumerate(pictures):
            left = gap + column * (width + gap)
            pixels = (255 * picture.permute(1, 2, 0).numpy()).round().astype(np.uint8)
            figure.figimage(pixels.repeat(zoom, axis=0).repeat(zoom, axis=1), left, bottom, origin="upper")
            place = ((left + width / 2) / whole[0], (bottom + height + 0.05 * dots) / whole[1])
            figure.text(*place, printable(words), ha="center", va="bottom", fontsize=8, parse_math=False)
    with new_file(path) as file:
        figure.savefig(file, format="png")


def find_classes(classifier: Classifier, given: Categories | None) -> list[int]:
    """Return the indices of classes given by name or index; commas separate them, unless a class has such a name."""
    if given is None:
        return []
    if isinstance(given, str) and given not in classifier.class_names:
        given = given.split(",")
    listed = given if isinstance(given, list) else [given]
    return list(dict.fromkeys(find_class(classifier, str(one).strip()) for one in listed))


def find_class(classifier: Classifier, name: str) -> int:
    """Return the index of a class given by name, in any case, or by index."""
    known = {known.casefold(): i for i, known in reversed(list(enumerate(classifier.class_names)))}
    if name.casefold() in known:
        return known[name.casefold()]
    if name.isdecimal() and int(name) < classifier.num_classes:
        return int(name)
    near = nearest(name, classifier.class_names, cutoff=0.0)
    raise UserError(
        f"unknown class {name!r}: expected an index below {classifier.num_classes}"
        + (f" or a name; the nearest is {near[0]!r}" if near else "")
    )


def draw_classes(num_classes: int, own: Sequence[int], named: Sequence[int], count: int, seed: int) -> list[int]:
    """Draw up to ``count`` classes, not those named or that of all photos (``own``), first classes of no photo."""
    import torch

    order = torch.randperm(num_classes, generator=torch.Generator().manual_seed(seed)).tolist()
    free = [label for label in order if label not in named and set(own) != {label}]
    return sorted(free, key=lambda label: label in own)[:count]
