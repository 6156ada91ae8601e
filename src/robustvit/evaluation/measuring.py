"""How a model is measured on photos: the settings, and the steps that photos of one class and of several share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from robustvit.common.devices import Share
from robustvit.common.errors import UserError
from robustvit.common.progress import track
from robustvit.common.signals import reading_processes
from robustvit.data.backgrounds import Backgrounds, PastedPhotos, deal_backgrounds
from robustvit.data.datasets import MaskedPhotos, SwappedPhotos
from robustvit.data.photo import Photo
from robustvit.data.several_labels import LabelledPhotos
from robustvit.data.swaps import Swap, usable_background
from robustvit.evaluation.asking import Asking
from robustvit.evaluation.map_scores import MAP_SCORES, MapScores
from robustvit.evaluation.photo_measures import UNSEEN, PhotoMeasure, Swapped

FIRST_PHOTOS = 50  # where a question may stop early; nothing is reported early, so this adds no false alarms
RUN_SWAPS: tuple[Swap, ...] = ("mixed-same", "mixed-other")  # mixed-rand reuses these predictions
Answer = tuple[int, float, dict[int, float]]  # class, its probability, and scores of classes
Plan = list[tuple[str, int, int]]  # kind of background, photo, and the photo that lends its background


class Role(NamedTuple):
    """Whether a photo's object can be put on other backgrounds, and whether it can lend its own."""

    borrows: bool
    lends: bool


@dataclass(frozen=True)
class MeasureSettings:
    """How to measure a classifier on photos.

    Attributes:
        swaps: backgrounds per photo from its own class, and as many from other classes; 0 measures none.
        seed: fixes the choice of backgrounds.
        kinds: swaps that are predicted; mixed-rand needs both.
        backgrounds: measure ``unseen`` on these, ``textures`` or a folder, see ``Backgrounds``; None does not.
        maps: measure the relevance too; accuracy alone takes half the time.
        method: relevance method of the maps.
        scores: scores of the maps by name: functions of maps and masks ``(B, 1, H, W)`` that return ``(B,)``.
        batch_size: photos per forward pass.
        workers: processes that read photos.
        asking: how the model is asked.
    """

    swaps: int = 2
    seed: int = 0
    kinds: tuple[Swap, ...] = RUN_SWAPS
    backgrounds: str | None = None
    maps: bool = True
    method: str = "gae"
    scores: MapScores = field(default_factory=lambda: MAP_SCORES)
    batch_size: int = 32
    workers: int = 0
    asking: Asking = field(default_factory=Asking)


@dataclass(frozen=True)
class Measuring(ABC):
    """A model on its device, and how it is measured."""

    model: nn.Module
    settings: MeasureSettings
    device: str | torch.device
    share: Share
    masks: str = "mask"  # where a batch holds the masks of its maps

    @abstractmethod
    def read(self, logits: Tensor) -> list[Answer]:
        """Return the answer that each row of logits is."""

    @abstractmethod
    def explain(self, batch: dict[str, Tensor]) -> tuple[Tensor, list[dict[str, float]]]:
        """Return the logits, and for each photo the scores of its map; none without a mask."""

    @abstractmethod
    def role_of(self, photo: Photo, whole: bool, empty: bool, lends: bool) -> Role:
        """Return what a photo can do in swaps.

        Its object is ``whole`` if enough of it is seen; an ``empty`` photo shows none; it ``lends`` if its object is
        whole and leaves enough background.
        """

    @abstractmethod
    def plan_swaps(self, results: Sequence[PhotoMeasure], roles: Sequence[Role]) -> Plan:
        """Choose which photos lend their background to which."""

    def mix_swaps(self, results: Sequence[PhotoMeasure], roles: Sequence[Role]) -> None:  # noqa: B027
        """Add kinds of swaps whose answers are drawn from those of other kinds; there are none by default."""

    def measure_batch(self, photos: MaskedPhotos, batch: dict[str, Tensor]) -> list[tuple[PhotoMeasure, Role]]:
        """Measure the photos of a batch on their own backgrounds; also what each can do in swaps."""
        if self.settings.maps and (batch[self.masks] > 0.5).any():
            logits, maps = self.explain(batch)
        else:  # a map costs two more passes and is useless without a mask
            logits = self.predict(batch["image"].to(self.device))
            maps = [{} for _ in logits]
        found = []
        for i, (index, answer) in enumerate(zip(batch["index"].tolist(), self.read(logits), strict=True)):
            photo, mask = photos.photos[index], batch["mask"][i]
            predicted, probability, scores = answer
            result = PhotoMeasure(
                str(photo.image), photo.label, predicted, probability, group=photo.group, scores=scores
            )
            result.labels = list(photo.labels or ()) if isinstance(photos, LabelledPhotos) else None
            if photo.label is not None or result.labels is not None:
                result.values["ordinary"] = float(result.is_right(result))
            result.values |= maps[i]
            # ImageNet-9's rule: a foreground counts only if the crop keeps over half of its box.
            whole = bool(batch["kept"][i] > 0.5) and bool(mask.any())
            lends = whole and usable_background(mask > 0.5)
            found.append((result, self.role_of(photo, whole, bool(batch["empty"][i]), lends)))
        return found

    def measure(self, photos: MaskedPhotos) -> list[PhotoMeasure]:
        """Measure every photo on its own background, and those that can be swapped on others."""
        rows: list[tuple[PhotoMeasure, Role]] = []
        for batch in self.load(Subset(photos, self.share.of_items(range(len(photos)))), "measuring photos"):
            rows += self.measure_batch(photos, batch)
        joined = self.share.gather(rows)
        results, roles = [result for result, _ in joined], [role for _, role in joined]
        if self.settings.swaps > 0:
            able = [index for index, role in enumerate(roles) if role.borrows]
            for index, swap in self.answer_swaps(photos, self.plan_swaps(results, roles), able):
                results[index].swapped.append(swap)
            self.mix_swaps(results, roles)
            for index in able:
                results[index].rate_swaps()
        return results

    def load(self, dataset: Dataset, title: str) -> Iterable[dict[str, Tensor]]:
        """Yield the batches of a dataset and show the progress."""
        readers = reading_processes(self.settings.workers)
        return track(DataLoader(dataset, batch_size=self.settings.batch_size, **readers), title)

    def predict(self, images: Tensor) -> Tensor:
        """Return the logits."""
        return expect_finite(self.settings.asking.logits(self.model, images))

    def answers(self, dataset: Dataset, title: str) -> list[Answer]:
        """Return the answers to this process's images, joined with those of the others."""
        mine: list[Answer] = []
        for batch in self.load(dataset, title):
            mine += self.read(self.predict(batch["image"].to(self.device)))
        return self.share.gather(mine)

    def answer_swaps(self, photos: MaskedPhotos, plan: Plan, able: Sequence[int]) -> list[tuple[int, Swapped]]:
        """Return the answers to photos on other backgrounds, each with the photo's index.

        Those that are ``able`` are put on the backgrounds of ``unseen`` too, if the settings ask for them.
        """
        settings, planned = self.settings, list(plan)
        swapped = SwappedPhotos(photos, self.share.of_items([(index, donor) for _, index, donor in planned]))
        answers = self.answers(swapped, "measuring swapped backgrounds")
        if settings.backgrounds is not None:
            others = Backgrounds(settings.backgrounds, photos.preprocessing)
            dealt = deal_backgrounds(len(able), len(others), swaps=settings.swaps, seed=settings.seed)
            pairs = [(index, at) for index, drawn in zip(able, dealt, strict=True) for at in drawn]
            planned += [(UNSEEN, index, at) for index, at in pairs]
            pasted = PastedPhotos(photos, others, self.share.of_items(pairs))
            answers += self.answers(pasted, "measuring other backgrounds")
        return [(at, Swapped(kind, donor, *one)) for (kind, at, donor), one in zip(planned, answers, strict=True)]


def draw_indices(indices: Sequence[int], most: int) -> list[int]:
    """Return exactly ``most`` of the indices, or all if there are fewer: always the same ones, drawn at random.

    Even steps would take only one class of photos whose classes alternate.
    """
    drawn = np.random.default_rng(0).permutation(len(indices))[:most]
    return [indices[at] for at in sorted(drawn.tolist())]


def expect_finite(logits: Tensor) -> Tensor:
    """Return logits; refuse NaN and infinity."""
    if not torch.isfinite(logits).all():
        raise UserError("expected finite logits, the model gave NaN or infinity: its weights are broken; load others")
    return logits
