"""Photos by their names: which of a folder each annotation, mask or row of a list belongs to."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Generic, TypeVar

from robustvit.common.wording import pluralize, shown
from robustvit.data.matching import CONTAINERS, Fit, Name, match

Key = TypeVar("Key", bound=Hashable)

_SHOWN = 3
_TASK = re.compile(r"task-\d+-annotation-\d+")


@dataclass(frozen=True)
class Matches(Generic[Key]):
    """Which annotation has which photo.

    Attributes:
        found: path of the photo in its folder, by annotation.
        lost: why an annotation has none.
        notes: lines on annotations whose names are not those of their photos.
    """

    found: dict[Key, str] = field(default_factory=dict)
    lost: dict[Key, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class _Index:
    """Photos by stem, and by stem and last folder: many folders may hold photos of the same names."""

    def __init__(self, names: Mapping[str, tuple[tuple[str, ...], list[str]]]) -> None:
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        self._by_folder: dict[tuple[str, str], list[str]] = defaultdict(list)
        for place, (folders, stems) in names.items():
            for stem in stems:
                self._by_stem[stem].append(place)
                self._by_folder[folders[-1] if folders else "", stem].append(place)

    def find(self, folders: tuple[str, ...], stems: list[str]) -> list[str]:
        """Return the photos of any of these stems whose last folder is the same, or that lie in none."""
        if folders:
            found = [self._by_folder.get((folder, stem), []) for stem in stems for folder in (folders[-1], "")]
        else:
            found = [self._by_stem.get(stem, []) for stem in stems]
        return list(dict.fromkeys(chain(*found)))


class PhotoNames:
    """The names of the photos in a folder, by their paths in it, with slashes, to match annotations with."""

    def __init__(self, places: Collection[str], folder: Path) -> None:
        self.folder = folder
        parts = [part for part in folder.resolve().parts if part.lower() not in CONTAINERS]
        self._above = parts[-1] if parts else ""
        self._names = {place: Name.of(place) for place in places}

    @cached_property
    def _exact(self) -> dict[str, list[str]]:
        """Photos by path, with and without the ending."""
        found: dict[str, list[str]] = defaultdict(list)
        for place, name in self._names.items():
            for text in {name.text, name.text.removesuffix(name.ending)}:
                found[text].append(place)
        return found

    @cached_property
    def _stems(self) -> _Index:
        return _Index({place: (name.folders, [name.stem]) for place, name in self._names.items()})

    @cached_property
    def _forms(self) -> _Index:
        """Photos by their names without what tools change."""
        return _Index({place: name.plain_parts(is_photo=True) for place, name in self._names.items()})

    def match(
        self, wanted: Mapping[Key, str], stem_only: bool = False, describe: Callable[[Key], str] = str
    ) -> Matches[Key]:
        """Find the photo of each annotation.

        The best fit counts (``Fit``). If several photos fit equally well, or several annotations fit one photo equally
        well, all of them are left out.

        Args:
            wanted: path or name of the photo, by annotation.
            stem_only: the names lack the photo's suffix.
            describe: names an annotation in messages.
        """
        matches: Matches[Key] = Matches()
        claims: dict[Fit, dict[str, list[Key]]] = {fit: defaultdict(list) for fit in Fit}
        for key, text in wanted.items():
            fit, places = self._find_candidates(Name.of(text, stem_only))
            if len(places) == 1:
                claims[fit][places[0]].append(key)
            else:
                matches.lost[key] = self._explain_lost(text, places)
        owners: dict[str, Key] = {}
        for fit in sorted(Fit, reverse=True):
            for place, keys in claims[fit].items():
                if place in owners:
                    other = f"in {self.folder}; {place} belongs to {describe(owners[place])}"
                    matches.lost.update({key: f"no photo {shown(wanted[key])} {other}" for key in keys})
                else:
                    owners[place] = keys[0]
                    self._give(place, keys, matches, describe)
        self._note(matches, claims, {key: describe(key) if stem_only else shown(text) for key, text in wanted.items()})
        return matches

    def _find_candidates(self, name: Name) -> tuple[Fit, list[str]]:
        """Return the best fit and the photos that have it; worse fits are tried only if there is no better one."""
        near = self._exact.get(name.text) or self._stems.find(name.folders, [name.stem])
        best, found = self._find_best(name, near)
        if best <= Fit.CHANGED:
            best, found = self._find_best(name, self._forms.find(*name.plain_parts()))
        return best, found

    def _find_best(self, name: Name, places: Sequence[str]) -> tuple[Fit, list[str]]:
        fits = {place: match(name, self._names[place], self._above) for place in places}
        best = max(fits.values(), default=Fit.NONE)
        return best, [place for place, fit in fits.items() if fit == best and fit > Fit.NONE]

    def _explain_lost(self, text: str, places: list[str]) -> str:
        if places:
            return f"several photos could be {shown(text)}: {places[0]} and {places[1]} in {self.folder}"
        near = self._stems.find((), [Name.of(text).stem])
        hint = f"; {near[0]} is another" if near else ""
        if _TASK.match(posixpath.basename(text)):
            hint = "; Label Studio names brush masks by their task, not by their photo: rename them"
        return f"no photo {shown(text)} in {self.folder}{hint}"

    def _give(self, place: str, keys: list[Key], matches: Matches[Key], describe: Callable[[Key], str]) -> None:
        """Give a photo to its only annotation, or to none of several."""
        if len(keys) == 1:
            matches.found[keys[0]] = place
            return
        for key in keys:
            other, photo = describe(next(one for one in keys if one != key)), self.folder / place
            matches.lost[key] = f"{photo} is listed twice, also by {other}: left out, which one holds is unknown"

    def _note(
        self, matches: Matches[Key], claims: Mapping[Fit, Mapping[str, list[Key]]], words: Mapping[Key, str]
    ) -> None:
        reasons = {Fit.CHANGED: "found by a name that a tool may have changed", Fit.NAME: "found by the name alone"}
        for fit, reason in reasons.items():
            pairs = [(key, place) for place, keys in claims[fit].items() for key in keys if key in matches.found]
            if pairs:
                examples = ", ".join(f"{words[key]} is taken for {place}" for key, place in pairs[:_SHOWN])
                more = ", ..." if len(pairs) > _SHOWN else ""
                matches.notes.append(f"{pluralize(len(pairs), 'photo')} {reason}: {examples}{more}")


def adopt_masks(masks: dict[Key, Path], photos: Mapping[Key, str], images: Path, folder: Path) -> list[str]:
    """Give masks whose names are not those of a photo to the photo that ``PhotoNames.match`` finds; return notes on it.

    Args:
        masks: masks by the keys that they share with photos; changed in place.
        photos: paths of the photos in their folder, by such keys.
        images: folder of the photos.
        folder: folder of the masks.
    """
    if not set(masks) - set(photos):
        return []
    keys = {place: key for key, place in photos.items()}
    wanted = {key: path.relative_to(folder).with_suffix("").as_posix() for key, path in masks.items()}
    matches = PhotoNames(keys, images).match(wanted, stem_only=True, describe=lambda key: str(masks[key]))
    for key, place in matches.found.items():
        if key not in photos:
            masks[keys[place]] = masks.pop(key)
    return matches.notes
