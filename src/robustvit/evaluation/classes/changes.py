"""Changes by class: paired differences with intervals, and which of them are significant."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from robustvit.common.intervals import Interval, mcnemar, mean_interval, paired_interval
from robustvit.evaluation.class_losses import RATE, adjusted_mcnemar
from robustvit.evaluation.on_sets.outcomes import Outcomes


@dataclass(frozen=True)
class ClassChange:
    """One class before and after.

    Attributes:
        name: of the class.
        before: accuracy of the baseline, with Wilson's 95 % CI; likewise ``after`` of the model.
        difference: after minus before; see ``paired_interval``.
        helped: images that turned from wrong to right.
        harmed: images that turned from right to wrong.
        p: exact two-sided p of McNemar's test.
        adjusted_p: the same, adjusted over all classes by Benjamini and Hochberg (1995).
        seen: whether the model was finetuned on the class; None if not known.
    """

    name: str
    before: Interval
    after: Interval
    difference: Interval
    helped: int
    harmed: int
    p: float
    adjusted_p: float
    seen: bool | None

    @property
    def significant(self) -> bool:
        """Whether the change is significant at a false discovery rate of ``RATE``."""
        return self.adjusted_p < RATE

    @property
    def order(self) -> tuple[float, int, str]:
        """Sort key: the most helped class first, then the one with more images."""
        return (-self.difference.mean, -self.difference.count, self.name)


@dataclass(frozen=True)
class Tally:
    """Numbers of classes that rose, fell and stayed, and of significant changes."""

    classes: int
    rose: int
    fell: int
    unchanged: int
    rose_significant: int
    fell_significant: int

    @classmethod
    def of(cls, rows: Sequence[ClassChange]) -> Tally:
        """Count classes."""
        rose = [row for row in rows if row.helped > row.harmed]
        fell = [row for row in rows if row.helped < row.harmed]
        significant = (sum(row.significant for row in part) for part in (rose, fell))
        return cls(len(rows), len(rose), len(fell), len(rows) - len(rose) - len(fell), *significant)


@dataclass(frozen=True)
class Changes:
    """The changes between two models on the images that both have seen.

    Attributes:
        before: top-1 accuracy of the baseline; likewise ``after`` of the model.
        difference: after minus before; see ``paired_interval``.
        helped: see ``ClassChange``, also for ``harmed`` and ``p``.
        classes: in ``ClassChange.order``.
    """

    before: Interval
    after: Interval
    difference: Interval
    helped: int
    harmed: int
    p: float
    classes: list[ClassChange]

    def most_helped(self, count: int, *, significant: bool = False) -> list[ClassChange]:
        """Return up to ``count`` classes that rose (``significant``: beyond chance), the most helped first."""
        return [row for row in self.classes if row.helped > row.harmed and row.significant >= significant][:count]

    def most_harmed(self, count: int, *, significant: bool = False) -> list[ClassChange]:
        """Return up to ``count`` classes that fell, the most harmed first, then the one with more images."""
        fell = [row for row in self.classes if row.helped < row.harmed and row.significant >= significant]
        return sorted(fell, key=lambda row: (row.difference.mean, *row.order[1:]))[:count]


def class_changes(before: Outcomes, after: Outcomes, seen: Collection[int] | None = None) -> Changes:
    """Compare two models class by class.

    Args:
        before: answers of the baseline.
        after: answers of the model.
        seen: answers that the model was finetuned on; None if not known.
    """
    _, one, other = np.intersect1d(before.names, after.names, return_indices=True)
    before, after = before.at(one), after.at(other)
    old, new = before.correct, after.correct
    names, places = np.unique(before.class_names, return_inverse=True)
    helped = np.bincount(places, new & ~old, len(names)).astype(int)
    harmed = np.bincount(places, old & ~new, len(names)).astype(int)
    ps, adjusted = adjusted_mcnemar(helped.tolist(), harmed.tolist())
    inside = None if seen is None else np.isin(before.right, list(seen)).any(axis=1).reshape(-1)
    parts = np.split(np.argsort(places, kind="stable"), np.cumsum(np.bincount(places))[:-1]) if ps else []
    rows = [
        ClassChange(
            str(name),
            mean_interval(old[part]),
            mean_interval(new[part]),
            paired_interval(int(up), int(down), len(part)),
            int(up),
            int(down),
            p,
            float(q),
            None if inside is None else bool(inside[part].any()),
        )
        for name, part, up, down, p, q in zip(names, parts, helped, harmed, ps, adjusted, strict=True)
    ]
    return Changes(
        mean_interval(old),
        mean_interval(new),
        paired_interval(int(helped.sum()), int(harmed.sum()), len(old)),
        int(helped.sum()),
        int(harmed.sum()),
        mcnemar(int(helped.sum()), int(harmed.sum())),
        sorted(rows, key=lambda row: row.order),
    )
