"""Means of a guided loss and its parts over the photos of an epoch, which several processes may share."""

from __future__ import annotations

import math
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor

from robustvit.guidance.method import GuidedLoss


class EpochMeans:
    """Sums of what the photos of an epoch came to in this process.

    Attributes:
        values: sums over photos, by name.
        count: how many photos.
    """

    def __init__(self) -> None:
        self.values: dict[str, Tensor] = {}
        self.count = 0

    def add(self, guided: GuidedLoss, count: int, **more: Tensor) -> None:
        """Count the means of a batch of ``count`` photos."""
        if not count:
            return
        self.count += count
        for name, value in {"loss": guided.loss.detach(), **guided.parts, **more}.items():
            value = value.cpu() if value.device.type == "mps" else value  # which has no double
            self.values[name] = self.values.get(name, 0.0) + value.double() * count

    @property
    def loss(self) -> float:
        """Mean loss so far in this process, NaN where there is none."""
        return float(self.values["loss"]) / self.count if self.count else math.nan

    def state_dict(self) -> dict[str, Any]:
        """Sums and count as numbers."""
        return {"values": {name: float(value) for name, value in self.values.items()}, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` gave."""
        self.values = {name: torch.tensor(value, dtype=torch.float64) for name, value in state["values"].items()}
        self.count = state["count"]

    def result(self, prefix: str) -> dict[str, float | None]:
        """Means over the photos of all processes, each counted once; a loss of None where there was no photo."""
        shares = gather_object([self.state_dict()])
        count = sum(share["count"] for share in shares)
        if not count:
            return {f"{prefix}_loss": None}
        names = dict.fromkeys(name for share in shares for name in share["values"])
        sums = {name: sum(share["values"].get(name, 0.0) for share in shares) for name in names}
        return {f"{prefix}_{name}": value / count for name, value in sums.items()}
