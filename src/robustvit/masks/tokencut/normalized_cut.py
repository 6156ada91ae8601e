"""Normalised cut of an image's patches into an object and the rest (Shi and Malik 2000; TokenCut, Wang et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import get_args

import numpy as np
import scipy.linalg
from scipy import ndimage
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh
from threadpoolctl import ThreadpoolController

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.options import Side

_WEAK_EDGE = 1e-5
# A residual of this share of the gap between eigenvalues rotates the vector by about as much.
_ACCURACY = 1e-4
# Below this many patches the dense solver is as fast.
_SMALL = 150


@dataclass(frozen=True)
class Cut:
    """Result of a normalised cut.

    Attributes:
        mask: ``(rows, columns)`` bool, one connected component.
        eigenvector: ``(rows, columns)``, of the second-smallest eigenvalue of ``(D - A) v = lambda D v``, with
            ``v D v = 1``; its sign is arbitrary. Zero on patches that were left out.
        seed: row and column of its largest absolute value on the object's side.
        eigenvalues: the second- and third-smallest, in [0, 1]: near 0 two parts are separate, near 1 nothing is.
        cut: normalised cut of the mask against the rest, in [0, 2]: the shares of both sides' edges that cross over.
        turned: the object is on the other side than TokenCut's rule says; see ``normalized_cut``.
    """

    mask: np.ndarray
    eigenvector: np.ndarray
    seed: tuple[int, int]
    eigenvalues: tuple[float, float]
    cut: float
    turned: bool


def similar_patches(features: np.ndarray, threshold: float = 0.2) -> np.ndarray:
    """Return which patches are similar, ``(N, N)`` bool: those of ``(N, C)`` whose cosine is above tau, in [-1, 1)."""
    features = np.asarray(features, dtype=np.float32)
    if not np.isfinite(features).all():
        raise UserError("expected finite features, got NaN or infinite ones: the model does not suit this image")
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit @ unit.T > threshold


def normalized_cut(
    similar: np.ndarray, grid: tuple[int, int], *, side: Side = "seed", allowed: np.ndarray | None = None
) -> Cut | None:
    """Cut an image's patches in two and choose the part with the object.

    Edges weigh 1 between similar patches and 1e-5 otherwise. The parts are the patches above and below the mean of the
    second eigenvector; the object's part is the one that holds the seed, the patch of the largest absolute value, and
    the object is the seed's connected component (4 neighbours).

    Args:
        similar: ``(N, N)`` bool, symmetric; see ``similar_patches``.
        grid: rows and columns, N in all.
        side: ``seed``, TokenCut's rule above; or ``corners``: if that part holds three or four of the frame's corners
            and the other part at most one, the other part is the object's, and the seed is its extreme patch.
        allowed: ``(N,)`` bool: patches that may belong to an object; the others are left out of the graph.

    Returns:
        The cut; None if all patches are similar, or none are: nothing can be cut.
    """
    expect_one_of("side", side, get_args(Side))
    inside = np.flatnonzero(np.ones(len(similar), bool) if allowed is None else allowed)
    edges = similar if allowed is None else similar[np.ix_(inside, inside)]
    if len(inside) < 3 or edges.all() or np.count_nonzero(edges) <= len(inside):
        return None
    vectors, values = second_eigenvectors(edges)
    vector = np.zeros(len(similar))
    vector[inside] = vectors[0]
    above = vectors[0] > vectors[0].mean()
    part, other = np.zeros((2, len(similar)), bool)
    part[inside], other[inside] = above, ~above
    seed = _extreme(np.abs(vector))
    if not part[seed]:
        part, other = other, part
    if turned := side == "corners" and _corners(part, grid) >= 3 and _corners(other, grid) <= 1:
        part, seed = other, _extreme(np.where(other, np.abs(vector), 0))
    labels, _ = ndimage.label(part.reshape(grid))
    mask = labels == labels.flat[seed]
    return Cut(
        mask,
        vector.reshape(grid),
        (seed // grid[1], seed % grid[1]),
        (values[0], values[1]),
        _cut_value(edges, mask.ravel()[inside]),
        turned,
    )


def second_eigenvectors(similar: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """Second- and third-smallest eigenvalues of ``(D - A) v = lambda D v``, and the vectors of both.

    With ``M = D^-1/2 A D^-1/2`` and ``v = D^-1/2 u`` these are the largest eigenpairs of ``M`` but one, whose vector
    ``u ~ sqrt(d)`` is known and taken out. Lanczos iterations in single precision find them; a residual too large for
    the gap between them sends the matrix to the dense solver.

    Args:
        similar: ``(N, N)`` bool, symmetric.

    Returns:
        ``(2, N)`` with ``v D v = 1`` each, and the two eigenvalues.
    """
    count = np.count_nonzero(similar, axis=1)
    degrees = count + _WEAK_EDGE * (len(similar) - count)
    found = _lanczos(similar, degrees) if len(similar) > _SMALL else None
    values, vectors = _dense(similar, degrees) if found is None else found
    vectors = vectors / np.sqrt(degrees)
    lengths = np.sqrt((vectors**2 * degrees).sum(axis=1, keepdims=True))
    second, third = (1 - values).clip(0).tolist()
    return vectors / lengths, (second, third)


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


def _lanczos(similar: np.ndarray, degrees: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The two largest eigenvalues of M but one, and their vectors ``(2, N)``; None where they are not exact enough."""
    edges = similar.astype(np.float32)
    scale = (1 / np.sqrt(degrees)).astype(np.float32)
    first = np.sqrt(degrees / degrees.sum()).astype(np.float32)

    def multiply(x: np.ndarray) -> np.ndarray:
        y = scale * x.ravel()
        return scale * ((1 - _WEAK_EDGE) * (edges @ y) + _WEAK_EDGE * y.sum()) - first * (first @ x.ravel())

    size = len(degrees)
    # A fixed start: the same image gives the same mask.
    start = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    operator = LinearOperator((size, size), matvec=multiply, dtype=np.float32)
    try:
        with _threads().limit(limits=1):  # products this small take longer to share than to do
            values, vectors = eigsh(operator, k=2, which="LA", v0=start, ncv=8, tol=1e-6)
    except ArpackError:
        return None
    second = vectors[:, 1]
    residual = np.linalg.norm(multiply(second) - values[1] * second)
    if residual > _ACCURACY * (values[1] - values[0]):
        return None
    return values[::-1].astype(float), vectors.T[::-1].astype(float)


def _dense(similar: np.ndarray, degrees: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same, by the dense solver."""
    scale = 1 / np.sqrt(degrees)
    matrix = np.where(similar, 1.0, _WEAK_EDGE) * scale[:, None] * scale
    values, vectors = scipy.linalg.eigh(matrix, subset_by_index=[len(degrees) - 3, len(degrees) - 2])
    return values[::-1], vectors.T[::-1]


def _extreme(sizes: np.ndarray) -> int:
    """The first of the largest: patches with the same neighbours tie, and rounding must not choose."""
    return int(np.flatnonzero(sizes >= (1 - 1e-5) * sizes.max())[0])


def _corners(part: np.ndarray, grid: tuple[int, int]) -> int:
    return int(part.reshape(grid)[[0, 0, -1, -1], [0, -1, 0, -1]].sum())


def _cut_value(similar: np.ndarray, mask: np.ndarray) -> float:
    """``cut(S, T) / assoc(S) + cut(S, T) / assoc(T)`` over the strong edges."""
    into = np.count_nonzero(similar[mask], axis=0)
    inner, across = int(into[mask].sum()), int(into[~mask].sum())
    outer = int(np.count_nonzero(similar)) - inner - 2 * across
    return across / max(1, inner + across) + across / max(1, outer + across)
