"""The record of a verdict: what it compares and says, as a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from robustvit.common.errors import UserError
from robustvit.common.files import read_json, write_json
from robustvit.common.intervals import Interval, mcnemar
from robustvit.common.outcomes import OUTCOMES, Outcome


@dataclass(frozen=True)
class Comparison:
    """One measure before and after over the same photos, 0 to 1, with 95 % intervals.

    Attributes:
        measure: its name.
        before: of the first model.
        after: of the second.
        difference: after minus before.
        helped: photos that only the second model got right, as far as each photo has one answer.
        harmed: photos that only the first got right.
    """

    measure: str
    before: Interval
    after: Interval
    difference: Interval
    helped: int | None = None
    harmed: int | None = None

    @property
    def mcnemar_p(self) -> float | None:
        """Exact two-sided p of McNemar's test; None where photos have several answers or none."""
        return None if self.helped is None or self.harmed is None else mcnemar(self.helped, self.harmed)


@dataclass(frozen=True)
class Verdict:
    """What a comparison comes to.

    Attributes:
        accepted: whether the model that was guided should replace the original: only where the outcome is "better".
            None where that is the user's choice ("cost-open") or could not be measured.
        sentence: the same in plain words.
        comparisons: every measure that both sides have.
        notes: what the numbers do not say by themselves.
        guidance: name of the method that the second model was guided with, where one was.
        outcome: "better", "cost-open", "not-shown" or "worse", see ``outcome_of``; None where it could not be measured,
            and in files of older versions.
    """

    accepted: bool | None
    sentence: str
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()
    guidance: str | None = None
    outcome: Outcome | None = None

    @property
    def title(self) -> str:
        """What the second model may be called."""
        return "Robust model" if self.accepted else "Guided model"

    def of(self, measure: str) -> Comparison | None:
        """The comparison of one measure, if it was made."""
        return next((c for c in self.comparisons if c.measure == measure), None)


def write_verdict(verdict: Verdict, path: str | Path) -> None:
    """Write a verdict as JSON, whole or not at all."""
    write_json(asdict(verdict), path)


def read_verdict(path: str | Path) -> Verdict:
    """Read what ``write_verdict`` wrote."""
    raw = read_json(path)
    try:
        found = tuple(map(_comparison, raw["comparisons"]))
        accepted = None if raw["accepted"] is None else bool(raw["accepted"])
        outcome = raw.get("outcome")
        if outcome is not None and outcome not in OUTCOMES:
            raise ValueError(f"outcome {outcome!r:.80}")
        notes = tuple(map(str, raw["notes"]))
        return Verdict(accepted, str(raw["sentence"]), found, notes, raw.get("guidance"), outcome)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise UserError(f"{path} is no verdict of ours ({error}): make the run's again, or remove the file") from error


def _comparison(row: dict[str, Any]) -> Comparison:
    before, after, difference = (_interval(row[side]) for side in ("before", "after", "difference"))
    turned = (None if row.get(name) is None else int(row[name]) for name in ("helped", "harmed"))
    return Comparison(str(row["measure"]), before, after, difference, *turned)


def _interval(given: dict[str, float]) -> Interval:
    return Interval(float(given["mean"]), float(given["low"]), float(given["high"]), int(given["count"]))
