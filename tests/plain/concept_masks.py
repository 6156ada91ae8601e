"""Concept masks pixel by pixel, in float64."""

from __future__ import annotations


def plain_concept_mask(heats, weights):
    """The weighted mean of heat at every pixel, moved and scaled so that the least is 0 and the greatest 1."""
    rows, columns = len(heats[0]), len(heats[0][0])
    mean = [[0.0] * columns for _ in range(rows)]
    for i in range(rows):
        for j in range(columns):
            for heat, weight in zip(heats, weights, strict=True):
                mean[i][j] += float(weight) * float(heat[i][j])
            mean[i][j] /= sum(map(float, weights))
    low, high = min(map(min, mean)), max(map(max, mean))
    if low == high:
        return mean
    return [[(value - low) / (high - low) for value in row] for row in mean]
