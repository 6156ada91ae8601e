"""The effect of each learning rate on the validation photos, and the highest rate that harms nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from robustvit.common.files import read_json
from robustvit.common.intervals import Interval, paired_interval
from robustvit.common.outcomes import open_cost
from robustvit.common.run_folder import RunFolder


@dataclass(frozen=True)
class RateOutcome:
    """The effect of a learning rate on the validation photos.

    Attributes:
        lr: learning rate.
        accuracy: accuracy before training, in the best epoch and in the last, 0 to 1.
        relevance: relevance loss in the same order; the total loss if the guidance method has none.
        kept: number of the best epoch.
        error: error of the run, or an empty string.
        changes: paired change of accuracy in the best and in the last epoch, with 95 % CI; empty for runs of older
            versions.
    """

    lr: float
    accuracy: tuple[float, float, float] = (0.0, 0.0, 0.0)
    relevance: tuple[float, float, float] = (0.0, 0.0, 0.0)
    kept: int = 0
    error: str = ""
    changes: tuple[Interval, ...] = ()

    @property
    def change(self) -> Interval | None:
        """Change of accuracy in the best or the last epoch, whichever is worse, for mean and both ends."""
        if not self.changes:
            return None
        mean, low, high = (min(getattr(one, end) for one in self.changes) for end in ("mean", "low", "high"))
        return Interval(mean, low, high, self.changes[0].count)

    @property
    def drop(self) -> float:
        """Accuracy lost in the best or the last epoch, whichever is more, in percentage points."""
        return 100 * (self.accuracy[0] - min(self.accuracy[1:]))

    @property
    def increase(self) -> float:
        """Increase of the relevance loss in the best or the last epoch, whichever is more."""
        return max(self.relevance[1:]) - self.relevance[0]

    def qualifies(self, max_drop: float) -> bool:
        """Whether the whole interval of accuracy lost is at most ``max_drop`` points, and the loss does not rise."""
        bounded = self.change is not None and -100 * self.change.low <= max_drop + 1e-9
        return bounded and not self.reasons(max_drop)

    def reasons(self, max_drop: float) -> list[str]:
        """Return why the rate does not qualify, by its measured values; empty if it may qualify."""
        if self.error:
            return [self.error]
        if not all(map(math.isfinite, self.relevance)):
            return ["the loss became NaN"]
        reasons = [f"accuracy fell by {self.drop:.1f}"] * (self.drop > max_drop + 1e-9)
        return reasons + ["relevance loss rose"] * (self.increase > 0)

    def open_words(self, max_drop: float) -> str:
        """Say what is uncertain about a rate that may qualify, and how many photos would settle it."""
        best = f"{self.lr:.3g} is the highest rate that qualifies by the measured loss alone: accuracy"
        if self.change is None:
            return (
                f"{best} fell by {max(0.0, self.drop):.1f} points. The uncertainty is unknown: the run does not "
                "record which predictions changed. The choice is yours."
            )
        return f"{best} changed by {open_cost(self.change, max_drop)}"


def rate_outcome(lr: float, run: Path, error: str = "") -> RateOutcome:
    """Read the effect of a finished run on the validation photos."""
    folder = RunFolder(run)
    if error:
        return RateOutcome(lr, error=error)
    if not folder.verdict.is_file():
        return RateOutcome(lr, error="not finished: run the search again")
    epochs = folder.metrics()
    if not folder.beginning.is_file() or not epochs:
        return RateOutcome(lr, error=f"{run} has no record of its start")
    kept = [row for row in epochs if row["best"]][-1]
    rows = (read_json(folder.beginning), kept, epochs[-1])
    guided = "val_relevance" if all("val_relevance" in row for row in rows) else "val_loss"
    before, at, last = ((row["val_accuracy"], row[guided]) for row in rows)
    changes: tuple[Interval, ...] = ()
    if "val_right" in rows[0] and all("val_helped" in row for row in rows[1:]):
        photos = len(rows[0]["val_right"])
        changes = tuple(paired_interval(row["val_helped"], row["val_harmed"], photos) for row in rows[1:])
    return RateOutcome(lr, (before[0], at[0], last[0]), (before[1], at[1], last[1]), kept["epoch"], changes=changes)


def choose_rate(outcomes: Sequence[RateOutcome], max_drop: float) -> RateOutcome | None:
    """Return the highest rate that is shown to qualify, or None."""
    return max((one for one in outcomes if one.qualifies(max_drop)), key=lambda one: one.lr, default=None)


def likely_rate(outcomes: Sequence[RateOutcome], max_drop: float) -> RateOutcome | None:
    """Return the highest rate that may qualify, or None; the interval of its loss may be too wide."""
    return max((one for one in outcomes if not one.reasons(max_drop)), key=lambda one: one.lr, default=None)
