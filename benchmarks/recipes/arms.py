"""What is compared, as options of finetune."""

from __future__ import annotations

from typing import Any

_LONG: dict[str, Any] = {"lr": 1e-5, "epochs": 20, "lr_schedule": "cosine", "train": "all"}

ARMS: dict[str, dict[str, Any]] = {
    "swaps": {"guidance": "swap-augmentation", **_LONG},
    "swaps + relevance": {"guidance": "swap-relevance", **_LONG},
    "own, to now": {"guidance": "robustvit", "train": "attention", "lr": 1e-4, "epochs": 5},
    "cross-entropy": {"guidance": "cross-entropy", **_LONG},
    "cross-entropy + relevance": {
        "guidance": "robustvit", "classification": "label", "classification_weight": 1.0, "relevance_weight": 8.0,
        **_LONG,
    },
    "swaps + relevance, equal norms": {"guidance": "equal-norms", **_LONG},
    "swaps, step": {"guidance": "swap-augmentation", **_LONG, "lr_schedule": "step"},
    "swaps, 5 epochs": {"guidance": "swap-augmentation", **_LONG, "epochs": 5},
    "swaps, 50 epochs": {"guidance": "swap-augmentation", **_LONG, "epochs": 50},
    "swaps + relevance 0.8": {"guidance": "swap-relevance", **_LONG, "relevance_weight": 0.8},
    "swaps + relevance 30": {"guidance": "swap-relevance", **_LONG, "relevance_weight": 30.0},
    "swaps + relevance, 7 epochs": {"guidance": "swap-relevance", **_LONG, "epochs": 7},
    "swaps + relevance 60": {"guidance": "swap-relevance", **_LONG, "relevance_weight": 60.0},
    "swaps + relevance, second order": {"guidance": "swap-relevance", **_LONG, "second_order": True},
    "swaps + relevance, AttnLRP": {"guidance": "swap-relevance", **_LONG, "relevance": "attnlrp"},
    "energy": {
        "guidance": "energy", "classification": "label", "classification_weight": 1.0, "relevance_weight": 1.0, **_LONG,
    },
}  # fmt: skip
"""Arms by name; every one is also measured at the share of its weights that validation photos choose (WiSE-FT)."""
TITLES = {
    "swaps": "background swaps",
    "swaps + relevance": "background swaps and relevance loss (`--recipe recommended`)",
    "swaps + relevance, equal norms": "background swaps and relevance loss weighted to the classification's gradient",
    "swaps + relevance 60": "background swaps and relevance loss at a weight of 60",
    "swaps + relevance, 7 epochs": "background swaps and relevance loss, 7 epochs in the place of 20",
    "own, to now": "relevance loss, `--train attention` (`own` until November 2026)",
    "cross-entropy": "cross-entropy alone",
    "cross-entropy + relevance": "cross-entropy and relevance loss",
}
FIRST = ("swaps", "swaps + relevance", "own, to now", "cross-entropy", "cross-entropy + relevance")
