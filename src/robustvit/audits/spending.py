"""What an audit costs: forward passes, counted by hooks in the networks, and seconds, step by step."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from robustvit.audits.memory import Memory


@dataclass
class Step:
    """One step of an audit.

    Attributes:
        name: what it measures.
        passes: pictures that went through each network, by side.
        repeated: questions that were answered from memory.
        seconds: that it took.
    """

    name: str
    passes: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    seconds: float = 0.0


class Spending:
    """Counts the pictures that go through networks.

    Args:
        networks: by side: ``model``, ``baseline``, and another that tells backgrounds apart.
        memory: whose repeated questions are counted.
        photos: number of photos.
    """

    def __init__(self, networks: Mapping[str, nn.Module], memory: Memory, photos: int) -> None:
        self.memory, self.photos, self.steps = memory, photos, [Step("")]
        self._hooks = [
            network.register_forward_pre_hook(self._counter(side), with_kwargs=True)
            for side, network in networks.items()
        ]

    def _counter(self, side: str) -> Any:
        def count(_: nn.Module, given: tuple[object, ...], named: dict[str, object]) -> None:
            pictures = next(one for one in (*given, *named.values()) if isinstance(one, Tensor))
            self.steps[-1].passes[side] += len(pictures)

        return count

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count what is spent in a ``with`` block under a name; its answers are saved at the end."""
        start, repeated = time.perf_counter(), self.memory.repeated
        self.steps.append(Step(name))
        mine = self.steps[-1]
        try:
            yield
        finally:
            mine.seconds = time.perf_counter() - start
            mine.repeated = self.memory.repeated - repeated
            self.memory.save()

    def close(self) -> None:
        """Stop counting."""
        for hook in self._hooks:
            hook.remove()

    def passes(self, side: str) -> int:
        """Return how many pictures went through a network."""
        return sum(one.passes[side] for one in self.steps)

    def record(self) -> dict[str, Any]:
        """Return what was spent as plain values."""
        sides = sorted({side for one in self.steps for side in one.passes})
        return {
            "passes": {side: self.passes(side) for side in sides},
            "a_photo": {side: self.passes(side) / max(1, self.photos) for side in sides},
            "repeated": sum(one.repeated for one in self.steps),
            "resumed": self.memory.resumed,
            "steps": [
                {"name": one.name, "passes": dict(one.passes), "repeated": one.repeated,
                 "seconds": round(one.seconds, 2)}
                for one in self.steps if one.name
            ],
        }  # fmt: skip
