"""The verdict of an audit: does the model rely on the background? Rules on intervals, not on means.

The cost of a wrong background is accuracy on backgrounds of the own class less that on backgrounds of other classes
(mixed-same less mixed-other). ImageNet-9's BG-Gap is that cost times 1 - 1/K with K classes, because its random
backgrounds are of the own class once in K: with two classes it calls a model that sees nothing but the background half
as bad as it is. So it is reported to compare with others, and decides nothing.

In this order, with 95 % intervals over photos and backgrounds:

1. *cannot tell*: fewer than ``MIN_PHOTOS`` photos could be put both on backgrounds of their own and of other classes,
   or the objects are not recognised above chance even on backgrounds of their own class, so that there is nothing for
   the background to spoil.
2. *strong reliance*: the whole interval of the cost of a wrong background lies at ``STRONG_COST`` or above.
3. *some*: the whole interval of the cost lies above zero; or the background alone, without the object (only-bg-t),
   is answered with the object's class more often than chance by ``BACKGROUND_ALONE``, by the whole interval.
4. *cannot tell*: no cost could be shown, but one of ``STRONG_COST`` cannot be excluded either, because the interval
   reaches it or because there are fewer than ``NO_SIGN_PHOTOS`` photos.
5. *no sign*: what is left.

Relevance maps decide nothing here: they say where a model looks, not what the background does to its answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from robustvit.audits.summary import Beyond
from robustvit.common.intervals import Interval
from robustvit.common.outcomes import MIN_PHOTOS, plural_of
from robustvit.common.wording import pluralize
from robustvit.evaluation.metrics import DECIDING, WORST_GROUP
from robustvit.evaluation.worst_group import COUNTED, MIN_GROUP

Reliance = Literal["no sign", "some", "strong reliance", "cannot tell"]
STRONG_COST = 0.10  # one object in ten is lost on the background of another class, however many classes there are
BACKGROUND_ALONE = 0.10
# n photos of which none shows a thing leave room for 3/n of all photos (rule of three): 30 exclude a strong cost.
NO_SIGN_PHOTOS = 30

RULES: dict[Reliance, str] = {
    "strong reliance": "the whole interval of the cost of a wrong background (mixed-same less mixed-other) is at "
    f"{100 * STRONG_COST:g} points or above.",
    "some": "the whole interval of that cost is above zero, or the background alone (only-bg-t) is answered with the "
    f"object's class at least {100 * BACKGROUND_ALONE:g} points above chance, by the whole interval.",
    "no sign": f"neither, and the interval of the cost ends at {100 * STRONG_COST:g} points or below, over at least "
    f"{NO_SIGN_PHOTOS} photos.",
    "cannot tell": f"fewer than {MIN_PHOTOS} photos could be put on other backgrounds; or the objects are not "
    "recognised above chance on backgrounds of their own class; or a strong cost is neither shown nor excluded.",
}
_WORST = DECIDING[WORST_GROUP]


@dataclass(frozen=True)
class AuditVerdict:
    """The verdict on a model.

    Attributes:
        reliance: the verdict in a word or two.
        sentence: the same with the numbers that decided.
    """

    reliance: Reliance
    sentence: str


def judge(
    measures: Mapping[str, Interval],
    beyond: Mapping[str, Beyond],
    metric: str = "accuracy",
    accuracy: Mapping[str, Beyond] | None = None,
) -> AuditVerdict:
    """Apply the rules above to a model's measures.

    Of the worst group only the cost is judged: chance is that of all photos, so it is their accuracy that has to be
    above it. A worst group at chance may still lose much by a wrong background, but shows no absence of a cost.

    Args:
        measures: of which ``cost`` decides.
        beyond: of which ``only-bg-t`` and ``mixed-same`` count, if there are any.
        metric: what was measured, in words; the limits are the same for all metrics.
        accuracy: ``beyond`` by accuracy, which has to be above chance in place of the worst group's.
    """
    cost, worst = measures.get("cost"), None
    photo, over = ("photo", "") if metric != _WORST else (COUNTED, " over all photos")
    if metric == _WORST and accuracy is not None:
        beyond, worst = accuracy, beyond.get("mixed-same")
    if cost is None or cost.count < MIN_PHOTOS:
        return AuditVerdict("cannot tell", _explain_lack(cost, photo))
    same = beyond.get("mixed-same")
    if same is not None and same.excess.low <= 0:
        return AuditVerdict(
            "cannot tell",
            f"On backgrounds of their own class the objects are recognised {same.excess.points()} above chance, which "
            "is not clearly more than none, so the effect of the background cannot be measured.",
        )
    alone = beyond.get("only-bg-t")
    reliance, reason = _decide(cost, alone, worst, photo)
    size = f"A wrong background costs {cost.points()}" + (f" of {metric}" if metric != "accuracy" else "")
    gives = "" if alone is None else f"; the background alone is answered {alone.excess.points()} above chance{over}"
    more = " Audit more photos." if reliance == "cannot tell" and cost.high > STRONG_COST else ""
    return AuditVerdict(reliance, f"{size}{reason}{gives}.{more}")


def _decide(cost: Interval, alone: Beyond | None, worst: Beyond | None, photo: str) -> tuple[Reliance, str]:
    """Return the first verdict whose rule holds, and why, as what follows the cost in its sentence."""
    if cost.low >= STRONG_COST:
        return "strong reliance", f", the whole interval at {100 * STRONG_COST:g} or above"
    if cost.low > 0:
        return "some", ", the whole interval above zero"
    if alone is not None and alone.excess.low >= BACKGROUND_ALONE:
        return "some", ", which does not show a cost"
    if cost.high > STRONG_COST:
        return "cannot tell", f": no cost is shown, but one of {100 * STRONG_COST:g} points is not excluded"
    if cost.count < NO_SIGN_PHOTOS:
        return "cannot tell", (
            f" over {cost.count} {plural_of(photo)}, too few to exclude a strong cost (at least {NO_SIGN_PHOTOS})"
        )
    if worst is not None and worst.excess.low <= 0:
        return "cannot tell", (
            ", but on backgrounds of their own class the objects of the worst group are recognised "
            f"{worst.excess.points()} above chance, so that there is little to lose"
        )
    return "no sign", f", and a cost above {100 * STRONG_COST:g} points is excluded"


def _explain_lack(cost: Interval | None, photo: str) -> str:
    """Say that too few photos could be put on other backgrounds."""
    if cost is not None:
        return (
            f"Only {pluralize(cost.count, photo, plural_of(photo))} could be put on backgrounds of their own class and "
            f"of others; at least {MIN_PHOTOS} are needed."
        )
    if photo == COUNTED:
        return (
            f"Fewer than two groups have {MIN_GROUP} photos that can be put on other backgrounds, which needs masks: "
            "the background was not tested in the worst group."
        )
    return "No photo was put on another background, which needs masks: the background was not tested."


def change_of(difference: Interval, metric: str = "accuracy") -> str:
    """What became of the cost of a wrong background from one model to another, from the paired difference."""
    of = "" if metric == "accuracy" else f" in {metric}"
    if difference.count < MIN_PHOTOS:
        count = pluralize(difference.count, "photo")
        return f"Whether the cost of a wrong background changed cannot be told from {count}."
    if difference.high < 0:
        return f"The cost of a wrong background{of} fell: {difference.points()}."
    if difference.low > 0:
        return f"The cost of a wrong background{of} rose: {difference.points()}."
    return f"No change of the cost of a wrong background{of} could be shown: {difference.points()}."
