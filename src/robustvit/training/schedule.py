"""How long and how fast a run trains, and which epoch it keeps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

from robustvit.common.errors import UserError, expect_at_least, expect_one_of, expect_points
from robustvit.common.options import GroupMethod, LrSchedule, MetricName, Select, Train, WeightInterpolation


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train, and which epoch to keep: the options of these names of ``finetune``.

    With ``train="attention"`` there is no weight decay. ``select="robust"`` keeps the epoch with the best outcome
    compared with the original, then one within ``max_drop``, then the one with the highest mixed-other accuracy. The
    ``cosine`` schedule is that of Loshchilov and Hutter (SGDR, ICLR 2017), without restarts. ``metric`` chooses the
    ``robust`` epoch and the share of interpolated weights.
    """

    lr: float = 2e-6
    epochs: int = 50
    batch_size: int = 8
    weight_decay: float = 1e-4
    train: Train = "all"
    select: Select = "loss"
    lr_schedule: LrSchedule = "step"
    weight_interpolation: WeightInterpolation = 1.0
    max_drop: float = 2.0
    metric: MetricName = "accuracy"
    seed: int = 0
    workers: int = 0
    save_every: float = 10.0
    group_method: GroupMethod | None = None
    group_step: float = 0.01
    jtt_epochs: int = 5
    jtt_times: int = 20

    def __post_init__(self) -> None:
        if not 0 < self.lr < math.inf:
            raise UserError(f"expected --lr above 0, got {self.lr}")
        expect_at_least(1, epochs=self.epochs, batch_size=self.batch_size)
        expect_at_least(0, weight_decay=self.weight_decay, seed=self.seed, workers=self.workers)
        expect_points(max_drop=self.max_drop)
        expect_at_least(0, save_every=self.save_every)
        expect_at_least(1, jtt_epochs=self.jtt_epochs, jtt_times=self.jtt_times)
        if not 0 < self.group_step < math.inf:
            raise UserError(f"expected --group-step above 0, got {self.group_step}")
        expect_one_of("--train", self.train, get_args(Train))
        expect_one_of("--select", self.select, get_args(Select))
        expect_one_of("--metric", self.metric, get_args(MetricName))
        expect_one_of("--lr-schedule", self.lr_schedule, get_args(LrSchedule))
        if self.train == "adapter" and self.weight_interpolation != 1:
            raise UserError(
                "expected --weight-interpolation 1 with --train adapter: weights between two adapters are not between "
                f"two models, got {self.weight_interpolation}"
            )
        if self.weight_interpolation != "auto" and not (
            isinstance(self.weight_interpolation, (int, float)) and 0 < self.weight_interpolation <= 1
        ):
            raise UserError(
                f"expected --weight-interpolation auto, or above 0 and at most 1, got {self.weight_interpolation}"
            )

    @property
    def chooses_by_swaps(self) -> bool:
        """Whether accuracy on swapped backgrounds chooses the weights that are kept."""
        return self.select == "robust" or self.weight_interpolation == "auto"

    def check_swaps(self, swaps: int) -> None:
        """Refuse to choose by swapped backgrounds where none are measured."""
        if self.chooses_by_swaps and swaps < 1:
            option = "--select robust" if self.select == "robust" else "--weight-interpolation auto"
            raise UserError(f"expected --swaps of at least 1 for {option}, got {swaps}")

    def rate(self, epoch: int, done: float = 0.0) -> float:
        """Return the learning rate in an epoch, counted from 0, after a share of its steps in [0, 1)."""
        if self.lr_schedule == "cosine":
            return self.lr * (1 + math.cos(math.pi * (epoch + done) / self.epochs)) / 2
        return self.lr * 0.85 ** (epoch // 2)
