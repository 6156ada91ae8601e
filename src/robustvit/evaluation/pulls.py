"""How answers change when something is put into the photos: does it pull them to one class, does it cost more?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from robustvit.common.intervals import Interval, mean_interval, paired_difference
from robustvit.evaluation.insertions import CONTROL, FRAMES, WHOLE, WHOLE_KINDS

PULL = 0.10  # more photos in ten that an artefact turns into one class than its control does: a shortcut
MOST = 0.75  # of the others that an artefact and its control both turn into one class: it is compared with other kinds
RISE = 0.05


@dataclass(frozen=True)
class InsertedAnswers:
    """How an insertion changes a model's answers.

    Attributes:
        name: of the insertion.
        artefact: whether it adds something foreign, a text, a frame or a file; others change the whole photo.
        control: name of the insertion that it is compared with: the control of an artefact; for a change of the whole
            photo, and an artefact whose control turns most photos too, the insertion of another kind that pulls most
            to the same class; empty if there is none.
        change: of accuracy, with a 95 % interval over photos.
        pulls_to: the class that gains most answers, -1 if none does.
        pull: share of photos of other classes, not taken for that class before, that are now, with its interval.
        excess: the pull less that of the control to the same class, photo by photo; None without a control.
    """

    name: str
    artefact: bool
    control: str
    change: Interval
    pulls_to: int
    pull: Interval | None
    excess: Interval | None = None

    @property
    def is_shortcut(self) -> bool:
        """Whether it makes the model answer one class more often than its control, by the whole interval."""
        return self.excess is not None and self.excess.low > PULL


def judge_insertions(answers: Mapping[str, Sequence[int]], labels: Sequence[int]) -> list[InsertedAnswers]:
    """Compare the answers with each insertion to those to the photos as they are (``""``), photo by photo."""
    plain, truth = np.array(answers[""]), np.array(labels)
    judged = []
    for name in (name for name in answers if name and not name.endswith(CONTROL)):
        said = np.array(answers[name])
        change = paired_difference((plain == truth).astype(float), (said == truth).astype(float))
        pulled_to, pull = _find_pull(plain, said, truth)
        free = (plain != pulled_to) & (truth != pulled_to)
        control = _choose_control(name, answers, pulled_to, free)
        excess = None
        if control and pull is not None:
            both = [np.array(answers[key])[free] == pulled_to for key in (control, name)]
            excess = paired_difference(*(side.astype(float) for side in both))
        judged.append(InsertedAnswers(name, name not in WHOLE, control, change, pulled_to, pull, excess))
    return judged


def risen_costs(
    before: Mapping[str, Sequence[int]], after: Mapping[str, Sequence[int]], labels: Sequence[int]
) -> dict[str, Interval]:
    """Return the insertions whose cost rises by more than ``RISE``, with the whole interval.

    The answers of two models are as in ``judge_insertions``. What an insertion costs is the accuracy without it less
    the accuracy with it; the result is the paired difference, the cost after less the cost before.
    """
    return {name: rise for name, rise in cost_rises(before, after, labels).items() if rise.low > RISE}


def cost_rises(
    before: Mapping[str, Sequence[int]], after: Mapping[str, Sequence[int]], labels: Sequence[int]
) -> dict[str, Interval]:
    """Return how much more each insertion costs the model ``after`` than the one ``before``; see ``risen_costs``."""
    truth = np.array(labels)

    def costs(answers: Mapping[str, Sequence[int]], name: str) -> np.ndarray:
        return (np.array(answers[""]) == truth).astype(float) - (np.array(answers[name]) == truth)

    return {name: paired_difference(costs(before, name), costs(after, name)) for name in after
            if name and not name.endswith(CONTROL)}  # fmt: skip


def _choose_control(name: str, answers: Mapping[str, Sequence[int]], pulled_to: int, free: np.ndarray) -> str:
    """Return the name of the answers that an insertion is compared with; empty if there are none.

    A model may have learned not the shape of a text, but its black and white: then the control pulls as the artefact
    does. If both turn most photos, the artefact is compared with insertions of another kind.
    """

    def pull(other: str) -> float:
        return float((np.array(answers[other])[free] == pulled_to).mean()) if free.any() else 0.0

    own = f"{name}{CONTROL}"
    if name not in WHOLE and (own not in answers or min(pull(name), pull(own)) < MOST):
        return own if own in answers else ""
    others = [one for one in answers if one and not one.endswith(CONTROL) and _kind_of(one) != _kind_of(name)]
    if name in WHOLE:
        others = [one for one in others if one in WHOLE]
    return max(others, key=pull, default=own if own in answers else "")


def _kind_of(name: str) -> str:
    """Return the kind of an insertion: colour, light, detail, frame or text; a file is a kind of its own."""
    if name in FRAMES:
        return "frame"
    if name.startswith(("text ", "faint text ")):
        return "text"
    return next((kind for kind, members in WHOLE_KINDS.items() if name in members), name)


def _find_pull(plain: np.ndarray, said: np.ndarray, truth: np.ndarray) -> tuple[int, Interval | None]:
    gained = {label: int(((said == label) & (plain != label) & (truth != label)).sum()) for label in {*said.tolist()}}
    best = max(gained, key=lambda label: (gained[label], -label), default=-1)
    free = (plain != best) & (truth != best)
    if best == -1 or not gained[best]:
        return -1, None
    return best, mean_interval((said[free] == best).astype(float))
