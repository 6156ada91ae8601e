"""Metrics that count every class the same, or that rank by score: their meaning, number and slopes.

All are means over the classes that the photos have; another class of the model's head as an answer is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robustvit.common.derived_intervals import Derived, effective_photos
from robustvit.common.errors import UserError
from robustvit.common.options import MetricName

MOST_SCORED = 100  # classes; photos of more classes have no scores, so that no file grows with photos times classes
ACCURACY = "accuracy"
WORST_GROUP = "worst-group"  # accuracy in the worst group; decides as a metric does, see ``worst_group``
# Of photos with several classes; the first decides.
OF_LABELS: tuple[MetricName, ...] = ("average-precision", "auroc", "macro-f1")


@dataclass(frozen=True)
class Predictions:
    """Answers to N photos of K classes; with swapped backgrounds a photo has several, whose weights sum to 1.

    Attributes:
        labels: the photo's class, ``(N,)`` in [0, K); the first one where a photo has several.
        answers: the answer, ``(N,)`` in [0, K), or -1 if it is a class that no photo has.
        scores: of each class, ``(N, K)``; None if they were not kept.
        targets: whether the photo shows the class, ``(N, K)`` bool; None if each photo has one class, its label.
        weights: ``(N,)``; None for 1 each.
        photos: which photo, ``(N,)`` integers; None if there is one answer for each.
        donors: which photo lent the background, ``(N,)`` integers; None without swapped backgrounds.
    """

    labels: np.ndarray
    answers: np.ndarray
    scores: np.ndarray | None = None
    targets: np.ndarray | None = None
    weights: np.ndarray | None = None
    photos: np.ndarray | None = None
    donors: np.ndarray | None = None

    @property
    def weight(self) -> np.ndarray:
        """The weights, 1 each if none are given."""
        return np.ones(len(self.labels)) if self.weights is None else self.weights

    @property
    def truth(self) -> np.ndarray:
        """Whether the photo shows the class, ``(N, K)`` bool."""
        if self.targets is not None:
            return self.targets
        classes = int(self.labels.max()) + 1 if self.scores is None else self.scores.shape[1]
        return self.labels[:, None] == np.arange(classes)


@dataclass(frozen=True)
class Metric:
    """A metric of predictions, in [0, 1].

    Attributes:
        name: in options and files.
        title: on pages.
        meaning: in one sentence.
        slopes: returns the number, and how fast it changes with the weight of each answer, ``(N,)``.
        needs_scores: whether it ranks photos by their scores; the others look at answers only.
    """

    name: str
    title: str
    meaning: str
    slopes: Callable[[Predictions], tuple[float, np.ndarray]]
    needs_scores: bool = False

    @property
    def column(self) -> str:
        """The name as a column of numbers."""
        return self.name.replace("-", "_")

    def derive(self, predictions: Predictions) -> Derived:
        """Return the number with what its 95 % CI needs.

        Parts of a class with n photos are multiplied by the root of n / (n - 1), as a sample's variance is.
        """
        value, slopes = self.slopes(predictions)
        weight, truth = predictions.weight, predictions.targets
        if truth is None:
            counts = np.bincount(predictions.labels, weight)
            own = counts[predictions.labels]
            slopes = slopes * np.sqrt(own / np.maximum(own - 1, 1))
        else:
            counts = weight @ truth
        photos = np.arange(len(weight)) if predictions.photos is None else predictions.photos
        return Derived(value, weight * slopes, weight, photos, predictions.donors, effective_photos(counts[counts > 0]))


def accuracy(predictions: Predictions) -> tuple[float, np.ndarray]:
    """Return the share of right answers, and its slopes."""
    right, total = predictions.labels == predictions.answers, predictions.weight.sum()
    value = float((predictions.weight * right).sum() / total)
    return value, (right - value) / total


def balanced_accuracy(predictions: Predictions) -> tuple[float, np.ndarray]:
    """Return the mean recall over classes, and its slopes."""
    counts = np.bincount(predictions.labels, predictions.weight)
    right = predictions.labels == predictions.answers
    recalls = np.bincount(predictions.labels, predictions.weight * right)[counts > 0] / counts[counts > 0]
    spread = np.zeros_like(counts)
    spread[counts > 0] = recalls
    return float(recalls.mean()), (right - spread[predictions.labels]) / (len(recalls) * counts[predictions.labels])


def macro_f1(predictions: Predictions) -> tuple[float, np.ndarray]:
    """Return the mean F1 over classes, 2 right / (photos of the class + answers of the class), and its slopes."""
    if predictions.targets is not None and predictions.scores is not None:
        return _f1_of_labels(predictions.scores > 0.5, predictions.targets, predictions.weight)
    size = int(max(predictions.labels.max(), predictions.answers.max())) + 1
    right, answered = predictions.labels == predictions.answers, predictions.answers >= 0
    owned = np.bincount(predictions.labels, predictions.weight, size)
    said = np.bincount(predictions.answers[answered], predictions.weight[answered], size)
    held = owned > 0  # classes that the photos have
    below = np.where(held, owned + said, 1.0)
    scores = 2 * np.bincount(predictions.labels, predictions.weight * right, size) / below
    each = np.where(held, 1 / (held.sum() * below), 0.0)
    slopes = each[predictions.labels] * (2 * right - scores[predictions.labels])
    other = np.where(answered, predictions.answers, 0)
    slopes -= np.where(answered, each[other] * scores[other], 0.0)
    return float(scores[held].mean()), slopes


def _f1_of_labels(said: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean F1 over classes of photos of several, ``(N, K)`` bool, and its slopes."""
    both, below = weight @ (said & truth), weight @ said + weight @ truth
    held = weight @ truth > 0
    scores = np.where(held, 2 * both / np.where(held, below, 1.0), 0.0)
    each = np.where(held, 1 / (held.sum() * np.where(held, below, 1.0)), 0.0)
    return float(scores[held].mean()), (2 * (said & truth) - scores * (said.astype(float) + truth)) @ each


def auroc(predictions: Predictions) -> tuple[float, np.ndarray]:
    """Return the mean area under the ROC curve of each class against the others, ties half, and its slopes."""
    return _mean_over_classes(predictions, class_auroc)


def average_precision(predictions: Predictions) -> tuple[float, np.ndarray]:
    """Return the mean average precision over classes (no interpolation), and its slopes."""
    return _mean_over_classes(predictions, class_average_precision)


def class_auroc(scores: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the AUROC of a class and its slopes (DeLong et al. 1988); NaN if all or no photos show the class.

    Its scores, ``truth`` (bool) and weights are all ``(N,)``.
    """
    ranks, positive, negative = _sum_weights(scores, truth, weight)
    shown, others = positive.sum(), negative.sum()
    if not (shown > 0 and others > 0):
        return float("nan"), np.zeros(len(scores))
    below = (np.cumsum(negative) - negative / 2) / others  # of each score: the share of negatives that it beats
    above = 1 - (np.cumsum(positive) - positive / 2) / shown
    value = float((positive * below).sum() / shown)
    return value, np.where(truth, (below[ranks] - value) / shown, (above[ranks] - value) / others)


def class_average_precision(scores: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the average precision of one class and its slopes; NaN if no photo shows the class; see ``class_auroc``.

    AP = sum over positives of w_i a_i / c_i, over their weight P, where a_i and c_i are the weights of the positives,
    and of all, that score at least as high. So the weight of photo j changes it by (a_j / c_j - AP) / P if it is
    positive, and by w_i (y_j - a_i / c_i) / (c_i P) for each positive i that does not score higher.
    """
    ranks, positive, negative = _sum_weights(scores, truth, weight)
    shown = positive.sum()
    if not shown > 0:
        return float("nan"), np.zeros(len(scores))
    reached = np.cumsum(positive[::-1])[::-1]
    passed = np.cumsum((positive + negative)[::-1])[::-1]
    precision = reached / passed
    value = float((positive * precision).sum() / shown)
    each = np.cumsum(positive / passed)  # summed over positives that do not score higher
    lost = np.cumsum(positive * precision / passed)
    slopes = truth * (each[ranks] + precision[ranks] - value) - lost[ranks]
    return value, slopes / shown


def _sum_weights(
    scores: np.ndarray, truth: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rank of each photo's score among the distinct scores, lowest first, and their weights by truth."""
    ranks = np.unique(scores, return_inverse=True)[1].ravel()
    size = int(ranks.max()) + 1
    return ranks, np.bincount(ranks, weight * truth, size), np.bincount(ranks, weight * ~truth, size)


def _mean_over_classes(
    predictions: Predictions, of_class: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[float, np.ndarray]]
) -> tuple[float, np.ndarray]:
    """Return the mean over the classes for which the number exists, and its slopes."""
    if predictions.scores is None:
        raise UserError(f"expected the scores of at most {MOST_SCORED} classes, got none: choose another --metric")
    columns = zip(predictions.scores.T, predictions.truth.T, strict=True)
    rows = [of_class(column, truth, predictions.weight) for column, truth in columns]
    held = [(value, slopes) for value, slopes in rows if not np.isnan(value)]
    if not held:
        return float("nan"), np.zeros(len(predictions.labels))
    return float(np.mean([value for value, _ in held])), np.mean([slopes for _, slopes in held], axis=0)


METRICS: dict[str, Metric] = {
    one.name: one
    for one in (
        Metric(ACCURACY, "accuracy", "the share of photos that are answered right", accuracy),
        Metric(
            "balanced-accuracy",
            "balanced accuracy",
            "the mean over classes of recall, so that a rare class counts as much as a frequent one",
            balanced_accuracy,
        ),
        Metric(
            "macro-f1",
            "macro-F1",
            "the mean over classes of F1, which falls with photos missed and with photos wrongly claimed",
            macro_f1,
        ),
        Metric(
            "auroc",
            "AUROC",
            "the mean over classes of how often a photo of the class scores higher for it than another photo",
            auroc,
            needs_scores=True,
        ),
        Metric(
            "average-precision",
            "average precision",
            "the mean over classes of precision, averaged over the photos of the class ranked by score; with few "
            "photos of a class, twenty or fewer, it is too high by chance",
            average_precision,
            needs_scores=True,
        ),
    )
}
# Titles of everything that a verdict may decide by.
DECIDING = {name: one.title for name, one in METRICS.items()} | {WORST_GROUP: "accuracy in the worst group"}
