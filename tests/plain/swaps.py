"""Backgrounds without an object, slowly and plainly."""

from __future__ import annotations


def slowly_tiled(image, mask):
    """The definition of only-bg-t, pixel by pixel: inside the box stands the largest strip beside it, repeated."""
    height, width = mask.shape[1:]
    inside = [(y, x) for y in range(height) for x in range(width) if mask[0, y, x] > 0.5]
    if not inside:
        return image.clone()
    top, bottom = min(y for y, _ in inside), max(y for y, _ in inside) + 1
    left, right = min(x for _, x in inside), max(x for _, x in inside) + 1
    strips = [  # rows and columns above, below, left and right of the box
        (0, top, 0, width),
        (bottom, height, 0, width),
        (0, height, 0, left),
        (0, height, right, width),
    ]
    areas = [(y1 - y0) * (x1 - x0) for y0, y1, x0, x1 in strips]
    y0, y1, x0, x1 = strips[areas.index(max(areas))]
    out = image.clone()
    for y in range(top, bottom):
        for x in range(left, right):
            out[:, y, x] = image[:, y0 + (y - top) % (y1 - y0), x0 + (x - left) % (x1 - x0)]
    return out
