"""What a search may vary: a range of an option, or a list of choices."""

from __future__ import annotations

import inspect
import math
import typing
from dataclasses import dataclass
from typing import Any

from robustvit.common.errors import UserError
from robustvit.training.finetune import finetune


@dataclass(frozen=True)
class Space:
    """The values that one option may take.

    Attributes:
        low: least value of a range.
        high: greatest value of a range.
        log: whether a range is drawn from evenly on a logarithmic scale.
        whole: whether only whole numbers are meant.
        choices: the values, where it is no range.
    """

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    choices: tuple[Any, ...] = ()

    @property
    def samples(self) -> tuple[Any, ...]:
        """The choices, or both ends of the range."""
        return self.choices or (self.low, self.high)

    def distribution(self) -> Any:
        """The same for Optuna."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)


def read_space(name: str, raw: Any, place: str) -> Space:
    """Read ``[low, high]``, ``[low, high, log]`` or a list of choices."""
    if not isinstance(raw, list) or len(raw) < 2:
        raise UserError(f"{place}: expected {name} as [low, high], [low, high, log] or a list of choices, got {raw!r}")
    log = raw[-1] == "log" and len(raw) == 3
    low, high = (_number(value) for value in raw[:2])
    if low is None or high is None or not (len(raw) == 2 or log):
        if not all(isinstance(value, (str, int, float)) for value in raw):
            raise UserError(f"{place}: expected {name} to be chosen among texts or numbers, got {raw!r}")
        return Space(choices=tuple(value if (number := _number(value)) is None else number for value in raw))
    if not low < high < math.inf or (log and low <= 0):
        above = " above 0" if log else ""
        raise UserError(f"{place}: expected {name} to range from a lower to a higher number{above}, got {raw!r}")
    whole = isinstance(low, int) and isinstance(high, int) and _takes_whole_numbers(name)
    return Space(low, high, log, whole)


def _takes_whole_numbers(name: str) -> bool:
    annotation = inspect.signature(finetune).parameters[name].annotation
    return annotation is int or int in typing.get_args(annotation)


def _number(value: Any) -> float | int | None:
    """A number, also as YAML leaves it when it is written without a point: 5e-7."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None
