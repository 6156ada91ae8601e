"""Accuracy by position, size and rotation of the object: SI-Score's recipe on a coarse grid, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import functional as TF

from robustvit.audits.background_choice import Pasting
from robustvit.audits.measures import predict_classes
from robustvit.common.errors import UserError
from robustvit.common.intervals import ClusteredAnswers, Interval, crossed_difference, crossed_interval
from robustvit.common.progress import track
from robustvit.data.cached_photos import CachedPhotos
from robustvit.data.datasets import evaluation_transform, read_pair
from robustvit.data.read_photos import read_photo
from robustvit.data.shifts.cutouts import Placement, cut_out, place, square_background
from robustvit.data.swaps import tiled_background, usable_background
from robustvit.evaluation.measuring import MeasureSettings
from robustvit.models.classifier import Classifier

ShiftKind = Literal["position", "size", "rotation"]
SIDE = 512  # of the images made, as in SI-Score
LEAST_INSIDE = 0.5  # share of the box that must lie in the frame, else the placement is left out
_LARGEST = 1024  # pixels of a cut-out's longer side; larger ones are reduced

GRIDS: dict[ShiftKind, tuple[Placement, ...]] = {
    "position": tuple(Placement(x, y, 0.2, 0) for y in (0.2, 0.5, 0.8) for x in (0.2, 0.5, 0.8)),
    "size": tuple(Placement(0.5, 0.5, area, 0) for area in (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)),
    "rotation": tuple(Placement(0.5, 0.5, 0.2, angle) for angle in range(0, 360, 45)),
}
_POINTS: tuple[Placement, ...] = tuple(dict.fromkeys(point for grid in GRIDS.values() for point in grid))


@dataclass(frozen=True)
class PlacedAnswers:
    """Whether the predictions for an object were right, by placement, on the background numbered ``background``."""

    background: int
    right: dict[Placement, bool]


ShiftedAnswers = dict[int, PlacedAnswers]  # for each photo that was placed, by index


def measure_placements(
    models: Sequence[Classifier],
    photos: CachedPhotos,
    pastings: Sequence[Pasting],
    settings: MeasureSettings,
) -> list[ShiftedAnswers]:
    """Predict the objects at every placement of ``GRIDS`` with each model; each image is made once."""
    dataset = _PlacedObjects(photos, pastings, models)
    found: list[ShiftedAnswers] = [{} for _ in models]
    loader = DataLoader(dataset, batch_size=None, num_workers=settings.workers)
    for item in track(loader, "position, size and rotation"):
        if isinstance(item, UserError):
            raise item
        if not item["points"]:
            continue  # an object so thin that it is outside the frame at every placement
        for answers, model, images in zip(found, models, item["images"], strict=True):
            predicted = predict_classes(model, images.split(settings.batch_size), settings.asking)
            right = {
                _POINTS[point]: said == item["label"] for point, said in zip(item["points"], predicted, strict=True)
            }
            answers[item["index"]] = PlacedAnswers(item["background"], right)
    return found


def shift_points(answers: ShiftedAnswers) -> dict[tuple[ShiftKind, Placement], Interval]:
    """Return the accuracy at each placement of each grid, over the objects still in the frame."""
    return {
        (kind, placement): crossed_interval(_answers_at(answers, placement))
        for kind, placements in GRIDS.items()
        for placement in placements
        if any(placement in said.right for said in answers.values())
    }


def shift_difference(before: ShiftedAnswers, after: ShiftedAnswers, placement: Placement) -> Interval:
    """Return the change of accuracy at a placement, over the objects that both models have there."""
    return crossed_difference(_answers_at(before, placement), _answers_at(after, placement))


def _answers_at(answers: ShiftedAnswers, placement: Placement) -> ClusteredAnswers:
    rows = [
        (said.right[placement], index, said.background) for index, said in answers.items() if placement in said.right
    ]
    return ClusteredAnswers(*map(list, zip(*rows, strict=True)))


def shift_values(answers: ShiftedAnswers) -> dict[int, dict[str, float]]:
    """Return for each photo the share of right answers over the placements of each grid."""
    found: dict[int, dict[str, float]] = {}
    for index, said in answers.items():
        for kind, placements in GRIDS.items():
            right = [said.right[placement] for placement in placements if placement in said.right]
            if right:
                found.setdefault(index, {})[kind] = sum(right) / len(right)
    return found


class _PlacedObjects(Dataset):
    """Objects at all placements, as inputs of each model."""

    def __init__(self, photos: CachedPhotos, pastings: Sequence[Pasting], models: Sequence[Classifier]) -> None:
        self.photos, self.pastings = photos, list(pastings)
        self.preprocessings = [model.preprocessing for model in models]
        self.files = {file: number for number, file in enumerate(dict.fromkeys(one.file for one in pastings))}

    def __len__(self) -> int:
        return len(self.pastings)

    def __getitem__(self, position: int) -> dict[str, Any] | UserError:
        pasting = self.pastings[position]
        try:
            return self._place_object(pasting)
        except UserError as error:  # loaders wrap the errors of their workers
            return error

    def _place_object(self, pasting: Pasting) -> dict[str, Any]:
        photo, mask = read_pair(self.photos.photos[pasting.index], self.photos.mask_format)
        cutout = cut_out(photo, mask[0].numpy())
        cutout = cutout.reduce(max(1, max(cutout.size) // _LARGEST))
        number, drawn = self._read_background(pasting)
        background = square_background(drawn, SIDE)
        placed = [place(cutout, background, placement) for placement in _POINTS]
        points = [point for point, (_, inside) in enumerate(placed) if inside >= LEAST_INSIDE]
        inputs = {
            one: torch.stack([evaluation_transform(one)(placed[point][0]).as_subclass(Tensor) for point in points])
            for one in dict.fromkeys(self.preprocessings if points else ())
        }
        return {
            "images": [inputs[one] for one in self.preprocessings if one in inputs],
            "points": points,
            "index": pasting.index,
            "background": number,
            "label": self.photos.photos[pasting.index].label,
        }

    def _read_background(self, pasting: Pasting) -> tuple[int, Image.Image]:
        """Return the background and its number."""
        if pasting.file is not None:
            return self.files[pasting.file], read_photo(pasting.file)
        for index in pasting.donors:
            photo, mask = read_pair(self.photos.photos[index], self.photos.mask_format)
            if usable_background(mask):  # the cropped mask was usable, that of the whole photo may not be
                return index, TF.to_pil_image(tiled_background(TF.pil_to_tensor(photo), mask.as_subclass(Tensor)))
        donor = self.photos[pasting.donors[0]]
        return pasting.donors[0], TF.to_pil_image(tiled_background(donor["image"], donor["mask"]))
