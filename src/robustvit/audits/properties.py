"""Do plain properties of a photo and its file tell its class? Size, compression, brightness, sharpness, border."""

from __future__ import annotations

import builtins
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.stats import rankdata

from robustvit.data.pixels import PLAIN, Pixels
from robustvit.data.read_photos import open_header, read_photo

PROPERTIES: dict[str, str] = {
    "width": "width",
    "height": "height",
    "aspect": "width divided by height",
    "bytes": "bytes of the file for each pixel",
    "jpeg": "strength of the JPEG compression",
    "brightness": "brightness",
    "contrast": "contrast",
    "saturation": "colourfulness",
    "red": "red cast",
    "blue": "blue cast",
    "sharpness": "sharpness",
    "border": "brightness of the border",
    "frame": "evenness of the border",
}
TELLING = 0.85  # AUROC from which on a single property is named
_SIDE, _BORDER = 128, 3  # pixels at which colours are measured, and of the border
_FOLDS, _SHUFFLES, _RIDGE = 5, 99, 1.0
_LEAST = 10  # photos of a class
_LEAST_ALIKE = 20  # of a class called alike: with 10 chance alone names one in a fifth of data sets


@dataclass(frozen=True)
class Telling:
    """A property that tells a class from the others.

    Attributes:
        property: its name in ``PROPERTIES``.
        class_name: the class.
        auroc: probability that a photo of the class has more of it than one of another class; below 0.5: less.
        alike: it is not more or less of it but the same: ``auroc`` is the probability that a photo of the class is
            nearer to the median of the class's other photos than one of another class.
    """

    property: str
    class_name: str
    auroc: float
    alike: bool = False

    @builtins.property  # a field has that name
    def surely(self) -> float:
        """The AUROC in the direction that tells the class, 0.5 to 1."""
        return max(self.auroc, 1 - self.auroc)

    @builtins.property  # a field has that name
    def amount(self) -> str:
        """What the class has of it: more, less or alike."""
        return "alike" if self.alike else "more" if self.auroc > 0.5 else "less"


@dataclass(frozen=True)
class PropertyAudit:
    """What properties alone say of the classes.

    Attributes:
        accuracy: balanced accuracy in [0, 1] of a linear model of the properties' ranks on photos that it was not
            fitted to.
        chance: mean of the same with shuffled classes.
        p: share of shuffled classes that do as well; at most 0.05 means more than chance.
        telling: properties that tell a class alone, the most telling first.
    """

    accuracy: float
    chance: float
    p: float
    telling: tuple[Telling, ...]


def photo_properties(path: str | Path, pixels: Pixels = PLAIN) -> list[float]:
    """Measure the ``PROPERTIES`` of a photo, in their order; the strength of JPEG is NaN for other formats."""
    with open_header(path) as header:
        width, height = header.size
        table = getattr(header, "quantization", None) or {}
    strength = float(np.mean(table[0])) if 0 in table else float("nan")
    small = read_photo(path, pixels=pixels).resize((_SIDE, _SIDE), Image.Resampling.BOX)
    red, green, blue = np.moveaxis(np.asarray(small, dtype=float) / 255, -1, 0)
    grey = (red + green + blue) / 3
    edges = np.concatenate([grey[:_BORDER].ravel(), grey[-_BORDER:].ravel(), grey[:, :_BORDER].ravel(),
                            grey[:, -_BORDER:].ravel()])  # fmt: skip
    steps = np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()
    saturation = np.ptp([red, green, blue], axis=0).mean()
    found = [width, height, width / height, Path(path).stat().st_size / (width * height), strength]
    found += [grey.mean(), grey.std(), saturation, (red - green).mean(), (blue - green).mean(), steps, edges.mean()]
    return [*map(float, found), -float(edges.std())]


def audit_properties(values: np.ndarray, names: Sequence[str], seed: int = 0) -> PropertyAudit | None:
    """Ask whether properties alone tell the class.

    A ridge regression on the ranks of the properties is fitted to four fifths of the photos and tried on the rest, in
    turn, as cleanlab and deepchecks do with other models. Shuffled classes give what chance reaches. The values are
    ``(photos, properties)``, of ``photo_properties``. None where fewer than two classes have at least ten photos.
    """
    classes = sorted(name for name, count in Counter(names).items() if count >= _LEAST)
    kept = [index for index, name in enumerate(names) if name in classes]
    if len(classes) < 2:
        return None
    labels = np.array([classes.index(names[index]) for index in kept])
    ranks = _rank(values[kept])
    rng = np.random.default_rng(seed)
    accuracy = _cross_validate(ranks, labels, rng)
    lucky = np.array([_cross_validate(ranks, rng.permutation(labels), rng) for _ in range(_SHUFFLES)])
    p = (1 + int((lucky >= accuracy).sum())) / (1 + _SHUFFLES)
    telling = []
    for (column, name), (label, of) in itertools.product(enumerate(PROPERTIES), enumerate(classes)):
        values, inside = ranks[:, column], labels == label
        found = [Telling(name, of, _auroc(values, inside))]
        if inside.sum() >= _LEAST_ALIKE:
            found.append(Telling(name, of, _auroc(_nearness(values, inside), inside), alike=True))
        surest = max(found, key=lambda one: one.auroc if one.alike else one.surely)
        if surest.surely >= TELLING:
            telling.append(surest)
    telling.sort(key=lambda one: -one.surely)
    return PropertyAudit(accuracy, float(lucky.mean()), p, tuple(telling))


def _rank(values: np.ndarray) -> np.ndarray:
    """Return the ranks of each column in [-1, 1], ties averaged; a missing value is in the middle."""
    found = np.zeros_like(values, dtype=float)
    for column in range(values.shape[1]):
        known = np.isfinite(values[:, column])
        if known.sum() > 1:
            ranks = rankdata(values[known, column])
            found[known, column] = 2 * (ranks - 1) / (known.sum() - 1) - 1
    return found


def _nearness(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return how near each value is to the median of a class, without the photo itself."""
    members = values[inside]
    found = -np.abs(values - np.median(members))
    found[inside] = [-abs(value - np.median(np.delete(members, at))) for at, value in enumerate(members)]
    return found


def _cross_validate(ranks: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> float:
    """Return the balanced accuracy of a ridge regression on each fifth, which has all classes, fitted to the others."""
    counts = np.bincount(labels)
    order = rng.permutation(len(labels))
    fold = np.empty(len(labels), int)
    for label in range(len(counts)):
        members = order[labels[order] == label]
        fold[members] = np.arange(len(members)) % _FOLDS
    weight = np.sqrt(1 / counts[labels])[:, None]  # classes count alike
    inputs = np.column_stack([ranks, ranks**2, np.ones(len(ranks))])
    wanted = np.eye(len(counts))[labels]
    ridge = np.sqrt(_RIDGE / len(labels)) * np.eye(inputs.shape[1])
    right = np.zeros(len(labels))
    for part in range(_FOLDS):
        fitted, tried = fold != part, fold == part
        a = np.vstack([(inputs * weight)[fitted], ridge])
        b = np.vstack([(wanted * weight)[fitted], np.zeros((len(ridge), len(counts)))])
        said = inputs[tried] @ np.linalg.lstsq(a, b, rcond=None)[0]
        right[tried] = said.argmax(axis=1) == labels[tried]
    return float(np.mean([right[labels == label].mean() for label in range(len(counts))]))


def _auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve: the Mann-Whitney statistic divided by the number of pairs."""
    ones, zeros = int(positive.sum()), int((~positive).sum())
    return float((rankdata(scores)[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))
