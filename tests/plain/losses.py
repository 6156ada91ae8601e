"""The losses, slowly and plainly."""

from __future__ import annotations

import math


def plain_terms(maps, masks):
    background = foreground = 0.0
    for r, s in zip(maps.flatten().tolist(), masks.flatten().tolist(), strict=True):
        background += (r * (1 - s)) ** 2
        foreground += (r * s - s) ** 2
    return background / maps.numel(), foreground / maps.numel()


def plain_cross_entropy(logits, target, temperature):
    total = 0.0
    for row, label in zip(logits.tolist(), target.tolist(), strict=True):
        exponentials = [math.exp(value / temperature) for value in row]
        total -= math.log(exponentials[label] / sum(exponentials))
    return total / len(logits)
