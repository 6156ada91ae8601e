"""What an audit knows of one photo: its measures, and the answers to its variants and on other backgrounds."""

from __future__ import annotations

from dataclasses import dataclass, field

from robustvit.evaluation.photo_measures import PhotoMeasure


@dataclass(frozen=True)
class PhotoAnswer:
    """The predicted class, its probability, and that of the photo's true class (of several labels, the lowest of them).

    ``scores`` is as in ``PhotoMeasure``.
    """

    predicted: int
    probability: float
    right: float
    scores: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Tried:
    """A model's prediction for an object on the background of photo ``donor``, whose class is ``lent``.

    ``others`` are all classes of the donor, where photos have several.
    """

    donor: int
    lent: int
    answer: PhotoAnswer
    others: tuple[int, ...] = ()


@dataclass
class AuditedPhoto:
    """Measures of one photo.

    Attributes:
        plain: of the original photo and on swapped backgrounds.
        values: by the names in ``AUDIT_MEASURES``, 0 to 1 (``DIFFERENCES``: -1 to 1); missing if they do not apply.
        answers: answer to each variant.
        tried: the backgrounds of other classes that its object was put on.
        placed_on: number of the background that the object was placed on.
    """

    plain: PhotoMeasure
    values: dict[str, float] = field(default_factory=dict)
    answers: dict[str, PhotoAnswer] = field(default_factory=dict)
    tried: list[Tried] = field(default_factory=list)
    placed_on: int = -1

    @property
    def label(self) -> int:
        """The photo's class."""
        return -1 if self.plain.label is None else self.plain.label

    @property
    def truth(self) -> int | tuple[int, ...]:
        """The photo's class, or all of them, as ``PhotoMeasure.read`` returns answers."""
        return self.label if self.plain.labels is None else tuple(sorted(self.plain.labels))

    @property
    def is_right(self) -> bool:
        """Whether the answer to the unchanged photo is right."""
        return self.plain.is_right(self.plain)

    @property
    def turned(self) -> list[Tried]:
        """The backgrounds that flip the answer to their class, which was not predicted before."""
        return [one for one in self.tried if self.taken(one)]

    def taken(self, one: Tried) -> list[int]:
        """Return the classes of a background that the model answers on it, but not for the unchanged photo."""
        if self.plain.labels is None:
            return [one.lent] if one.answer.predicted == one.lent != self.plain.predicted else []
        return [at for at in one.others if one.answer.scores[at] > 0.5 >= self.plain.scores[at]]

    @property
    def most_harmful(self) -> Tried | None:
        """The background on which the photo's true class is least probable."""
        return min(self.tried, key=lambda one: one.answer.right, default=None)
