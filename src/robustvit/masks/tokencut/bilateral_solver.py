"""The bilateral solver: align a coarse mask with the edges of its photo (Barron and Poole 2016)."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import LinearOperator, cg

from robustvit.common.errors import UserError

# BT.601: weights of R, G and B, and an offset.
_YUV = ((0.299, 0.587, 0.114, 0), (-0.168736, -0.331264, 0.5, 128), (0.5, -0.418688, -0.081312, 128))
_BISTOCHASTIC_STEPS = 10
_OWN = 2.0 * 5  # weight of a cell in its blur: 2 along each of 5 axes
_LEAST_DIAGONAL = 1e-5


class _Grid:
    """The cells of a 5-D grid over position and colour that a photo's pixels fall into.

    Attributes:
        cell: ``(H * W,)`` index of each pixel's cell.
        count: ``(V,)`` pixels in each cell.
        neighbours: sparse ``(V, V)``: 1 where two cells are next to each other along one axis.
    """

    def __init__(self, image: np.ndarray, spatial: float, luma: float, chroma: float) -> None:
        height, width = image.shape[:2]
        sides = zip(_YUV, (luma, chroma, chroma), strict=True)
        colours, colour, beside = _compact([(_channel(image, *row) / side).astype(np.int32) for row, side in sides])
        # Cells by colour, then row, then column, with a free row and column round each colour's frame.
        lines, line = int((height - 1) / spatial) + 2, int((width - 1) / spatial) + 2
        place = ((np.arange(height) / spatial).astype(np.int32)[:, None] + 1) * line
        place = place + (np.arange(width) / spatial).astype(np.int32)
        plane = (lines + 1) * line
        code = colour * plane
        code += place.ravel()
        taken = np.zeros(colours * plane, bool)
        taken[code] = True
        occupied = np.flatnonzero(taken)
        index = np.zeros(len(taken), np.int32)
        index[occupied] = np.arange(len(occupied))
        self.cell = index[code]
        self.count = np.bincount(self.cell, minlength=len(occupied)).astype(float)
        own = occupied // plane
        steps = [np.full(len(occupied), 1), np.full(len(occupied), line)]
        steps += [np.where(other[own] >= 0, (other[own] - own) * plane, 0) for other in beside]
        self.neighbours = _neighbours(taken, index, occupied, steps)

    def splat(self, values: np.ndarray) -> np.ndarray:
        """Sum of the pixels in each cell."""
        return np.bincount(self.cell, weights=values, minlength=len(self.count))

    def blur(self, x: np.ndarray) -> np.ndarray:
        """Sum of each cell, weighted, and its neighbours."""
        return _OWN * x + self.neighbours @ x

    def bistochastic_scale(self) -> np.ndarray:
        """Factors of the cells that make the sums of the blur those of the pixels."""
        scale = np.ones(len(self.count))
        for _ in range(_BISTOCHASTIC_STEPS):
            scale = np.sqrt(scale * self.count / self.blur(scale))
        return scale


def _channel(image: np.ndarray, red: float, green: float, blue: float, zero: float) -> np.ndarray:
    """One of Y, U and V for each pixel.

    Not as a matrix product: greys lie on cell borders, and must fall into the same cell on every machine.
    """
    found = red * image[..., 0].ravel()
    found += green * image[..., 1].ravel()
    found += blue * image[..., 2].ravel()
    return found if zero == 0 else found + zero


def _compact(steps: list[np.ndarray]) -> tuple[int, np.ndarray, list[np.ndarray]]:
    """The cells of colour that occur: how many, each pixel's, and for each axis the next one of each, or -1."""
    lows = [int(step.min()) for step in steps]
    sizes = [int(step.max()) - low + 2 for step, low in zip(steps, lows, strict=True)]  # a free one: nothing wraps
    strides = [1, sizes[0], sizes[0] * sizes[1]]
    code = np.zeros_like(steps[0])
    for step, low, stride in zip(steps, lows, strides, strict=True):
        code += stride * (step - low)
    index = np.full(strides[2] * (sizes[2] + 1), -1, np.int32)
    index[code] = 0
    found = np.flatnonzero(index == 0)
    index[found] = np.arange(len(found))
    return len(found), index[code], [index[found + stride] for stride in strides]


def _neighbours(taken: np.ndarray, index: np.ndarray, occupied: np.ndarray, steps: list[np.ndarray]) -> csr_array:
    there = [np.flatnonzero((step != 0) & taken[np.minimum(occupied + step, len(taken) - 1)]) for step in steps]
    rows = np.concatenate(there)
    columns = np.concatenate([index[(occupied + step)[found]] for found, step in zip(there, steps, strict=True)])
    half = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(occupied),) * 2)
    return half + half.T


def bilateral_solver(
    image: np.ndarray,
    target: np.ndarray,
    *,
    spatial: float = 16,
    luma: float = 16,
    chroma: float = 8,
    smoothness: float = 256,
    confidence: float = 0.999,
    iterations: int = 25,
) -> np.ndarray:
    """Return the smoothest map on a photo's bilateral grid that stays near a target (Barron and Poole 2016, eq. 1).

    Args:
        image: ``(H, W, 3)`` uint8, RGB.
        target: ``(H, W)`` in [0, 1].
        spatial: side of a cell in pixels.
        luma: side of a cell in steps of Y.
        chroma: side of a cell in steps of U and V.
        smoothness: lambda.
        confidence: in the target, in (0, 1], the same everywhere.
        iterations: most iterations of conjugate gradients.

    Returns:
        ``(H, W)``; about [0, 1], but not clipped.
    """
    if image.shape[:2] != target.shape or image.ndim != 3 or image.shape[2] != 3:
        raise UserError(f"expected an RGB image (H, W, 3) and a target (H, W), got {image.shape} and {target.shape}")
    grid = _Grid(image, spatial, luma, chroma)
    scale = grid.bistochastic_scale()
    mass = scale * grid.blur(scale)
    weight = confidence * grid.count
    wanted = confidence * grid.splat(target.ravel().astype(float))
    diagonal = smoothness * (mass - _OWN * scale**2) + weight

    def multiply(x: np.ndarray) -> np.ndarray:
        return smoothness * (mass * x - scale * grid.blur(scale * x)) + weight * x

    system = LinearOperator((len(scale), len(scale)), matvec=multiply, dtype=float)
    precondition = diags_array(1 / np.maximum(diagonal, _LEAST_DIAGONAL))
    solution, _ = cg(system, wanted, x0=wanted / weight, rtol=1e-5, atol=0, maxiter=iterations, M=precondition)
    return solution[grid.cell].reshape(target.shape)


def refined_mask(soft: np.ndarray) -> np.ndarray:
    """Return the mask in a solution: above 0.5, holes filled, the second-largest part (the background counts too).

    It is ``(H, W)`` bool, and empty where nothing, or everything, is above 0.5.
    """
    labels, parts = ndimage.label(ndimage.binary_fill_holes(soft > 0.5))
    sizes = np.bincount(labels.ravel(), minlength=parts + 1)
    if parts == 0 or sizes[0] == 0:
        return np.zeros(soft.shape, bool)
    return labels == np.argsort(sizes, kind="stable")[-2]  # of equal parts the last, as TokenCut's code sorts them
