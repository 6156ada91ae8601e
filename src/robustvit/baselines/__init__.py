"""Baselines: what relevance guidance is compared with, as guidance methods of the same finetuning loop."""

from __future__ import annotations

from robustvit.baselines.cross_entropy import CrossEntropy
from robustvit.baselines.input_gradients import GradMask, RightReasons
from robustvit.baselines.last_layer import DeepFeatureReweighting, LastLayer
from robustvit.baselines.swap_augmentation import SwapAugmentation

__all__ = ["CrossEntropy", "DeepFeatureReweighting", "GradMask", "LastLayer", "RightReasons", "SwapAugmentation"]
