"""Pictures of images whose answer turned: the first of a class in the set's order, with both models' relevance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from robustvit.common.options import MaskFormat
from robustvit.common.pictures import jpeg_url, outline_mask, overlay, pixels_of
from robustvit.data.batches import evaluation_transform, read_pair
from robustvit.data.photos import read_photo
from robustvit.evaluation.classes.answers import Compared
from robustvit.evaluation.on_sets.images import name_in_stream, name_of, preparation
from robustvit.evaluation.on_sets.outcomes import Outcomes
from robustvit.evaluation.on_sets.recording import SetModel
from robustvit.evaluation.sets import Answers, stream
from robustvit.evaluation.sets.answers import MemberMaxima, MemberMeans, Subset
from robustvit.explanation.maps import relevance

Direction = Literal["helped", "harmed"]


@dataclass(frozen=True)
class Answer:
    """What a model answered: its name and index, and the score of it in [0, 1]."""

    answer: str
    index: int
    probability: float


@dataclass(frozen=True)
class Turned:
    """An image whose answer turned, by its name in the set."""

    image: str
    before: Answer
    after: Answer


@dataclass(frozen=True)
class Panel:
    """A class and the first of its images that turned in one direction, of ``total`` that did."""

    name: str
    direction: Direction
    total: int
    images: list[Turned]


def choose_panels(compared: Compared, classes_shown: int, samples: int) -> list[Panel]:
    """The first ``samples`` images that turned, in the set's order, of the classes harmed and helped most.

    That is the rule of the paper's Figure 15: of a class that was harmed, the images that were right before and are
    wrong after; nobody picks among them. Of a class that was helped, those the other way round.
    """
    if classes_shown == 0 or samples == 0:
        return []
    _, one, other = np.intersect1d(compared.before.outcomes.names, compared.after.outcomes.names, return_indices=True)
    before, after = compared.before.outcomes.at(one), compared.after.outcomes.at(other)
    order = np.argsort(_ranks(compared, before.names), kind="stable")
    before, after = before.at(order), after.at(order)
    changes = compared.changes
    wanted: list[tuple[Direction, str]] = [("harmed", row.name) for row in changes.most_harmed(classes_shown)]
    wanted += [("helped", row.name) for row in changes.most_helped(classes_shown)]
    panels = []
    for direction, name in wanted:
        turned = before.correct & ~after.correct if direction == "harmed" else after.correct & ~before.correct
        rows = np.flatnonzero(turned & (before.class_names == name))
        images = [_turned(compared, before, after, row) for row in rows[:samples]]
        panels.append(Panel(name, direction, len(rows), images))
    return panels


def _ranks(compared: Compared, names: np.ndarray) -> list[int]:
    """The place of each image in the set; the names of a stream sort by it."""
    root = compared.place.root
    if root is None:
        return list(range(len(names)))
    listed = compared.benchmark.read(root, compared.place.protocol).samples
    rank = {name_of(sample, root): place for place, sample in enumerate(listed)}
    return [rank[str(name)] for name in names]


def _turned(compared: Compared, before: Outcomes, after: Outcomes, row: int) -> Turned:
    said = [
        Answer(
            asked.answers.names[int(outcomes.answers[row])],
            int(outcomes.answers[row]),
            float(outcomes.confidence[row]),
        )
        for asked, outcomes in ((compared.before, before), (compared.after, after))
    ]
    return Turned(str(before.names[row]), *said)


def draw_turned(
    compared: Compared, panels: Sequence[Panel], method: str = "gae", mask_format: MaskFormat = "auto"
) -> dict[str, tuple[str, str, str]]:
    """Pictures of the panels' images, as data addresses by image.

    Three each: the image as the model sees it (with the outline of its mask, where there is one), and the relevance of
    the answer given, before and after.

    Args:
        compared: with both models on their device.
        panels: see ``choose_panels``.
        method: of the relevance.
        mask_format: of the user's masks.
    """
    wanted = {one.image: one for panel in panels for one in panel.images}
    found = {}
    for name, photo in _photos(compared, list(wanted)).items():
        pictures = [_image(compared, name, photo, mask_format)]
        for model, said in ((compared.baseline, wanted[name].before), (compared.model, wanted[name].after)):
            pictures.append(_explained(compared, model, photo, said.index, method))
        found[name] = (pictures[0], pictures[1], pictures[2])
    return found


def _photos(compared: Compared, names: Sequence[str]) -> dict[str, Image.Image]:
    """Photos of the set, from disk or from another look at the stream, as far as the last one that is needed."""
    root = compared.place.root
    if root is not None:
        return {name: read_photo(root / name) for name in names}
    found: dict[str, Image.Image] = {}
    images, _ = stream(compared.benchmark, compared.place.protocol) if names else (iter(()), None)
    for number, (name, photo, _) in enumerate(images):
        if name_in_stream(number, name) in names:
            found[name_in_stream(number, name)] = photo
        if len(found) == len(names):
            break
    return found


def _image(compared: Compared, name: str, photo: Image.Image, mask_format: MaskFormat) -> str:
    own = compared.photos.get(name)
    preprocessing = compared.model.classifier.preprocessing
    if own is not None and own.mask is not None:
        image, mask = evaluation_transform(preprocessing)(*read_pair(own, mask_format))
        return jpeg_url(outline_mask(image.as_subclass(Tensor), mask.as_subclass(Tensor)))
    image = preparation(compared.benchmark, compared.place.protocol, preprocessing)(photo)
    return jpeg_url(pixels_of(image))


def _explained(compared: Compared, model: SetModel, photo: Image.Image, answer: int, method: str) -> str:
    classifier = model.classifier
    image = preparation(compared.benchmark, compared.place.protocol, classifier.preprocessing)(photo)
    inputs = image[None].to(compared.place.loop.accelerator.device)
    with torch.no_grad():
        members = head_classes(compared.after.answers, answer)
        best = classifier(inputs)[0, members].argmax()
        target = torch.tensor([members[int(best)]])
        found = relevance(classifier, inputs, target, method=method)[0]
    return jpeg_url(overlay(image, found))


def head_classes(answers: Answers, answer: int) -> list[int]:
    """The classes of the model's head that an answer stands for."""
    if isinstance(answers, Subset):
        return [answers.classes[answer]]
    if isinstance(answers, (MemberMeans, MemberMaxima)):
        return list(answers.members[answer])
    return [answer]
