"""Decisions of a person who reviewed masks, as the review page saves them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path, PurePosixPath

from robustvit.common.csv_files import read_csv
from robustvit.common.errors import UserError

_DECISIONS = {"keep": True, "drop": False}


@dataclass(frozen=True)
class Review:
    """The photos that a person kept or dropped.

    Attributes:
        decisions: true for keep, by the photo's path in the file, with slashes.
        path: the file; relative paths start at its folder.
        by_tail: whether a decision may match a photo by name and folder; otherwise its whole path must match.
    """

    decisions: dict[str, bool]
    path: Path
    by_tail: bool = True

    def keeps(self, image: str | Path) -> bool | None:
        """Return whether a photo was kept.

        A decision whose path leads to a file is for that file only. Any other, as in a review.csv in the downloads
        folder of a browser, is for the photo with the most trailing parts in common: the decision's whole path or, with
        ``by_tail``, at least the name and the folder. The result is None for a photo that the review does not mention.
        """
        place = resolve_folder(Path(image))
        if place in self._found:
            return self.decisions[self._found[place]]
        fits = {name: _match_tail(place.parts, tail) for name, tail in self._lost.get(place.name, {}).items()}
        best = max(fits.values(), default=(False, 0))
        names = [name for name, fit in fits.items() if fit == best]
        if best < ((False, 2) if self.by_tail else (True, 1)):
            return None
        if len(names) > 1:
            raise UserError(
                f"expected one decision for {str(image)!r} in {self.path}, both {names[0]!r} and {names[1]!r} fit: "
                "move the file into the folder of the page it was saved from"
            )
        return self.decisions[names[0]]

    @cached_property
    def _found(self) -> dict[Path, str]:
        """Names of the decisions whose paths lead to a file, by file."""
        places = {name: self.path.parent / name for name in self.decisions}
        return {resolve_folder(place): name for name, place in places.items() if place.exists()}

    @cached_property
    def _lost(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """All other decisions by file name, with the parts of their paths after the last step up."""
        found = set(self._found.values())
        lost: dict[str, dict[str, tuple[str, ...]]] = {}
        for name in self.decisions:
            if name not in found:
                tail = tuple(part for part in PurePosixPath(name).parts if part not in ("..", "/"))
                lost.setdefault(tail[-1], {})[name] = tail
        return lost


def read_review(path: str | Path) -> Review:
    """Read a CSV file with the columns ``image`` and ``decision`` (keep or drop), which a review page saved."""
    path = Path(path)
    table = read_csv(path, what="a review", fix="check the path, or save it from the page again")
    if {"image", "decision"} - set(table.columns):
        found = ", ".join(map(repr, table.columns)) or "an empty file"
        raise UserError(f"expected the columns image and decision in {path}, got {found}: save it from the page")
    decisions: dict[str, bool] = {}
    for line, row in zip(table.lines, table.rows, strict=True):
        name, keep = _read_decision(row, f"{path}, line {line}")
        if decisions.setdefault(name, keep) != keep:
            raise UserError(
                f"{path}, line {line}: expected one decision for {name!r}, got both keep and drop: remove one"
            )
    if not decisions:
        raise UserError(f"expected decisions in {path}, found none below its first line: save it from the page")
    return Review(decisions, path)


def _read_decision(row: Mapping[str, str | None], where: str) -> tuple[str, bool]:
    image, decision = row["image"] or "", (row["decision"] or "").strip()
    if not image.strip() or decision.lower() not in _DECISIONS:
        raise UserError(f"{where}: expected an image and keep or drop, got {image!r} and {decision!r}: correct it")
    return PurePosixPath(image).as_posix(), _DECISIONS[decision.lower()]


def resolve_folder(path: Path) -> Path:
    """Resolve the folder of a file, but not a link to a file, since two photos may link to the same file."""
    return path.parent.resolve() / path.name


def _match_tail(parts: tuple[str, ...], tail: tuple[str, ...]) -> tuple[bool, int]:
    """Return whether a path ends with all of a tail, and how many trailing parts they share."""
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(parts[::-1], tail[::-1], strict=False)))
    return shared == len(tail), shared
