"""The options on how photos are prepared, read and checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.options import Interpolation
from robustvit.models.preprocessing import LARGEST_SIDE, Preprocessing


@dataclass(frozen=True)
class GivenPreprocessing:
    """The user's settings of the preprocessing; None where the model decides. See ``Preprocessing``."""

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    input_size: tuple[int, int] | None = None
    interpolation: str | None = None

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> GivenPreprocessing:
        """Read options as a command, a YAML file or Python gives them: numbers, lists, or text such as 0.5,0.5,0.5."""
        unknown = sorted(given.keys() - set(cls.__dataclass_fields__))
        if unknown:
            expect_one_of("the preprocessing", unknown[0], list(cls.__dataclass_fields__))
        size = given.get("input_size")
        interpolation = given.get("interpolation")
        if interpolation is not None:
            expect_one_of("--interpolation", interpolation, get_args(Interpolation))
        return cls(
            _read_channels("mean", given.get("mean")),
            _read_channels("std", given.get("std")),
            None if size is None else _read_size(size),
            interpolation,
        )

    @property
    def changes(self) -> dict[str, Any]:
        """The settings that were given, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def apply(self, own: Preprocessing | None) -> Preprocessing | None:
        """Return the model's settings changed as given; None if they are not known."""
        if own is not None:
            return replace(own, **self.changes)
        return None if None in (self.mean, self.std, self.input_size) else Preprocessing(**self.changes)


def _read_numbers(name: str, given: object, counts: tuple[int, ...], separators: str) -> list[float]:
    listed = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    text = ",".join(map(str, listed)).strip("()[] ")
    for separator in separators:
        text = text.replace(separator, ",")
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in counts:
        raise UserError(f"expected --{name} as {' or '.join(map(str, counts))} numbers with commas, got {given!r:.60}")
    return numbers


def _read_channels(name: str, given: object) -> tuple[float, ...] | None:
    if given is None:
        return None
    numbers = _read_numbers(name, given, (1, 3), " ")
    if not all(map(math.isfinite, numbers)) or (name == "std" and min(numbers) <= 0):
        raise UserError(f"expected --{name} of finite numbers{' above 0' * (name == 'std')}, got {given!r:.60}")
    return tuple(numbers * (3 // len(numbers)))


def _read_size(given: object) -> tuple[int, int]:
    numbers = _read_numbers("input-size", given, (1, 2), "x ")
    if not all(number.is_integer() and 1 <= number <= LARGEST_SIDE for number in numbers):
        raise UserError(f"expected --input-size of whole pixels from 1 to {LARGEST_SIDE}, got {given!r:.60}")
    return int(numbers[0]), int(numbers[-1])
