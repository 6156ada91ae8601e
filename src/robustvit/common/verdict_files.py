"""Verdicts and the files that hold them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from robustvit.common.errors import UserError
from robustvit.common.files import read_json, write_json
from robustvit.common.frames import FrameRow, Tabular
from robustvit.common.intervals import Interval, mcnemar
from robustvit.common.outcomes import OUTCOMES, Outcome

NOT_WRITTEN_HERE = (KeyError, TypeError, AttributeError, ValueError, OverflowError)  # errors of reading another file


@dataclass(frozen=True)
class Comparison:
    """A measure of two models on the same photos, 0 to 1, with 95 % CIs.

    Attributes:
        measure: name of the measure.
        before: value of the first model.
        after: value of the second model.
        difference: after minus before.
        helped: number of photos that only the second model got right; None if photos have several answers or none.
        harmed: number of photos that only the first model got right.
    """

    measure: str
    before: Interval
    after: Interval
    difference: Interval
    helped: int | None = None
    harmed: int | None = None

    @property
    def mcnemar_p(self) -> float | None:
        """Exact two-sided p-value of McNemar's test; None if photos have several answers or none."""
        return None if self.helped is None or self.harmed is None else mcnemar(self.helped, self.harmed)


@dataclass(frozen=True)
class Verdict(Tabular):
    """The result of a comparison.

    Attributes:
        accepted: whether the guided model should replace the original; true only if the outcome is "better". None if
            the user decides ("cost-open") or it could not be measured.
        sentence: the result in plain words.
        comparisons: every measure that both models have.
        notes: facts that a reader of the numbers must know.
        guidance: name of the method that guided the second model, if any.
        outcome: "better", "cost-open", "not-shown" or "worse", see ``outcome_of``; None if it could not be measured,
            and in files of older versions.
        trained_on: measures whose kind of photo the second model was trained on; none of them decides if another can.
        metric: metric that decided: accuracy, as in files of older versions, or another.
    """

    accepted: bool | None
    sentence: str
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()
    guidance: str | None = None
    outcome: Outcome | None = None
    trained_on: tuple[str, ...] = ()
    metric: str = "accuracy"

    @property
    def title(self) -> str:
        """The name that the second model deserves."""
        return "Robust model" if self.accepted else "Guided model"

    def frame_rows(self) -> Iterator[FrameRow]:
        """A row for each measure: before, after and the change."""
        for one in self.comparisons:
            turned = {"helped": one.helped, "harmed": one.harmed}
            yield {"measure": one.measure, "before": one.before, "after": one.after, "change": one.difference} | turned

    def saying(self, *more: str) -> Verdict:
        """Return the verdict with further sentences."""
        return replace(self, sentence=" ".join([self.sentence, *more]))

    def of(self, measure: str) -> Comparison | None:
        """Return the comparison of a measure, if there is one."""
        return next((c for c in self.comparisons if c.measure == measure), None)


def write_verdict(verdict: Verdict, path: str | Path) -> None:
    """Write a verdict as JSON, whole or not at all."""
    write_json(asdict(verdict), path)


def read_verdict(path: str | Path) -> Verdict:
    """Read a verdict that ``write_verdict`` wrote."""
    raw = read_json(path)
    try:
        found = tuple(map(read_comparison, raw["comparisons"]))
        accepted = None if raw["accepted"] is None else bool(raw["accepted"])
        outcome = raw.get("outcome")
        if outcome is not None and outcome not in OUTCOMES:
            raise ValueError(f"outcome {outcome!r:.80}")
        notes, trained_on = (tuple(map(str, texts)) for texts in (raw["notes"], raw.get("trained_on", ())))
        metric = str(raw.get("metric", "accuracy"))
        return Verdict(accepted, str(raw["sentence"]), found, notes, raw.get("guidance"), outcome, trained_on, metric)
    except NOT_WRITTEN_HERE as error:
        raise UserError(
            f"{path} is not a verdict written by robustvit ({error}): repeat the run, or remove the file"
        ) from error


def read_comparison(row: dict[str, Any]) -> Comparison:
    """Read a comparison from its JSON object; one of ``NOT_WRITTEN_HERE`` is raised if it is something else."""
    before, after, difference = (_interval(row[side]) for side in ("before", "after", "difference"))
    turned = (None if row.get(name) is None else int(row[name]) for name in ("helped", "harmed"))
    return Comparison(str(row["measure"]), before, after, difference, *turned)


def _interval(given: dict[str, float]) -> Interval:
    return Interval(float(given["mean"]), float(given["low"]), float(given["high"]), int(given["count"]))
