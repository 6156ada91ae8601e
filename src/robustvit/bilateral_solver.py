"""The bilateral solver: a coarse mask drawn to the edges of its photo (Barron and Poole 2016)."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import cg

from robustvit.errors import UserError

__all__ = ["bilateral_solver", "refined_mask"]

# BT.601, from RGB; U and V are offset by 128.
_YUV = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
_BISTOCHASTIC_STEPS = 10
_LEAST_DIAGONAL = 1e-5


class _Grid:
    """The cells of a 5-D grid over place and colour that a photo's pixels fall into.

    Attributes:
        cell: ``(H * W,)`` index of each pixel's cell.
        count: ``(V,)`` pixels in each cell.
        neighbours: sparse ``(V, V)``: 1 where two cells are next to each other along one axis.
    """

    def __init__(self, image: np.ndarray, spatial: float, luma: float, chroma: float) -> None:
        height, width = image.shape[:2]
        yuv = image.reshape(-1, 3) @ _YUV.T
        rows, columns = np.divmod(np.arange(height * width), width)
        axes = [columns / spatial, rows / spatial, yuv[:, 0] / luma, *((yuv[:, 1:].T + 128) / chroma)]
        places = [axis.astype(np.int64) for axis in axes]
        places = [place - place.min() + 1 for place in places]  # a free cell on either side: no neighbour wraps round
        sizes = [int(place.max()) + 2 for place in places]
        strides = np.cumprod([1, *sizes[:-1]])
        code = sum(stride * place for stride, place in zip(strides, places, strict=True))
        table = np.zeros(int(np.prod(sizes)), np.int32)
        table[code] = 1
        occupied = np.flatnonzero(table)
        table[:] = -1
        table[occupied] = np.arange(len(occupied))
        self.cell = table[code]
        self.count = np.bincount(self.cell, minlength=len(occupied)).astype(float)
        self.neighbours = _neighbours(table, occupied, strides)

    def splat(self, values: np.ndarray) -> np.ndarray:
        """Sum of the pixels in each cell."""
        return np.bincount(self.cell, weights=values, minlength=len(self.count))


def _neighbours(table: np.ndarray, occupied: np.ndarray, strides: np.ndarray) -> csr_array:
    rows, columns = [], []
    for stride in strides:
        beside = table[occupied + stride]
        there = np.flatnonzero(beside >= 0)
        rows += [there, beside[there]]
        columns += [beside[there], there]
    at = np.concatenate(rows), np.concatenate(columns)
    return csr_array((np.ones(len(at[0])), at), shape=(len(occupied),) * 2)


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
    """The smoothest map on a photo's bilateral grid that stays near a target (Barron and Poole 2016, eq. 1).

    Args:
        image: ``(H, W, 3)`` uint8, RGB.
        target: ``(H, W)`` in [0, 1].
        spatial: side of a cell in pixels.
        luma: side of a cell in steps of Y.
        chroma: side of a cell in steps of U and V.
        smoothness: lambda.
        confidence: in the target, in (0, 1], the same everywhere.
        iterations: of the conjugate gradients, at most.

    Returns:
        ``(H, W)``; about [0, 1], but not clipped.

    Raises:
        UserError: image and target of different sizes.
    """
    if image.shape[:2] != target.shape or image.ndim != 3 or image.shape[2] != 3:
        raise UserError(f"expected an RGB image (H, W, 3) and a target (H, W), got {image.shape} and {target.shape}")
    grid = _Grid(image, spatial, luma, chroma)
    blur = grid.neighbours + diags_array(np.full(len(grid.count), 2.0 * 5))
    scale = np.ones(len(grid.count))
    for _ in range(_BISTOCHASTIC_STEPS):
        scale = np.sqrt(scale * grid.count / (blur @ scale))
    mass = scale * (blur @ scale)
    weight = confidence * grid.count
    wanted = confidence * grid.splat(target.ravel().astype(float))
    smooth = diags_array(mass) - diags_array(scale) @ blur @ diags_array(scale)
    system = (smoothness * smooth + diags_array(weight)).tocsr()
    precondition = diags_array(1 / np.maximum(system.diagonal(), _LEAST_DIAGONAL))
    solution, _ = cg(system, wanted, x0=wanted / weight, rtol=1e-5, atol=0, maxiter=iterations, M=precondition)
    return solution[grid.cell].reshape(target.shape)


def refined_mask(soft: np.ndarray) -> np.ndarray:
    """The mask in a solver's solution: above 0.5, holes filled, the second-largest part, the background being one.

    Args:
        soft: ``(H, W)``.

    Returns:
        ``(H, W)`` bool; empty where nothing, or everything, is above 0.5.
    """
    labels, parts = ndimage.label(ndimage.binary_fill_holes(soft > 0.5))
    sizes = np.bincount(labels.ravel(), minlength=parts + 1)
    if parts == 0 or sizes[0] == 0:
        return np.zeros(soft.shape, bool)
    return labels == np.argsort(-sizes, kind="stable")[1]
