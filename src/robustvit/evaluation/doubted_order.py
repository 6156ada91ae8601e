"""Doubt of the order of classes, once a model has answered."""

from __future__ import annotations

from collections.abc import Sequence

from robustvit.data.class_matching import doubt_order
from robustvit.evaluation.photo_measures import PhotoMeasure
from robustvit.models.classifier import Classifier


def doubt_answers(classes: Sequence[str | None], answers: Sequence[PhotoMeasure], classifier: Classifier) -> list[str]:
    """Warn if answers fit another order of the classes far better, see ``doubt_order``; return the line, if any.

    Args:
        classes: class of each photo as named on disk.
        answers: measures of the same photos; those of several labels say nothing about an order.
        classifier: that answered.
    """
    labels = [one.label if one.labels is None else None for one in answers]
    return doubt_order(classes, labels, [one.predicted for one in answers], classifier)
