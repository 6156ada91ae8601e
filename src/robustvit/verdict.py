"""The honest verdict: did the model get better on shifted backgrounds, and what did it cost?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from robustvit.errors import UserError
from robustvit.files import read_json, write_json
from robustvit.intervals import Interval
from robustvit.measured_intervals import measure_difference, measure_interval
from robustvit.measurement import MEASURES, PhotoMeasure

__all__ = ["Comparison", "Verdict", "compare", "decide", "read_verdict", "write_verdict"]

DECISIVE = "mixed-rand"
MIN_PHOTOS = 20  # a bootstrap over fewer promises a certainty that it does not have


@dataclass(frozen=True)
class Comparison:
    """One measure before and after over the same photos, 0 to 1, with 95 % intervals."""

    measure: str
    before: Interval
    after: Interval
    difference: Interval


@dataclass(frozen=True)
class Verdict:
    """What a comparison comes to.

    Attributes:
        accepted: whether the model that was guided should replace the original; None where it could not be told.
        sentence: the same in plain words.
        comparisons: every measure that both sides have.
        notes: what the numbers do not say by themselves.
        guidance: name of the method that the second model was guided with, where one was.
    """

    accepted: bool | None
    sentence: str
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()
    guidance: str | None = None

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
            found.append(Comparison(name, *sides, difference))
    return tuple(found)


def decide(comparisons: Sequence[Comparison], *, max_drop: float = 2.0, notes: Sequence[str] = ()) -> Verdict:
    """Turn comparisons into one plain sentence.

    With fewer than 20 photos nothing is decided. Accepted is a model whose accuracy on random backgrounds rose, with
    the whole 95 % interval above zero, at a loss of ordinary accuracy of at most ``max_drop`` points.
    """
    by_name = {comparison.measure: comparison for comparison in comparisons}
    if DECISIVE not in by_name or "ordinary" not in by_name:
        return Verdict(
            None,
            "Cannot tell: swapped backgrounds need held-out photos with masks and classes. Keep the original until "
            "they were measured.",
            tuple(comparisons),
            tuple(notes),
        )
    shifted, ordinary = by_name[DECISIVE].difference, by_name["ordinary"].difference
    if shifted.count < MIN_PHOTOS:
        sentence = (
            f"Cannot tell: only {shifted.count} photos could be put on other backgrounds, at least {MIN_PHOTOS} are "
            "needed. Keep the original until more were measured."
        )
        return Verdict(None, sentence, tuple(comparisons), tuple(notes))
    gain = f"{100 * shifted.mean:+.1f} ± {100 * shifted.half_width:.1f} points"
    change = f"{100 * ordinary.mean:+.1f} ± {100 * ordinary.half_width:.1f} points"
    too_dear = -100 * ordinary.mean > max_drop + 1e-9  # as a rate and an epoch are judged
    if shifted.low > 0 and not too_dear:
        cost = f"at a cost of {-100 * ordinary.mean:.1f} ± {100 * ordinary.half_width:.1f} points of ordinary accuracy"
        price = cost if ordinary.mean < 0 else f"at no cost (ordinary accuracy {change})"
        return Verdict(True, f"Better on shifted backgrounds by {gain} {price}.", tuple(comparisons), tuple(notes))
    if shifted.low > 0:
        sentence = (
            f"Better on shifted backgrounds by {gain}, but ordinary accuracy changed by {change}, more than the "
            f"{max_drop:g} points allowed: keep the original."
        )
    elif shifted.high < 0:
        sentence = f"Worse on shifted backgrounds by {gain} (ordinary accuracy {change}): keep the original."
    else:
        sentence = f"No improvement on shifted backgrounds ({gain}; ordinary accuracy {change}): keep the original."
    return Verdict(False, sentence, tuple(comparisons), tuple(notes))


def write_verdict(verdict: Verdict, path: str | Path) -> None:
    """Write a verdict as JSON, whole or not at all."""
    write_json(asdict(verdict), path)


def read_verdict(path: str | Path) -> Verdict:
    """Read what ``write_verdict`` wrote.

    Raises:
        UserError: it is no such file.
    """
    raw, sides = read_json(path), ("before", "after", "difference")
    try:
        found = tuple(
            Comparison(str(row["measure"]), *(_interval(row[side]) for side in sides)) for row in raw["comparisons"]
        )
        accepted = None if raw["accepted"] is None else bool(raw["accepted"])
        return Verdict(accepted, str(raw["sentence"]), found, tuple(map(str, raw["notes"])), raw.get("guidance"))
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise UserError(f"{path} is no verdict of ours ({error}): make the run's again, or remove the file") from error


def _interval(given: dict[str, float]) -> Interval:
    return Interval(float(given["mean"]), float(given["low"]), float(given["high"]), int(given["count"]))
