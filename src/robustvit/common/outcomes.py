"""The four outcomes of a comparison: how intervals decide them, what each means, and how runs are ranked."""

from __future__ import annotations

import math
from typing import Literal

from robustvit.common.intervals import Interval
from robustvit.common.wording import pluralize

Outcome = Literal["better", "cost-open", "not-shown", "worse"]
OUTCOMES: dict[Outcome, str] = {  # from the worst to the best
    "worse": "worse",
    "not-shown": "no measurable improvement",
    "cost-open": "better, cost not yet bounded",
    "better": "better, at no more than the allowed cost",
}
_NEXT: dict[Outcome, str] = {
    "better": (
        "Try the guided model on photos from where it will be used (robustvit evaluate --baseline original), then "
        "take it."
    ),
    "cost-open": (
        "Measure both models on more photos (robustvit evaluate --baseline original), or decide whether the possible "
        "loss matters to you."
    ),
    "not-shown": (
        "More test photos with masks may show a gain; more training photos with masks, or another --seed, may make one."
    ),
    "worse": "Look at the masks first, then try a lower --lr or a smaller --weight-interpolation.",
}
_NEXT_ELSEWHERE: dict[Outcome, str] = _NEXT | {  # after ``evaluate``
    "better": "If these photos are like those from where it will be used, take the guided model (robustvit export).",
    "cost-open": "Add photos to --images and --masks, or decide whether the possible loss matters to you.",
    "not-shown": (
        "More photos in --images and --masks may show a gain; more training photos with masks, or another --seed of "
        "finetune, may make one."
    ),
}
GAIN = 0.05  # a gain worth detecting: "not shown" says how many photos detect it
MIN_PHOTOS = 20  # with fewer, photos that all change in the same direction exclude zero by chance too often


def outcome_of(gain: Interval, ordinary: Interval | None, max_drop: float) -> Outcome:
    """Decide the outcome by 95 % CIs, never by the estimates alone.

    Args:
        gain: change of the decisive measure, -1 to 1.
        ordinary: change of ordinary accuracy, -1 to 1; None if unknown.
        max_drop: points of ordinary accuracy that may be lost.
    """
    if gain.high < 0 or (ordinary is not None and _beyond(ordinary.high, max_drop)):
        return "worse"
    if gain.count < MIN_PHOTOS or not gain.low > 0:
        return "not-shown"
    if ordinary is None or not 100 * ordinary.low > -max_drop:
        return "cost-open"
    return "better"


def next_step(outcome: Outcome | None, *, elsewhere: bool = False) -> str:
    """Say what to do after a verdict; ``elsewhere``: on other photos than those of the model's own run."""
    if outcome is None:
        option = "--images, --masks" if elsewhere else "--test-images, --test-masks"
        return f"Give photos with masks and classes that were not trained on ({option})."
    return (_NEXT_ELSEWHERE if elsewhere else _NEXT)[outcome]


def rank(gain: Interval, ordinary: Interval | None, max_drop: float) -> float:
    """Return a score that orders epochs and trials: by outcome, whether the measured loss is allowed, then gain."""
    tier = list(OUTCOMES).index(outcome_of(gain, ordinary, max_drop))
    allowed = ordinary is None or not _beyond(ordinary.mean, max_drop)
    return 4 * tier + 2 * allowed + gain.mean


def photos_needed(change: Interval, half_width: float) -> int:
    """Return how many photos would give an interval of this half width, if the same share of answers changes.

    The width shrinks with the square root of the number of photos, including the two that are added.
    """
    return math.ceil((change.count + 2) * (change.half_width / half_width) ** 2 - 2)


def sentence_of(
    outcome: Outcome,
    gain: Interval,
    ordinary: Interval,
    max_drop: float,
    where: str,
    metric: str = "accuracy",
    photo: str = "photo",
) -> str:
    """Describe an outcome in a sentence.

    Args:
        outcome: as ``outcome_of`` decides it from ``gain``, ``ordinary`` and ``max_drop``.
        gain: change of the decisive measure.
        ordinary: change of ordinary accuracy.
        max_drop: points of it that may be lost.
        where: what the gain was measured on, such as "random backgrounds".
        metric: what was measured, such as "balanced accuracy".
        photo: what the intervals count, such as "photo of the worst group".
    """
    gained, changed = gain.points(), f"ordinary {metric} changed by {ordinary.points()}"
    if metric != "accuracy":
        gained += f" of {metric}"
    if outcome == "better":
        return (
            f"Better on {where} by {gained}, at no more than the allowed cost: {changed}, and {max_drop:g} points may "
            "be lost."
        )
    if outcome == "cost-open":
        cost = open_cost(ordinary, max_drop, photo)
        return f"Better on {where} by {gained}, but the cost is not bounded yet: ordinary {metric} changed by {cost}"
    if outcome == "not-shown":
        could = _could_show(gain, photo)
        return f"No measurable improvement on {where}: {gained} ({changed}). {could} Keep the original."
    if gain.high < 0:
        return f"Worse on {where}: {gained} ({changed}). Keep the original."
    return (
        f"Worse: {changed}, surely more than the {max_drop:g} points that may be lost ({where}: {gained}). Keep the "
        "original."
    )


def open_cost(ordinary: Interval, max_drop: float, photo: str = "photo") -> str:
    """Describe a change whose interval reaches beyond ``max_drop`` points, and how many photos would settle it."""
    lost = f"{-100 * ordinary.low:.1f} points may be lost where {max_drop:g} are allowed"
    possible = f"{ordinary.points()}, so up to {lost}."
    spare = max_drop / 100 + ordinary.mean
    if spare <= 1e-9:
        return (
            f"{possible} More photos would hardly settle it, as the loss measured uses up what is allowed. It is your "
            "choice."
        )
    more = max(1, photos_needed(ordinary, spare) - ordinary.count)
    return (
        f"{possible} About {_rounded(more)} more {plural_of(photo)} would settle it, if as many answers change as "
        "here. Until then it is your choice."
    )


def plural_of(photo: str) -> str:
    """Return the plural of ``photo`` or of ``photo of the worst group``."""
    return photo.replace("photo", "photos", 1)


def _could_show(gain: Interval, photo: str) -> str:
    """Say whether the photos were enough to show a gain, and how many are needed if not."""
    photos = plural_of(photo)
    few = f"{pluralize(gain.count, photo, photos)} {'is' if gain.count == 1 else 'are'} too few to exclude one"
    needed, points = photos_needed(gain, GAIN), f"a gain of {100 * GAIN:g} points"
    if gain.count < MIN_PHOTOS:
        return f"{few}: at least {MIN_PHOTOS} that can be put on other backgrounds are needed."
    if gain.high < GAIN:
        return f"These {gain.count:,} {photos} exclude {points}."
    if needed <= gain.count:
        return f"These {gain.count:,} {photos} could show {points}."
    return f"{few}: about {_rounded(needed)} would show {points}, if as many answers change as here."


def _beyond(change: float, max_drop: float) -> bool:
    return -100 * change > max_drop + 1e-9


def _rounded(count: int) -> str:
    """Round up to two significant digits: the estimate is no better than that."""
    step = 10 ** max(0, len(str(count)) - 2)
    return f"{math.ceil(count / step) * step:,}"
