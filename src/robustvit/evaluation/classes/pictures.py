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
from robustvit.data.datasets import enlarge_input, evaluation_transform, read_pair
from robustvit.data.pixels import ANY
from robustvit.data.read_photos import read_photo
from robustvit.evaluation.classes.compared import Compared
from robustvit.evaluation.on_sets.images import Preparation, name_in_stream, name_of
from robustvit.evaluation.on_sets.outcomes import Outcomes, align_outcomes
from robustvit.evaluation.on_sets.recording import SetModel
from robustvit.evaluation.sets import stream
from robustvit.explanation.maps import relevance
from robustvit.models.classifier import Preprocessing

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
    before, after = align_outcomes(compared.before.outcomes, compared.after.outcomes)
    order = np.argsort(_rank_images(compared, before.names), kind="stable")
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


def _rank_images(compared: Compared, names: np.ndarray) -> list[int]:
    """Return the position of each image in the set; the names of a stream sort by it."""
    root = compared.setup.root
    if root is None:
        return list(range(len(names)))
    listed = compared.benchmark.read(root, compared.setup.protocol).samples
    rank = {name_of(sample, root): at for at, sample in enumerate(listed)}
    return [rank[str(name)] for name in names]


def _describe_turn(compared: Compared, before: Outcomes, after: Outcomes, row: int) -> Turned:
    def answer(outcomes: Outcomes) -> ImageAnswer:
        index = int(outcomes.answers[row])
        return ImageAnswer(compared.after.answers.names[index], index, float(outcomes.confidence[row]))

    return Turned(str(before.names[row]), answer(before), answer(after))


def draw_turned(
    compared: Compared, panels: Sequence[TurnedPanel], method: str = "gae", mask_format: MaskFormat = "auto"
) -> dict[str, tuple[str, str, str]]:
    """Draw the images of ``choose_turned_panels`` as data URLs, by image; both models must be on their device.

    Three each: what the model sees of the image, sharp (with the outline of its mask, if there is one), and the
    relevance, by ``method``, of the answer before and after.
    """
    wanted = {one.image: one for panel in panels for one in panel.images}
    drawn = {}
    for name, photo in _read_photos(compared, list(wanted)).items():
        pictures = [_draw_image(compared, name, photo, mask_format)]
        for model, said in ((compared.baseline, wanted[name].before), (compared.model, wanted[name].after)):
            pictures.append(_draw_relevance(compared, model, photo, said.index, method))
        drawn[name] = (pictures[0], pictures[1], pictures[2])
    return drawn


def _read_photos(compared: Compared, names: Sequence[str]) -> dict[str, Image.Image]:
    """Read photos of the set from disk, or from the stream, which is read again up to the last one needed."""
    root = compared.setup.root
    if root is not None:
        return {name: read_photo(root / name, pixels=ANY) for name in names}
    photos: dict[str, Image.Image] = {}
    images, _ = stream(compared.benchmark, compared.setup.protocol) if names else (iter(()), None)
    for number, (name, photo, _) in enumerate(images):
        if name_in_stream(number, name) in names:
            photos[name_in_stream(number, name)] = photo
        if len(photos) == len(names):
            break
    return photos


def _draw_image(compared: Compared, name: str, photo: Image.Image, mask_format: MaskFormat) -> str:
    own = compared.photos.get(name)
    preprocessing = compared.model.classifier.preprocessing
    if own is not None and own.mask is not None:
        image, mask = evaluation_transform(enlarge_input(preprocessing, _SIDE))(*read_pair(own, mask_format))
        return jpeg_url(outline_mask(image.as_subclass(Tensor), mask.as_subclass(Tensor)))
    return jpeg_url(pixels_of(_prepare(compared, photo, enlarge_input(preprocessing, _SIDE))))


def _draw_relevance(compared: Compared, model: SetModel, photo: Image.Image, answer: int, method: str) -> str:
    classifier = model.classifier
    inputs = _prepare(compared, photo, classifier.preprocessing)[None].to(compared.setup.accelerator.device)
    with torch.no_grad():
        members = compared.after.answers.classes_of(answer)
        best = classifier(inputs)[0, members].argmax()
        target = torch.tensor([members[int(best)]])
        found = relevance(classifier, inputs, target, method=method)
    sharp = _prepare(compared, photo, enlarge_input(classifier.preprocessing, _SIDE))
    return jpeg_url(overlay(sharp, F.interpolate(found, size=sharp.shape[1:], mode="bilinear")[0].cpu()))


def _prepare(compared: Compared, photo: Image.Image, preprocessing: Preprocessing) -> Tensor:
    return Preparation(compared.benchmark, compared.setup.protocol, preprocessing)(photo)
