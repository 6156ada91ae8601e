"""The steps that readers share: from photos as a format lists them to photos with objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.common.options import Orientation
from robustvit.common.wording import pluralize
from robustvit.data.photo_names import Key
from robustvit.masks.annotations.annotated import AnnotatedPhoto, Annotations, leave_out_unmarked, photo_with_objects
from robustvit.masks.annotations.boxes import doubt_corners, doubt_units
from robustvit.masks.annotations.marked import MarkedBox, MarkedPhoto
from robustvit.masks.annotations.objects import Box, BrokenEntry, leaving_out
from robustvit.masks.annotations.orientation import View, view_photo
from robustvit.masks.annotations.photo_folder import PhotoFolder
from robustvit.masks.annotations.shapes import mask_tools
from robustvit.masks.annotations.values import read_whole_number


@dataclass
class PhotoListing:
    """The photos of annotations, as a reader collects them.

    Attributes:
        source: the annotations.
        orientation: see ``read_annotations``.
        problems: lines that the user sees.
        no_areas: shapes that mark no area, counted by kind.
    """

    source: Path
    orientation: Orientation | None
    problems: list[str] = field(default_factory=list)
    no_areas: Counter[str] = field(default_factory=Counter)
    _found: list[tuple[str, Path, MarkedPhoto]] = field(default_factory=list)
    _named: dict[str, None] = field(default_factory=dict)

    def leaving_out(self, where: object) -> AbstractContextManager[None]:
        """Continue after a block that meets a broken part, and name that; see ``objects.leaving_out``."""
        return leaving_out(where, self.problems)

    def match(
        self, marked: Mapping[Key, MarkedPhoto], folder: PhotoFolder, describe: Callable[[Key], str] = str
    ) -> dict[Key, Path]:
        """Add the photos that a folder has, by their names, and return their files.

        ``describe`` says what to call a photo in a complaint.
        """
        found = folder.match({key: one.name for key, one in marked.items()}, self.problems, describe=describe)
        self.add(marked, found, describe)
        return found

    def add(
        self, marked: Mapping[Key, MarkedPhoto], found: Mapping[Key, Path], describe: Callable[[Key], str] = str
    ) -> None:
        """Add photos whose files are known; of the others, only the categories."""
        self._found += [(describe(key), image, marked[key]) for key, image in found.items()]
        areas = (area for one in marked.values() for area in one.areas)
        self._named |= dict.fromkeys(area.category for area in areas if area.category)

    def finish(self, root: Path | None, categories: Iterable[str] | None = None) -> Annotations:
        """Return the photos with their objects.

        Args:
            root: the folder of the photos that masks mirror.
            categories: names of all categories; None takes those of the areas, and of photos that show no object.
        """
        mask_tools()
        photos = self._view_photos()
        if self.no_areas:
            listed = ", ".join(f"{count} {kind}" for kind, count in sorted(self.no_areas.items()))
            self.problems.append(f"{self.source}: shapes that mark no area are left out: {listed}")
        kept = leave_out_unmarked([photo for photo, _ in photos], self._named, self.problems)
        if categories is None:
            categories = [*self._named, *(photo.label for photo in kept if photo.label)]
        question = _question_boxes([(marked, photo.view) for photo, marked in photos], self.source)
        return Annotations(
            sorted(kept, key=lambda photo: photo.image),
            self.problems,
            tuple(dict.fromkeys(categories)),
            root=root,
            doubts={"units": question} if question else {},
        )

    def _view_photos(self) -> list[tuple[AnnotatedPhoto, MarkedPhoto]]:
        """Return the photos that can be used, each with its listing; name and count the others."""
        photos: list[tuple[AnnotatedPhoto, MarkedPhoto]] = []
        empty: list[Path] = []
        for where, image, marked in self._found:
            if not marked.areas and not marked.nothing:
                empty.append(image)
                continue
            try:
                view = view_photo(image, _plain_size(marked.size), self.orientation)
            except (BrokenEntry, UserError) as error:
                self.problems.append(f"{where}: {error}; left out")
                continue
            decode = partial(marked.mark, marked.where or str(image), view)
            photo = photo_with_objects(image, decode, self.problems, view, marked.content)
            label = None if marked.areas else marked.label
            photos.append((replace(photo, doubt=marked.doubt, label=label), marked))
        if empty:
            first = f"the first is {min(empty)}"
            self.problems.append(
                f"{pluralize(len(empty), 'photo')} of {self.source} without a usable annotation, {first}"
            )
        return photos


def _plain_size(size: tuple[object, object] | None) -> tuple[object, object] | None:
    if size is None or size in ((None, None), (0, 0)):
        return None
    height, width = map(read_whole_number, size)
    return (height, width) if height is not None and width is not None else size


def _question_boxes(photos: Sequence[tuple[MarkedPhoto, View]], source: Path) -> str:
    """Return a question if boxes do not look as if the units and sides of their format were theirs, else no text."""
    boxes: list[tuple[MarkedBox, Box, View]] = []
    for marked, view in photos:
        for area in marked.areas:
            with suppress(BrokenEntry):
                boxes += [(area, area.read(), view)] if isinstance(area, MarkedBox) else []
    if not boxes:
        return ""
    units = boxes[0][0].units
    with_sides = [(box, view.size) for area, box, view in boxes if area.sides and units == "pixels"]
    return doubt_units([box for _, box, _ in boxes], units, source) or doubt_corners(with_sides, source)
