"""How a model is measured on photos, and its answers to them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from robustvit.common.devices import Share
from robustvit.common.errors import UserError
from robustvit.common.progress import track
from robustvit.common.signals import reading_processes
from robustvit.data.backgrounds import Backgrounds, PastedPhotos, deal_backgrounds
from robustvit.data.datasets import MaskedPhotos, SwappedPhotos
from robustvit.data.swaps import Swap
from robustvit.evaluation.asking import Asking
from robustvit.evaluation.map_scores import MAP_SCORES, MapScores
from robustvit.evaluation.photo_measures import UNSEEN, Swapped

FIRST_PHOTOS = 50  # of what may be stopped early: nothing is reported early, so this adds no false alarms
RUN_SWAPS: tuple[Swap, ...] = ("mixed-same", "mixed-other")  # mixed-rand reuses these predictions
Answer = tuple[int, float, dict[int, float]]  # class, its probability, and scores of classes


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

    @abstractmethod
    def read(self, logits: Tensor) -> list[Answer]:
        """Return the answer that each row of logits is."""

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
        return self.share.joined(mine)

    def answer_swaps(
        self, photos: MaskedPhotos, plan: Sequence[tuple[str, int, int]], able: Sequence[int]
    ) -> list[tuple[int, Swapped]]:
        """Return the answers to photos on other backgrounds, each with the photo's index.

        Args:
            photos: all photos.
            plan: kind, photo, and the one that lends its background.
            able: photos that are put on the backgrounds of ``unseen`` too, if the settings ask for them.
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


def spread(indices: Sequence[int], most: int) -> list[int]:
    """Return exactly ``most`` of the indices, or all if there are fewer: always the same ones, drawn by chance.

    Even steps would take one class only of photos whose classes alternate.
    """
    drawn = np.random.default_rng(0).permutation(len(indices))[:most]
    return [indices[at] for at in sorted(drawn.tolist())]


def expect_finite(logits: Tensor) -> Tensor:
    """Return logits; refuse NaN and infinity."""
    if not torch.isfinite(logits).all():
        raise UserError("expected finite logits, the model gave NaN or infinity: its weights are broken; load others")
    return logits
