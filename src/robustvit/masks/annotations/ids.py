"""Ids and sizes in JSON files, whatever type the tool gave them: 1, 1.0, "1" and "0001"."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

Id = int | str

_HUGE = 10**80  # Python refuses to print numbers of thousands of digits
_NUMBER = re.compile(r"\s*0*([0-9]{1,80})(\.0+)?\s*", re.ASCII)


def whole_number(value: object) -> int | None:
    """Return a whole number that is stored as one, or as a float; else None."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is int else None


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
