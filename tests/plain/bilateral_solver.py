"""The bilateral solver, slowly and plainly."""

from __future__ import annotations

import numpy as np


def slow_solution(image, target, spatial=16, luma=16, chroma=8, smoothness=256, confidence=0.999):
    """Dense matrices over a dictionary of cells, solved exactly: what conjugate gradients head for."""
    red, green, blue = (image[..., i].astype(float) for i in range(3))
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    u = -0.168736 * red - 0.331264 * green + 0.5 * blue + 128
    v = 0.5 * red - 0.418688 * green - 0.081312 * blue + 128
    cells, cell_of = {}, np.zeros(target.shape, int)
    for row in range(target.shape[0]):
        for column in range(target.shape[1]):
            at = (row, column)
            place = (column / spatial, row / spatial, y[at] / luma, u[at] / chroma, v[at] / chroma)
            cell_of[at] = cells.setdefault(tuple(int(x) for x in place), len(cells))
    count = len(cells)
    blur = 10 * np.eye(count)
    for place, index in cells.items():
        for axis in range(5):
            for step in (-1, 1):
                beside = cells.get(tuple(x + step * (i == axis) for i, x in enumerate(place)))
                if beside is not None:
                    blur[index, beside] += 1
    pixels = np.bincount(cell_of.ravel(), minlength=count).astype(float)
    scale = np.ones(count)
    for _ in range(10):
        scale = np.sqrt(scale * pixels / (blur @ scale))
    smooth = np.diag(scale * (blur @ scale)) - np.diag(scale) @ blur @ np.diag(scale)
    wanted = confidence * np.bincount(cell_of.ravel(), weights=target.ravel().astype(float), minlength=count)
    solution = np.linalg.solve(smoothness * smooth + np.diag(confidence * pixels), wanted)
    return solution[cell_of]
