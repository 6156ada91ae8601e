"""Sanity of relevance maps: they must change when a model's weights are randomised, and methods may agree or not."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor, nn

from robustvit.common.intervals import Interval, mean_interval
from robustvit.common.progress import track
from robustvit.explanation.maps import relevance
from robustvit.models.classifier import Classifier
from robustvit.models.families import find_layout
from robustvit.models.parameters import head_layers

_SIDE = 16  # maps are compared on this many rows and columns: neighbouring pixels of a map are one patch


@dataclass(frozen=True)
class Sanity:
    """How maps change with the weights, and how methods agree; all are rank correlations in [-1, 1], means over photos.

    Attributes:
        photos: number of photos.
        stages: the parts randomised, each in addition to those before: the head, then blocks from last to first.
        similarity: by method, for each stage, of the map to the map of the unchanged model; 1: it did not change.
        agreement: by pair of methods, of their maps for the unchanged model.
    """

    photos: int
    stages: list[str]
    similarity: dict[str, list[Interval]]
    agreement: dict[str, Interval]

    def __str__(self) -> str:
        lines = [
            f"  {'method':<16}similarity to its map with random weights, from the head down (1: unchanged), "
            f"{self.photos} photos"
        ]
        for name, found in self.similarity.items():
            shown = [(0, self.stages[0]), (len(found) // 2, f"down to {self.stages[len(found) // 2]}"), (-1, "all")]
            cells = ", ".join(f"{found[at].mean:+.2f} ({words})" for at, words in shown)
            lines.append(f"  {name:<16}{cells}")
        if self.agreement:
            lines.append("  agreement of two methods (rank correlation of their maps):")
            lines += [f"  {pair:<32}{found.mean:+.2f}" for pair, found in self.agreement.items()]
        return "\n".join(lines)


def measure_sanity(model: Classifier, images: Tensor, methods: Sequence[str], seed: int = 0) -> Sanity:
    """Randomise a copy of a model from the head down and compare its maps (Adebayo et al., NeurIPS 2018: the cascading
    model parameter randomisation test).

    The values of each weight tensor are shuffled, so that their distribution stays. The class explained is the
    prediction of the unchanged model, which must be of a family with blocks and supported by the methods.
    """
    with torch.no_grad():
        target = model(images).argmax(dim=1)
    before = {name: _maps(model, images, target, name) for name in methods}
    changed = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    similarity: dict[str, list[Interval]] = {name: [] for name in methods}
    stages = _stages(changed)
    for _, modules in track(stages, "randomising weights"):
        for module in modules:
            _shuffle(module, generator)
        for name, maps in before.items():
            similarity[name].append(mean_interval(_correlate(maps, _maps(changed, images, target, name))))
    agreement = {
        f"{one}, {other}": mean_interval(_correlate(before[one], before[other]))
        for one, other in combinations(before, 2)
    }
    return Sanity(len(images), [name for name, _ in stages], similarity, agreement)


def _stages(model: Classifier) -> list[tuple[str, list[nn.Module]]]:
    blocks = list(find_layout(model).blocks)
    names = [(f"block {number}", [block]) for number, block in enumerate(blocks, start=1)]
    return [("head", list(head_layers(model))), *reversed(names)]


@torch.no_grad()
def _shuffle(module: nn.Module, generator: torch.Generator) -> None:
    """Shuffle the values of each of a module's weights."""
    for weight in module.parameters():
        order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
        weight.copy_(weight.flatten()[order].view_as(weight))


@torch.no_grad()
def _maps(model: Classifier, images: Tensor, target: Tensor, method: str) -> np.ndarray:
    """Return maps on a coarse grid, ``(B, rows * columns)``."""
    maps = relevance(model, images, target, method=method)
    return F.adaptive_avg_pool2d(maps.float(), _SIDE).flatten(1).cpu().double().numpy()


def _correlate(ones: np.ndarray, others: np.ndarray) -> list[float]:
    """Return Spearman's rank correlation of two maps of each photo; 0 if a map is constant."""
    found = []
    for one, other in zip(ones, others, strict=True):
        constant = np.ptp(one) == 0 or np.ptp(other) == 0
        found.append(0.0 if constant else float(spearmanr(one, other).statistic))
    return found
