"""The verdict: did the model get better on shifted backgrounds, and what did it cost?"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace

from robustvit.common.errors import UserError
from robustvit.common.outcomes import outcome_of, sentence_of
from robustvit.common.verdict_files import Comparison, Verdict
from robustvit.evaluation.measured_intervals import measure_difference, measure_interval, measure_name
from robustvit.evaluation.metrics import ACCURACY, DECIDING, WORST_GROUP
from robustvit.evaluation.photo_measures import MEASURES, PhotoMeasure, pair_values
from robustvit.evaluation.worst_group import COUNTED, MIN_GROUP

DECISIVE: dict[str, str] = {  # the first decides that was measured and not trained on; older files have the second only
    "mixed-other": "backgrounds of other classes",
    "mixed-rand": "random backgrounds",
    "unseen": "backgrounds that no photo has",
}
_KINDS = ("mixed-other", "unseen", "mixed-same", "mixed-rand")
SWAPS_TRAINED = (
    "The model was trained on photos with swapped backgrounds, and accuracy on backgrounds of other classes is "
    "measured on photos made the same way: part of a gain may be that it is used to pasted objects. Look at other "
    "shifts too."
)
_JUDGED_ELSEWHERE = (
    "The model was trained on photos with swapped backgrounds, so backgrounds of other classes (mixed-other) do not "
    "decide: the verdict rests on backgrounds that no photo has (unseen). Both are made by pasting."
)


def compare(
    before: Sequence[PhotoMeasure], after: Sequence[PhotoMeasure], metric: str = ACCURACY
) -> tuple[Comparison, ...]:
    """Compare two models photo by photo; the measures must be of the same photos in the same order.

    A metric other than accuracy is compared first, on every kind of answers.
    """
    if [b.image for b in before] != [a.image for a in after]:
        raise UserError("expected both models measured on the same photos in the same order: measure them again")
    comparisons = []
    of_metric = [] if metric == ACCURACY else [measure_name(metric, kind) for kind in ("ordinary", *_KINDS)]
    for name in (*of_metric, *MEASURES):
        old, new = measure_interval(before, name), measure_interval(after, name)
        difference = measure_difference(before, after, name)
        if old is not None and new is not None and difference is not None:
            helped, harmed = _count_turned(before, after, name)
            comparisons.append(Comparison(name, old, new, difference, helped, harmed))
    return tuple(comparisons)


def _count_turned(
    before: Sequence[PhotoMeasure], after: Sequence[PhotoMeasure], name: str
) -> tuple[int | None, int | None]:
    """Count photos helped and harmed; None if values are shares of several answers, or of no photo alone."""
    pairs = pair_values(before, after, name)
    if not pairs or not all(value in (0, 1) for pair in pairs for value in pair):
        return None, None
    return pairs.count((0, 1)), pairs.count((1, 0))


def deciding_measure(measured: Container[str], trained_on: Sequence[str] = (), metric: str = ACCURACY) -> str | None:
    """Return the kind that decides a verdict, or None if no such kind was measured; arguments as in ``decide``."""
    known = [name for name in DECISIVE if measure_name(metric, name) in measured]
    return next((name for name in known if name not in trained_on), next(iter(known), None))


def decide(
    comparisons: Sequence[Comparison],
    *,
    max_drop: float = 2.0,
    notes: Sequence[str] = (),
    trained_on: Sequence[str] = (),
    metric: str = ACCURACY,
) -> Verdict:
    """Turn comparisons into one of four outcomes and a plain sentence; see ``outcome_of``.

    The measure that decides is mixed-other, accuracy on backgrounds of other classes. A model that was trained on such
    photos is judged on backgrounds that no photo has (unseen).

    Args:
        comparisons: what ``compare`` returned.
        max_drop: points of ordinary accuracy that may be lost.
        notes: kept in the verdict.
        trained_on: measures whose kind of photo the second model was trained on.
        metric: what counts, on shifted and on ordinary photos: a name in ``DECIDING``.
    """
    by_name = {comparison.measure: comparison for comparison in comparisons}
    measure, plain = deciding_measure(by_name, trained_on, metric), measure_name(metric, "ordinary")
    verdict = Verdict(
        None, _say_unmeasured(metric), tuple(comparisons), tuple(notes), trained_on=tuple(trained_on), metric=metric
    )
    if measure is None or plain not in by_name:
        return verdict
    gain, ordinary = by_name[measure_name(metric, measure)].difference, by_name[plain].difference
    outcome = outcome_of(gain, ordinary, max_drop)
    more: tuple[str, ...] = ()
    if "mixed-other" in trained_on:
        more = (_JUDGED_ELSEWHERE if measure == "unseen" else SWAPS_TRAINED,)
    elif measure == "mixed-rand":
        more = ("Decided on mixed-rand, as older versions measured: its backgrounds may be of the photo's own class.",)
    accepted = {"better": True, "cost-open": None}.get(outcome, False)
    counted = COUNTED if metric == WORST_GROUP else "photo"
    sentence = sentence_of(outcome, gain, ordinary, max_drop, DECISIVE[measure], DECIDING[metric], counted)
    return replace(verdict, accepted=accepted, sentence=sentence, notes=verdict.notes + more, outcome=outcome)


def _say_unmeasured(metric: str) -> str:
    needed = "test photos with masks and classes"
    if metric == WORST_GROUP:
        needed = f"two groups with {MIN_GROUP} {needed} or more that can be put on other backgrounds"
    return f"Not measured: swapped backgrounds need {needed}. Keep the original until this has been measured."
