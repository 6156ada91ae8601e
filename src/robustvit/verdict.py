"""The honest verdict: did the model get better on shifted backgrounds, and what did it cost?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from robustvit.errors import UserError
from robustvit.files import read_json, write_json
from robustvit.intervals import Interval, mcnemar
from robustvit.measured_intervals import measure_difference, measure_interval
from robustvit.measurement import MEASURES, PhotoMeasure
from robustvit.outcomes import MIN_PHOTOS, OUTCOMES, Outcome, outcome_of, sentence_of

__all__ = ["MIN_PHOTOS", "Comparison", "Verdict", "compare", "decide", "read_verdict", "write_verdict"]

DECISIVE: dict[str, str] = {  # the first that was measured; files of older versions have the second only
    "mixed-other": "backgrounds of other classes",
    "mixed-rand": "random backgrounds",
}


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


def compare(before: Sequence[PhotoMeasure], after: Sequence[PhotoMeasure]) -> tuple[Comparison, ...]:
    """Compare two models photo by photo; the measures must be of the same photos in the same order."""
    if [b.image for b in before] != [a.image for a in after]:
        raise UserError("expected both models measured on the same photos in the same order: measure them again")
    found = []
    for name in MEASURES:
        difference = measure_difference(before, after, name)
        if difference is not None:
            sides = [measure_interval(side, name) for side in (before, after)]
            found.append(Comparison(name, *sides, difference, *_turned(before, after, name)))
    return tuple(found)


def _turned(before: Sequence[PhotoMeasure], after: Sequence[PhotoMeasure], name: str) -> tuple[int | None, int | None]:
    """Photos helped and harmed; None where a value is no single answer."""
    pairs = [(b.values[name], a.values[name]) for b, a in zip(before, after, strict=True)
             if name in b.values and name in a.values]  # fmt: skip
    if not all(value in (0, 1) for pair in pairs for value in pair):
        return None, None
    return pairs.count((0, 1)), pairs.count((1, 0))


def decide(comparisons: Sequence[Comparison], *, max_drop: float = 2.0, notes: Sequence[str] = ()) -> Verdict:
    """Turn comparisons into one of four outcomes and a plain sentence; see ``outcome_of``.

    The measure that decides is mixed-other: accuracy on backgrounds of other classes.

    Args:
        comparisons: what ``compare`` returned.
        max_drop: points of ordinary accuracy that may be lost.
        notes: kept in the verdict.
    """
    by_name = {comparison.measure: comparison for comparison in comparisons}
    measure = next((name for name in DECISIVE if name in by_name), None)
    if measure is None or "ordinary" not in by_name:
        return Verdict(
            None,
            "Not measured: swapped backgrounds need held-out photos with masks and classes. Keep the original until "
            "this has been measured.",
            tuple(comparisons),
            tuple(notes),
        )
    gain, ordinary = by_name[measure].difference, by_name["ordinary"].difference
    outcome = outcome_of(gain, ordinary, max_drop)
    said = tuple(notes)
    if measure != next(iter(DECISIVE)):
        said += ("Decided on mixed-rand, as older versions measured: its backgrounds may be of the photo's own class.",)
    accepted = {"better": True, "cost-open": None}.get(outcome, False)
    sentence = sentence_of(outcome, gain, ordinary, max_drop, DECISIVE[measure])
    return Verdict(accepted, sentence, tuple(comparisons), said, outcome=outcome)


def write_verdict(verdict: Verdict, path: str | Path) -> None:
    """Write a verdict as JSON, whole or not at all."""
    write_json(asdict(verdict), path)


def read_verdict(path: str | Path) -> Verdict:
    """Read what ``write_verdict`` wrote.

    Raises:
        UserError: it is no such file.
    """
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
