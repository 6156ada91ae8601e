"""Turn a model's logits into answers to a set: over all classes, a subset, or groups of classes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from robustvit.common.errors import UserError
from robustvit.evaluation.sets.class_tables import IMAGENET_CLASSES, unique_imagenet_names

if TYPE_CHECKING:
    import torch


class Answers(ABC):
    """Turns logits ``(B, C)`` into ``(B, K)`` scores of at least 0 that sum to at most 1; the highest is the answer.

    Attributes:
        names: of the K answers.
        logits: the number C of logits that a model must have.
    """

    def __init__(self, names: Sequence[str], logits: int) -> None:
        self.names = tuple(names)
        self.logits = logits

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        import torch

        if logits.ndim != 2 or logits.shape[1] != self.logits:
            raise UserError(f"expected logits for {self.logits} classes, got the shape {tuple(logits.shape)}")
        return self._scores(logits.to(torch.promote_types(logits.dtype, torch.float32)))

    @abstractmethod
    def _scores(self, logits: torch.Tensor) -> torch.Tensor: ...

    def place(self, right: int) -> int:
        """Return the index into ``names`` of a reader's ``right``."""
        return right

    def places(self, classes: Collection[int]) -> frozenset[int] | None:
        """Return the answers among some classes of the head; None if an answer stands for several classes."""
        return frozenset(classes)

    def classes_of(self, answer: int) -> list[int]:
        """Return the classes of the head that an answer stands for."""
        return [answer]


class OwnHead(Answers):
    """Softmax over the set's classes, in the order of the model's head."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names, len(names))

    def _scores(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.softmax(1)


class AllClasses(OwnHead):
    """Softmax over all 1000 classes of ImageNet."""

    def __init__(self) -> None:
        super().__init__(unique_imagenet_names())


class SubsetAnswers(Answers):
    """Softmax over the logits of some ImageNet classes; the other classes are not answers."""

    def __init__(self, classes: Sequence[int]) -> None:
        super().__init__([unique_imagenet_names()[i] for i in classes], IMAGENET_CLASSES)
        self.classes = list(classes)
        self._places = {index: place for place, index in enumerate(classes)}

    def _scores(self, logits: torch.Tensor) -> torch.Tensor:
        return logits[:, self.classes].softmax(1)

    def place(self, right: int) -> int:
        """Return the index of an ImageNet class among the answers."""
        return self._places[right]

    def places(self, classes: Collection[int]) -> frozenset[int]:
        """See ``Answers``; classes that are not answers are ignored."""
        return frozenset(self._places[index] for index in classes if index in self._places)

    def classes_of(self, answer: int) -> list[int]:
        """See ``Answers``."""
        return [self.classes[answer]]


class _GroupAnswers(Answers):
    """Each answer stands for a group of ImageNet classes, and is scored by their probabilities."""

    def __init__(self, members: Mapping[str, Sequence[int]]) -> None:
        super().__init__(tuple(members), IMAGENET_CLASSES)
        self.members = [list(indices) for indices in members.values()]

    def places(self, classes: Collection[int]) -> None:
        """See ``Answers``."""

    def classes_of(self, answer: int) -> list[int]:
        """See ``Answers``."""
        return self.members[answer]

    def _scores(self, logits: torch.Tensor) -> torch.Tensor:
        import torch

        probabilities = logits.softmax(1)
        return torch.stack([self._score(probabilities[:, indices]) for indices in self.members], 1)

    @abstractmethod
    def _score(self, probabilities: torch.Tensor) -> torch.Tensor: ...


class MemberMeans(_GroupAnswers):
    """Each answer scores the mean probability of the ImageNet classes that belong to it."""

    def _score(self, probabilities: torch.Tensor) -> torch.Tensor:
        return probabilities.mean(1)


class MemberMaxima(_GroupAnswers):
    """Each answer scores the highest probability of its ImageNet classes.

    So the answer is the group of the best of all 1000 classes. A last answer, ``other``, stands for the remaining
    classes; it is never right.
    """

    def __init__(self, members: Mapping[str, Sequence[int]]) -> None:
        taken = {index for indices in members.values() for index in indices}
        super().__init__({**members, "other": [index for index in range(IMAGENET_CLASSES) if index not in taken]})

    def _score(self, probabilities: torch.Tensor) -> torch.Tensor:
        return probabilities.amax(1)
