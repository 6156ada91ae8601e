"""Measures of single photos: a model's answers to each, on its own and on other backgrounds, and their file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from robustvit.common.errors import UserError
from robustvit.common.files import read_json, write_json
from robustvit.common.intervals import ClusteredAnswers

MEASURES: dict[str, str] = {
    "ordinary": "ordinary accuracy",
    "mixed-other": "accuracy on backgrounds of other classes (mixed-other)",
    "unseen": "accuracy on backgrounds that no photo has (unseen)",
    "mixed-same": "accuracy on backgrounds of the same class (mixed-same)",
    "mixed-rand": "accuracy on random backgrounds, the own class's too (mixed-rand)",
    "miou": "mIoU of relevance map and mask",
    "energy": "relevance inside the mask",
}
UNSEEN = "unseen"


class Said(Protocol):
    """A model's answer to a picture: a class, and scores as in ``PhotoMeasure``."""

    @property
    def predicted(self) -> int: ...

    @property
    def scores(self) -> dict[int, float]: ...


@dataclass(frozen=True)
class Swapped:
    """A model's prediction for one photo's object on the background of another photo, ``donor``.

    ``scores`` is as in ``PhotoMeasure``.
    """

    kind: str
    donor: int
    predicted: int
    probability: float
    scores: dict[int, float] = field(default_factory=dict)


@dataclass
class PhotoMeasure:
    """Measures of one photo.

    Attributes:
        image: the photo's file.
        label: its class, or None if unknown.
        predicted: the predicted class.
        probability: probability of the predicted class.
        values: by measure, 0 to 1; swapped backgrounds are averaged over swaps. Measures that do not apply are missing.
        swapped: predictions on swapped backgrounds.
        group: where the photo is from, if that is known.
        scores: probability of each class that the photos have, by label; empty if they have more than ``MOST_SCORED``,
            and in files of older versions.
        labels: of a multi-label model, all classes that the photo shows; ``scores`` then has every class of the model.
    """

    image: str
    label: int | None
    predicted: int
    probability: float
    values: dict[str, float] = field(default_factory=dict)
    swapped: list[Swapped] = field(default_factory=list)
    group: str | None = None
    scores: dict[int, float] = field(default_factory=dict)
    labels: list[int] | None = None

    def is_right(self, answer: Said) -> bool:
        """Return whether an answer to this photo is right; of several labels, whether all of them are."""
        if self.labels is None:
            return answer.predicted == self.label
        return self.read(answer) == tuple(sorted(self.labels))

    def read(self, answer: Said) -> int | tuple[int, ...]:
        """Return the class that an answer to this photo is; of several labels, all that score above one half."""
        if self.labels is None:
            return answer.predicted
        return tuple(sorted(label for label, score in answer.scores.items() if score > 0.5))

    def rate_swaps(self) -> None:
        """Set the share of right answers on each kind of background."""
        for kind in dict.fromkeys(swap.kind for swap in self.swapped):
            right = [self.is_right(swap) for swap in self.swapped if swap.kind == kind]
            self.values[kind] = sum(right) / len(right)


def pair_values(before: Sequence[PhotoMeasure], after: Sequence[PhotoMeasure], name: str) -> list[tuple[float, float]]:
    """Return the values of a measure before and after, of the photos that have both."""
    pairs = zip(before, after, strict=True)
    return [(b.values[name], a.values[name]) for b, a in pairs if name in b.values and name in a.values]


def swapped_answers(
    results: Sequence[PhotoMeasure], kind: str, only: Iterable[int] | None = None
) -> ClusteredAnswers | None:
    """Return the answers on one kind of swapped backgrounds, of all photos or ``only`` some; None if there are none."""
    rows = [
        (results[index].is_right(one), index, one.donor)
        for index in (range(len(results)) if only is None else only)
        for one in results[index].swapped
        if one.kind == kind
    ]
    return ClusteredAnswers(*map(list, zip(*rows, strict=True))) if rows else None


def write_measures(results: Sequence[PhotoMeasure], path: str | Path) -> None:
    """Write measures as JSON, whole or not at all."""
    write_json([asdict(result) for result in results], path)


def read_measures(path: str | Path) -> list[PhotoMeasure]:
    """Read what ``write_measures`` wrote."""
    rows = read_json(path)
    try:
        return [
            PhotoMeasure(**_by_label(row) | {"swapped": [Swapped(**_by_label(swap)) for swap in row["swapped"]]})
            for row in rows
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} holds no measures that robustvit wrote ({error}): run it again") from error


def _by_label(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of JSON with the labels of its scores as numbers again; older files have no scores."""
    return row | {"scores": {int(label): float(score) for label, score in row.get("scores", {}).items()}}
