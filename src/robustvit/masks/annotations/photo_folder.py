"""The folder of the annotated photos, looked up by their names in the annotations."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.common.files import expect_folder
from robustvit.common.wording import pluralize
from robustvit.data.folder_files import files_below
from robustvit.data.masks_beside import masks_beside
from robustvit.data.photo_names import Key, PhotoNames
from robustvit.data.read_photos import IMAGE_SUFFIXES


class PhotoFolder:
    """The photos in a folder, flat or nested, looked up by their names in annotations."""

    def __init__(self, folder: Path | None) -> None:
        if folder is None:
            raise UserError("expected the folder of the annotated photos, none was named: give it with --images")
        self.folder = expect_folder(folder, "photos")
        self.photos = files_below(self.folder, IMAGE_SUFFIXES)
        if not self.photos:
            raise UserError(f"expected photos in {folder} or in folders in it, found none: check the path")
        self._names = PhotoNames(self.photos, self.folder)

    @classmethod
    def find(cls, images: Path | None, *places: Path) -> PhotoFolder:
        """Return the named folder, else the first of some places that is a folder with photos."""
        if images is not None:
            return cls(images)
        for place in places:
            if place.is_dir():
                try:
                    return cls(place)
                except UserError:
                    continue
        looked = ", ".join(map(str, places))
        raise UserError(f"expected the annotated photos in {looked}, found none: name their folder with --images")

    def separate(self, source: Path, masks: Mapping[str, Path]) -> dict[str, Path]:
        """Tell masks from photos where the folder of one lies in that of the other, or is the same; return the masks.

        In one folder, masks are those that ``masks_beside`` finds. ``masks`` are all files in the folder ``source`` by
        their paths; photos among them are dropped from this folder.
        """
        ours, theirs = self.folder.resolve(), source.resolve()
        if ours in theirs.parents:
            inner = theirs.relative_to(ours).as_posix()
            self._keep({place: path for place, path in self.photos.items() if not place.startswith(f"{inner}/")})
        if theirs in ours.parents:
            inner = ours.relative_to(theirs).as_posix()
            return {place: path for place, path in masks.items() if not place.startswith(f"{inner}/")}
        if ours != theirs:
            return dict(masks)
        beside = masks_beside(self.photos)
        marked = {place: path for place, path in masks.items() if place in beside}
        if not marked:
            raise UserError(
                f"expected masks and photos in two folders, both lie in {source} and no name tells them apart (as "
                "a_mask.png does, if it looks like a mask): move the masks to a folder of their own"
            )
        self._keep({place: path for place, path in self.photos.items() if place not in marked})
        return marked

    def leave_out(self, files: Collection[Path]) -> None:
        """Drop files that are not photos, such as masks that a list names."""
        others = {os.path.normpath(path) for path in files}
        self._keep({place: path for place, path in self.photos.items() if os.path.normpath(path) not in others})

    def _keep(self, photos: dict[str, Path]) -> None:
        if not photos:
            raise UserError(f"expected photos beside the masks in {self.folder}, found none: check the paths")
        self.photos, self._names = photos, PhotoNames(photos, self.folder)

    def match(
        self,
        wanted: Mapping[Key, str],
        problems: list[str],
        *,
        stem_only: bool = False,
        describe: Callable[[Key], str] = str,
    ) -> dict[Key, Path]:
        """Return the photo of each annotation, as ``PhotoNames.match`` finds it; the others become problem lines."""
        matches = self._names.match(wanted, stem_only, describe)
        problems.extend(f"{describe(key)}: {reason}" for key, reason in matches.lost.items())
        problems.extend(matches.notes)
        return {key: self.photos[place] for key, place in matches.found.items()}

    def report_lacking(self, found: Mapping[Key, Path], what: str, problems: list[str]) -> None:
        """Add a problem line on photos that no annotation has, which lack ``what``."""
        having = set(found.values())
        if lacking := [image for image in self.photos.values() if image not in having]:
            problems.append(f"{pluralize(len(lacking), 'photo')} without {what}, the first is {lacking[0]}")


def find_photos_inside(folder: Path) -> Path:
    """Return where a data set has its photos: the folder ``images`` in it, else the set's folder itself."""
    return folder / "images" if (folder / "images").is_dir() else folder
