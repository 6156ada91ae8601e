"""Losses of photos with several labels, slowly and plainly."""

from __future__ import annotations

import math

from plain.losses import plain_terms


def plain_binary_cross_entropy(logits, target, temperature):
    """Negative log-likelihood of all answers, photo by photo and class by class."""
    total = 0.0
    for row, truth in zip(logits.tolist(), target.tolist(), strict=True):
        for value, there in zip(row, truth, strict=True):
            likely = 1 / (1 + math.exp(-value / temperature))
            total -= math.log(likely if there else 1 - likely)
    return total / len(logits)


def plain_relevance_terms(map_of, present, masks):
    """Equations 1 and 2 for each class that is there and has a mask; the mean over them, then over photos."""
    background = foreground = 0.0
    for index, truth in enumerate(present.tolist()):
        classes = [label for label, there in enumerate(truth) if there]
        each = [
            plain_terms(map_of(index, label), masks[index, slot if len(masks[index]) > 1 else 0])
            for slot, label in enumerate(classes)
            if bool(masks[index, slot if len(masks[index]) > 1 else 0].any())
        ]
        for one, other in each:
            background += one / len(each) / len(present)
            foreground += other / len(each) / len(present)
    return background, foreground
