"""Accuracy by position, size and rotation of the object: SI-Score's recipe on a coarse grid, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import functional as TF

from robustvit.common.errors import UserError
from robustvit.common.intervals import ClusteredAnswers, Interval, crossed_difference, crossed_interval
from robustvit.common.progress import track
from robustvit.data.cached_photos import CachedPhotos
from robustvit.data.datasets import evaluation_transform, read_pair
from robustvit.data.read_photos import read_photo
from robustvit.data.shifts.cutouts import Placement, cut_out, place, square_background
from robustvit.data.swap_pairs import pair_backgrounds
from robustvit.data.swaps import tiled_background, usable_background
from robustvit.evaluation.asking import Asking
from robustvit.explanation.attention.interception import evaluating
from robustvit.models.classifier import Classifier

ShiftKind = Literal["position", "size", "rotation"]
SIDE = 512  # of the images made, as in SI-Score
LEAST_INSIDE = 0.5  # share of the box that must lie in the frame, else the placement is left out
_CANDIDATES = 5  # backgrounds drawn for an object, in case the first is unusable
_LARGEST = 1024  # pixels of a cut-out's longer side; larger ones are reduced

GRIDS: dict[ShiftKind, tuple[Placement, ...]] = {
    "position": tuple(Placement(x, y, 0.2, 0) for y in (0.2, 0.5, 0.8) for x in (0.2, 0.5, 0.8)),
    "size": tuple(Placement(0.5, 0.5, area, 0) for area in (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)),
    "rotation": tuple(Placement(0.5, 0.5, 0.2, angle) for angle in range(0, 360, 45)),
}
_POINTS: tuple[Placement, ...] = tuple(dict.fromkeys(point for grid in GRIDS.values() for point in grid))


@dataclass(frozen=True)
class Pasting:
    """An object and its background: a file, or the first usable one of some photos."""

    index: int
    file: Path | None
    donors: tuple[int, ...]


@dataclass(frozen=True)
class ShiftPoint:
    """Accuracy at one placement."""

    kind: ShiftKind
    placement: Placement
    accuracy: Interval


@dataclass(frozen=True)
class PlacedAnswers:
    """Whether the predictions for an object were right, by placement, on the background numbered ``background``."""

    background: int
    right: dict[Placement, bool]


ShiftedAnswers = dict[int, PlacedAnswers]  # for each photo that was placed, by index


def choose_pastings(
    labels: Sequence[int],
    able: Sequence[int],
    usable: Sequence[bool],
    count: int,
    seed: int,
    backgrounds: Sequence[Path] = (),
) -> list[Pasting]:
    """Choose up to ``count`` objects from the classes in turn, and draw a background for each.

    It is the same at every placement: one of ``backgrounds`` or, if there are none, the tiled background of a photo of
    another class. Each is used once before any is used twice where possible (see ``pair_backgrounds``).
    """
    rng = np.random.default_rng(seed)
    classes = {c: [i for i in able if labels[i] == c] for c in sorted({labels[i] for i in able})}
    shuffled = [rng.permutation(members).tolist() for members in classes.values()]
    longest = max(map(len, shuffled), default=0)
    chosen = [members[turn] for turn in range(longest) for members in shuffled if turn < len(members)][:count]
    chosen.sort()
    if backgrounds:
        rounds = -(-len(chosen) // len(backgrounds))
        drawn = [backgrounds[at] for _ in range(rounds) for at in rng.permutation(len(backgrounds))]
        return [Pasting(index, file, ()) for index, file in zip(chosen, drawn, strict=False)]
    first, more = (
        pair_backgrounds(labels, usable, "mixed-other", swaps=swaps, seed=seed, borrowers=chosen)
        for swaps in (1, _CANDIDATES)  # the first ones alone are even
    )
    return [Pasting(i, None, tuple(dict.fromkeys(first[i] + more[i]))) for i in chosen if first[i]]


def measure_placements(
    models: Sequence[Classifier],
    photos: CachedPhotos,
    pastings: Sequence[Pasting],
    *,
    batch_size: int = 32,
    workers: int = 0,
    device: str | torch.device = "cpu",
    asking: Asking | None = None,
) -> list[ShiftedAnswers]:
    """Predict the objects at every placement of ``GRIDS`` with each model; each image is made once.

    Args:
        models: on ``device``.
        photos: the photos that the pastings name.
        pastings: objects and backgrounds.
        batch_size: images at a time.
        workers: processes that make images.
        device: where the models are.
        asking: how the models are asked.
    """
    dataset = _PlacedObjects(photos, pastings, models)
    found: list[ShiftedAnswers] = [{} for _ in models]
    for item in track(DataLoader(dataset, batch_size=None, num_workers=workers), "position, size and rotation"):
        if isinstance(item, UserError):
            raise item
        if not item["points"]:
            continue  # an object so thin that it is outside the frame at every placement
        for answers, model, images in zip(found, models, item["images"], strict=True):
            predicted = _predict(model, images, batch_size, device, asking or Asking())
            right = {
                _POINTS[point]: said == item["label"] for point, said in zip(item["points"], predicted, strict=True)
            }
            answers[item["index"]] = PlacedAnswers(item["background"], right)
    return found


def shift_points(answers: ShiftedAnswers) -> list[ShiftPoint]:
    """Return the accuracy at each placement of each grid, over the objects still in the frame."""
    found = []
    for kind, placements in GRIDS.items():
        for placement in placements:
            if any(placement in said.right for said in answers.values()):
                found.append(ShiftPoint(kind, placement, crossed_interval(_answers_at(answers, placement))))
    return found


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


def _predict(
    model: nn.Module, images: Tensor, batch_size: int, device: str | torch.device, asking: Asking
) -> list[int]:
    with evaluating(model):
        parts = images.split(batch_size)
        return [one for part in parts for one in asking.logits(model, part.to(device)).argmax(dim=1).tolist()]


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
        number, drawn = self._background(pasting)
        background = square_background(drawn, SIDE)
        placed = [place(cutout, background, placement) for placement in _POINTS]
        points = [point for point, (_, inside) in enumerate(placed) if inside >= LEAST_INSIDE]
        made = {
            own: torch.stack([evaluation_transform(own)(placed[point][0]).as_subclass(Tensor) for point in points])
            for own in dict.fromkeys(self.preprocessings if points else ())
        }
        return {
            "images": [made[own] for own in self.preprocessings if own in made],
            "points": points,
            "index": pasting.index,
            "background": number,
            "label": self.photos.photos[pasting.index].label,
        }

    def _background(self, pasting: Pasting) -> tuple[int, Image.Image]:
        """Return the background and its number."""
        if pasting.file is not None:
            return self.files[pasting.file], read_photo(pasting.file)
        for index in pasting.donors:
            photo, mask = read_pair(self.photos.photos[index], self.photos.mask_format)
            if usable_background(mask):  # the cropped mask was usable, that of the whole photo may not be
                return index, TF.to_pil_image(tiled_background(TF.pil_to_tensor(photo), mask.as_subclass(Tensor)))
        donor = self.photos[pasting.donors[0]]
        return pasting.donors[0], TF.to_pil_image(tiled_background(donor["image"], donor["mask"]))
