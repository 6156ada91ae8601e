"""Work shared out among the processes of a job, each item to one of them, and put together again in its order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from accelerate import Accelerator
from accelerate.utils import gather_object

__all__ = ["Share"]

Item = TypeVar("Item")


@dataclass(frozen=True)
class Share:
    """The share of one process.

    Attributes:
        rank: number of the process, from 0.
        processes: how many there are.
    """

    rank: int = 0
    processes: int = 1

    @classmethod
    def of(cls, accelerator: Accelerator | None) -> Share:
        """The share of this process; without an accelerator, everything."""
        return cls() if accelerator is None else cls(accelerator.process_index, accelerator.num_processes)

    def of_items(self, items: Sequence[Item]) -> Sequence[Item]:
        """Every ``processes``-th item."""
        return items[self.rank :: self.processes]

    def joined(self, mine: list[Item]) -> list[Item]:
        """What all processes made of their items, in the order of the items; every process must come here."""
        if self.processes == 1:
            return mine
        shares = gather_object([mine])
        longest = max(map(len, shares))
        return [share[place] for place in range(longest) for share in shares if place < len(share)]
