"""Which numbers in a photo are black and white: parsing and writing the option ``--range``."""

from __future__ import annotations

import math
from dataclasses import dataclass

from robustvit.common.errors import UserError

CHOICES = ("auto", "percentile")


@dataclass(frozen=True)
class Scale:
    """The numbers ``low`` and ``high`` are black and white; those outside are clipped if it ``clips``, else refused."""

    low: float
    high: float
    clips: bool = False

    @classmethod
    def of_bits(cls, bits: int) -> Scale:
        """Return the scale of whole numbers of that many bits."""
        return cls(0, 2**bits - 1)

    @classmethod
    def read(cls, text: str) -> Scale:
        """Read ``1``, ``12`` or ``-160:240``, as ``str`` writes them."""
        low, colon, high = text.partition(":")
        try:
            numbers = [float(low), float(high)] if colon else [float(low)]
        except ValueError:
            numbers = []
        if len(numbers) == 2 and all(map(math.isfinite, numbers)) and numbers[0] < numbers[1]:
            return cls(numbers[0], numbers[1], clips=True)
        if len(numbers) == 1 and (numbers[0] == 1 or numbers[0] in range(8, 17)):
            return cls(0, 1) if numbers[0] == 1 else cls.of_bits(int(numbers[0]))
        raise UserError(
            f"expected --range as {', '.join(CHOICES)}, 1 (floats up to 1), bits from 8 to 16, or LOW:HIGH such as "
            f"0:4095, got {text!r:.60}"
        )

    def __str__(self) -> str:
        if self.clips:
            return f"{self.low:.10g}:{self.high:.10g}"
        return "1" if self.high == 1 else str(round(math.log2(self.high + 1)))

    def describe(self) -> str:
        """Return the scale in words."""
        return f"{self.low:.10g} is black and {self.high:.10g} white (--range{'=' if self.low < 0 else ' '}{self})"


SIXTEEN = Scale.of_bits(16)


def check_range(given: str) -> None:
    """Refuse a value of ``--range`` that means nothing."""
    if given not in CHOICES:
        Scale.read(given)
