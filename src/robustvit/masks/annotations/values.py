"""Values in annotations, of whatever type the tool gave them: numbers, ids, names, boxes, and JSON objects."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import TypeGuard

from robustvit.common.wording import shown
from robustvit.masks.annotations.objects import Box, BrokenEntry

Id = int | str

FARTHEST = 1e6  # pixels from any photo, beyond which a number is a mistake
_HUGE = 10**80  # Python refuses to print numbers of thousands of digits
_NUMBER = re.compile(r"\s*0*([0-9]{1,80})(\.0+)?\s*", re.ASCII)


def as_dict(value: object) -> dict:
    """Return a JSON object as it is, and an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list:
    """Return a list as it is, and an empty one for anything else."""
    return value if isinstance(value, list) else []


def dicts_in(value: object) -> list[dict]:
    """Return the JSON objects in a list; none for anything else."""
    return [one for one in as_list(value) if isinstance(one, dict)]


def holds(content: object, **kinds: type) -> TypeGuard[dict]:
    """Whether a JSON value is an object with values of these types under these names."""
    return isinstance(content, dict) and all(
        name in content and isinstance(content[name], kind) for name, kind in kinds.items()
    )


def whole_number(value: object) -> int | None:
    """Return a whole number that is stored as one, or as a float; else None."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is int else None


def read_whole_number(value: object) -> int | None:
    """Return a whole number that is stored as one, as a float, or as text such as ``44`` or ``44.0``; else None."""
    number = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    return int(number[1]) if number else whole_number(value)


def expect_numbers(what: str, *values: object) -> list[float]:
    """Return numbers within reach of any photo, which may be given as text."""
    numbers = []
    for value in values:
        try:
            number = float(value) if isinstance(value, (str, int, float)) else float("nan")
        except (ValueError, OverflowError):
            number = float("nan")
        if not -FARTHEST <= number <= FARTHEST:
            raise BrokenEntry(f"{what} whose numbers are missing, NaN or far from the photo")
        numbers.append(number)
    return numbers


def expect_box(numbers: object, *, sides: bool = False, centred: bool = False) -> Box:
    """Return the box that a list of four numbers stands for.

    Args:
        numbers: left, top, right and bottom.
        sides: the last two are width and height instead.
        centred: the same, and the first two are the centre.
    """
    if not isinstance(numbers, list) or len(numbers) != 4 or not {*map(type, numbers)} <= {int, float}:
        raise BrokenEntry(f"expected a box of four numbers, found {shown(numbers)}")
    try:
        one, two, three, four = map(float, numbers)
    except OverflowError as error:
        raise BrokenEntry("a box far from the photo") from error
    if centred:
        return Box(one - three / 2, two - four / 2, one + three / 2, two + four / 2)
    return Box(one, two, one + three, two + four) if sides else Box(one, two, three, four)


def expect_confidence(value: object) -> float | None:
    """Return a detector's confidence in [0, 1], None without one."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise BrokenEntry(f"expected a confidence in [0, 1], found {shown(value)}")
    return float(value)


def expect_category(name: object) -> str | None:
    """Return the name of a category, None if there is none."""
    if name is None or name == "":
        return None
    if not isinstance(name, (str, int)) or isinstance(name, bool):
        raise BrokenEntry("a category that is not a name")
    return str(name)


def as_id(value: object) -> Id | None:
    """Return an id: a text, or a whole number; None for anything else."""
    return value if isinstance(value, str) else whole_number(value)


class IdTable:
    """Finds an id among known ones: of its own type first, else the only one of the other type that means the same."""

    def __init__(self, ids: Iterable[Id]) -> None:
        self._ids = frozenset(ids)
        self._by_text: dict[Id, list[Id]] = defaultdict(list)
        for one in self._ids:
            self._by_text[_plain(one)].append(one)

    def find(self, value: object) -> Id | None:
        """Return the known id that a value means, None if there is none, or several."""
        key = as_id(value)
        if key is None or key in self._ids:
            return key
        same = self._by_text.get(_plain(key), [])
        return same[0] if len(same) == 1 else None


def _plain(key: Id) -> Id:
    if isinstance(key, int):
        return str(key) if abs(key) < _HUGE else key
    number = _NUMBER.fullmatch(key)
    return (number[1].lstrip("0") or "0") if number else key.strip()
