"""The values that a search may try: a range or a list of choices."""

from __future__ import annotations

import inspect
import math
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from robustvit.common.errors import UserError
from robustvit.training.finetune import finetune

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class Space:
    """The values that an option may take.

    Attributes:
        low: lower end of a range.
        high: upper end of a range.
        log: whether to sample a range on a logarithmic scale.
        whole: whether to sample whole numbers only.
        choices: values, if this is not a range.
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

    def distribution(self) -> BaseDistribution:
        """Return the distribution for Optuna."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)


def read_space(name: str, raw: object, place: str) -> Space:
    """Read ``[low, high]``, ``[low, high, log]`` or a list of choices."""
    if not isinstance(raw, list) or len(raw) < 2:
        raise UserError(f"{place}: expected {name} as [low, high], [low, high, log] or a list of choices, got {raw!r}")
    log = raw[-1] == "log" and len(raw) == 3
    low, high = (read_number(value) for value in raw[:2])
    if low is None or high is None or not (len(raw) == 2 or log):
        if not all(isinstance(value, (str, int, float)) for value in raw):
            raise UserError(f"{place}: expected choices of text or numbers for {name}, got {raw!r}")
        return Space(choices=tuple(value if (number := read_number(value)) is None else number for value in raw))
    if not low < high < math.inf or (log and low <= 0):
        above = " above 0" if log else ""
        raise UserError(f"{place}: expected {name} to range from a lower to a higher number{above}, got {raw!r}")
    whole = isinstance(low, int) and isinstance(high, int) and _takes_whole_numbers(name)
    return Space(low, high, log, whole)


def _takes_whole_numbers(name: str) -> bool:
    annotation = inspect.signature(finetune).parameters[name].annotation
    return annotation is int or int in typing.get_args(annotation)


def read_number(value: object) -> float | int | None:
    """Return a number, or None. YAML reads 5e-7, without a decimal point, as text."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None
