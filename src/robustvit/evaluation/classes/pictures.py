"""Pictures of images whose answer changed: the first of a class in the set's order, with both models' relevance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from robustvit.common.options import MaskFormat
from robustvit.common.pictures import jpeg_url, outline_mask, overlay, pixels_of
from robustvit.data.datasets import enlarged, evaluation_transform, read_pair
from robustvit.data.pixels import ANY
from robustvit.data.read_photos import read_photo
from robustvit.evaluation.classes.compared import Compared
from robustvit.evaluation.on_sets.images import name_in_stream, name_of, preparation
from robustvit.evaluation.on_sets.outcomes import Outcomes
from robustvit.evaluation.on_sets.recording import SetModel
from robustvit.evaluation.sets import Answers, stream
from robustvit.evaluation.sets.answers import MemberMaxima, MemberMeans, SubsetAnswers
from robustvit.explanation.maps import relevance

Direction = Literal["helped", "harmed"]
_SIDE = 280  # pixels of a picture


@dataclass(frozen=True)
class ImageAnswer:
    """A model's answer: its name and index, and its score in [0, 1]."""

    answer: str
    index: int
    probability: float


@dataclass(frozen=True)
class Turned:
    """An image whose answer changed, by its name in the set."""

    image: str
    before: ImageAnswer
    after: ImageAnswer


@dataclass(frozen=True)
class TurnedPanel:
    """A class and the first of its ``total`` images whose answer changed in one direction."""

    name: str
    direction: Direction
    total: int
    images: list[Turned]


def choose_turned_panels(compared: Compared, classes_shown: int, samples: int) -> list[TurnedPanel]:
    """Choose the first ``samples`` images whose answer changed, in the set's order, of the classes that changed most.

    This is the rule of the paper's Figure 15: of a harmed class, images that were right before and wrong after, without
    picking among them; of a helped class, the reverse.
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
        images = [_describe_turn(compared, before, after, row) for row in rows[:samples]]
        panels.append(TurnedPanel(name, direction, len(rows), images))
    return panels


def _ranks(compared: Compared, names: np.ndarray) -> list[int]:
    """Return the position of each image in the set; the names of a stream sort by it."""
    root = compared.place.root
    if root is None:
        return list(range(len(names)))
    listed = compared.benchmark.read(root, compared.place.protocol).samples
    rank = {name_of(sample, root): place for place, sample in enumerate(listed)}
    return [rank[str(name)] for name in names]


def _describe_turn(compared: Compared, before: Outcomes, after: Outcomes, row: int) -> Turned:
    said = [
        ImageAnswer(
            asked.answers.names[int(outcomes.answers[row])],
            int(outcomes.answers[row]),
            float(outcomes.confidence[row]),
        )
        for asked, outcomes in ((compared.before, before), (compared.after, after))
    ]
    return Turned(str(before.names[row]), *said)


def draw_turned(
    compared: Compared, panels: Sequence[TurnedPanel], method: str = "gae", mask_format: MaskFormat = "auto"
) -> dict[str, tuple[str, str, str]]:
    """Draw the panels' images as data URLs, by image.

    Three each: what the model sees of the image, sharp (with the outline of its mask, if there is one), and the
    relevance of the answer before and after.

    Args:
        compared: with both models on their device.
        panels: see ``choose_turned_panels``.
        method: of the relevance.
        mask_format: of the user's masks.
    """
    wanted = {one.image: one for panel in panels for one in panel.images}
    found = {}
    for name, photo in _photos(compared, list(wanted)).items():
        pictures = [_draw_image(compared, name, photo, mask_format)]
        for model, said in ((compared.baseline, wanted[name].before), (compared.model, wanted[name].after)):
            pictures.append(_draw_relevance(compared, model, photo, said.index, method))
        found[name] = (pictures[0], pictures[1], pictures[2])
    return found


def _photos(compared: Compared, names: Sequence[str]) -> dict[str, Image.Image]:
    """Read photos of the set from disk, or from the stream, which is read again up to the last one needed."""
    root = compared.place.root
    if root is not None:
        return {name: read_photo(root / name, pixels=ANY) for name in names}
    found: dict[str, Image.Image] = {}
    images, _ = stream(compared.benchmark, compared.place.protocol) if names else (iter(()), None)
    for number, (name, photo, _) in enumerate(images):
        if name_in_stream(number, name) in names:
            found[name_in_stream(number, name)] = photo
        if len(found) == len(names):
            break
    return found


def _draw_image(compared: Compared, name: str, photo: Image.Image, mask_format: MaskFormat) -> str:
    own = compared.photos.get(name)
    preprocessing = compared.model.classifier.preprocessing
    if own is not None and own.mask is not None:
        image, mask = evaluation_transform(enlarged(preprocessing, _SIDE))(*read_pair(own, mask_format))
        return jpeg_url(outline_mask(image.as_subclass(Tensor), mask.as_subclass(Tensor)))
    image = preparation(compared.benchmark, compared.place.protocol, enlarged(preprocessing, _SIDE))(photo)
    return jpeg_url(pixels_of(image))


def _draw_relevance(compared: Compared, model: SetModel, photo: Image.Image, answer: int, method: str) -> str:
    classifier = model.classifier
    image = preparation(compared.benchmark, compared.place.protocol, classifier.preprocessing)(photo)
    inputs = image[None].to(compared.place.loop.accelerator.device)
    with torch.no_grad():
        members = classes_of_answer(compared.after.answers, answer)
        best = classifier(inputs)[0, members].argmax()
        target = torch.tensor([members[int(best)]])
        found = relevance(classifier, inputs, target, method=method)
    larger = enlarged(classifier.preprocessing, _SIDE)
    sharp = preparation(compared.benchmark, compared.place.protocol, larger)(photo)
    return jpeg_url(overlay(sharp, F.interpolate(found, size=sharp.shape[1:], mode="bilinear")[0].cpu()))


def classes_of_answer(answers: Answers, answer: int) -> list[int]:
    """Return the classes of the model's head that an answer stands for."""
    if isinstance(answers, SubsetAnswers):
        return [answers.classes[answer]]
    if isinstance(answers, (MemberMeans, MemberMaxima)):
        return list(answers.members[answer])
    return [answer]
