"""How much an audit measures, and what it costs: three budgets, and the forward passes and seconds of each step."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from robustvit.audits.measures import VARIANTS
from robustvit.audits.memory import Memory
from robustvit.audits.options import AuditOptions, BudgetName
from robustvit.evaluation.insertions import ARTEFACTS, WHOLE


@dataclass(frozen=True)
class Budget:
    """How much is measured.

    Attributes:
        tries: backgrounds of other classes to try on a photo.
        shifted: photos whose object is moved, resized and rotated.
        variants: of ``VARIANTS``, the photos without object or background.
        whole: changes of the whole photo, see ``insertions.WHOLE``.
        artefacts: those of ``insertions.ARTEFACTS`` that are inserted.
        passes: forward passes a photo at most, which limits the regions beside the object; None: no limit.
        region_passes: forward passes a photo at most for blurring regions; None: no limit.
        rivals: ways of showing the model the objects alone, see ``VIEWS``.
    """

    tries: int
    shifted: int
    variants: tuple[str, ...] = tuple(VARIANTS)
    whole: tuple[str, ...] = tuple(WHOLE)
    artefacts: tuple[str, ...] = ARTEFACTS
    passes: int | None = None
    region_passes: float | None = None
    rivals: tuple[str, ...] = ()


BUDGETS: Mapping[BudgetName, Budget] = {
    # The two backgrounds of other classes that the cost needs are also those that are tried: no further pass.
    "quick": Budget(2, 0, ("only-bg-t",), (), ("text",), passes=12),
    "normal": Budget(6, 24, region_passes=4, rivals=("crop",)),
    "full": Budget(12, 60, rivals=("crop", "mask", "blur")),
}


def settle_budget(auditing: AuditOptions) -> Budget:
    """Return the budget, with the numbers that the user chose instead of its own."""
    known = BUDGETS[auditing.budget]
    return replace(
        known,
        tries=known.tries if auditing.tries is None else auditing.tries,
        shifted=known.shifted if auditing.shifted is None else auditing.shifted,
    )


@dataclass
class Step:
    """One step of an audit: pictures that went through each network, questions answered from memory, and seconds."""

    name: str
    passes: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    seconds: float = 0.0


class Spending:
    """Counts the pictures that go through networks: the model, the baseline, and a backbone that groups backgrounds."""

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
