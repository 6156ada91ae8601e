"""Attention in plain matrix products, tile by tile, so that its maps stay in a CPU's cache.

Shape legend: B images, H heads, N queries, M keys, D channels of a head. A tile is some whole images, or some rows of
one image's maps; inside it, images and heads are one axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# A tile's map: what stays in a CPU's cache, or keeps a GPU busy. Matrix products want this many rows, all the same.
_CPU_BYTES, _GPU_BYTES, _ROWS = 2**20, 2**29, 128
# A call's attention is kept between passes if it is smaller than this.
KEPT_BYTES = 2**26


@dataclass(frozen=True)
class Tile:
    """Some images, and some rows of their maps."""

    index: int
    images: slice
    rows: slice


class Call:
    """The inputs of an attention call, as in ``Interception``, and their tiles."""

    def __init__(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float) -> None:
        self.query, self.key, self.value, self.bias, self.scale = query, key, value, bias, scale
        self.exact = torch.promote_types(query.dtype, torch.float32)
        (self.batch, self.heads, self.rows, _), self.keys = query.shape, key.shape[2]
        row = self.heads * self.keys * self.exact.itemsize
        self.small = row * self.rows * self.batch <= KEPT_BYTES
        budget = (_CPU_BYTES if query.device.type == "cpu" else _GPU_BYTES) // row
        self.images = min(self.batch, max(1, budget // self.rows))
        self.height = self.rows if self.images > 1 else min(self.rows, max(_ROWS, budget))
        self.queries, self.keyed, self.values = (self.by_tile(x) for x in (query, key, value))

    def tiles(self) -> Iterator[Tile]:
        """Yield all tiles, images first."""
        for index in range(-(-self.batch // self.images)):
            images = slice(index * self.images, (index + 1) * self.images)
            for top in range(0, self.rows, self.height):
                yield Tile(index, images, slice(top, top + self.height))

    def by_tile(self, x: Tensor) -> Sequence[Tensor]:
        """Split ``(B, H, ...)`` into a tensor ``(images * H, ...)`` per tile, without a copy if a tile is one image."""
        return x.unbind(0) if self.images == 1 else [part.flatten(0, 1) for part in x.split(self.images)]

    def buffers(self, count: int) -> list[Tensor]:
        """Allocate memory for the maps of one tile, reused for all tiles."""
        size = self.images * self.heads * self.height * self.keys
        return [self.query.new_empty(size, dtype=self.exact) for _ in range(count)]

    def maps(self) -> Tensor:
        """Allocate memory for all maps of the call, ``(B * H, N, M)``."""
        return self.query.new_empty(self.batch * self.heads, self.rows, self.keys, dtype=self.exact)

    def gradients(self, *tensors: Tensor) -> list[Tensor]:
        """Allocate memory for the gradients of tensors ``(B, H, ...)``, ``(B * H, ...)`` each."""
        return [x.new_empty(x.shape, dtype=self.exact).flatten(0, 1) for x in tensors]

    def cut(self, x: Tensor, tile: Tile) -> Tensor:
        """Return a tile's rows of ``(images * H, N, ...)``."""
        return x if self.height == self.rows else x[:, tile.rows]

    def part(self, x: Tensor, tile: Tile) -> Tensor:
        """Return a tile's images of ``(B * H, ...)``."""
        step = self.images * self.heads
        return x[tile.index * step : (tile.index + 1) * step]

    def view(self, buffer: Tensor, tile: Tile) -> Tensor:
        """View a buffer in the shape of a tile's maps, ``(images * H, rows, M)``."""
        images = min(self.images, self.batch - tile.images.start)
        rows = min(self.height, self.rows - tile.rows.start)
        return buffer[: images * self.heads * rows * self.keys].view(images * self.heads, rows, self.keys)

    def by_head(self, x: Tensor) -> Tensor:
        """Reshape ``(images * H, ...)`` to ``(images, H, ...)``."""
        return x.unflatten(0, (-1, self.heads))

    def bias_part(self, bias: Tensor, tile: Tile) -> Tensor:
        """Return a tile's part of the bias, which broadcasts over images, heads or rows."""
        place = [slice(None)] * bias.ndim
        if bias.ndim == 4 and bias.shape[0] > 1:
            place[0] = tile.images
        if bias.shape[-2] > 1:
            place[-2] = tile.rows
        return bias[tuple(place)]

    def bias_gradient(self, wanted: bool) -> Tensor | None:
        """Allocate memory for the gradient of the bias, in at least float32, if wanted."""
        return torch.zeros_like(self.bias, dtype=self.exact) if wanted and self.bias is not None else None

    def add_to_bias(self, found: Tensor | None, tile: Tile, scores: Tensor) -> None:
        """Add a tile's share, the gradient of its scores, to the gradient of the bias."""
        if found is not None:
            part = self.bias_part(found, tile)
            part.add_(self.by_head(scores).sum_to_size(part.shape))

    @staticmethod
    def restore(found: Tensor | None, like: Tensor | None) -> Tensor | None:
        """Return a gradient in the shape and precision of its tensor."""
        return None if found is None or like is None else found.view(like.shape).to(like.dtype)

    def attention(self, tile: Tile, known: Tensor | None, out: Tensor, spare: Tensor) -> Tensor:
        """Return a tile's attention: part of ``known``, or computed into ``out``."""
        if known is not None:
            return self.cut(self.part(known, tile), tile)
        query, key = self.cut(self.queries[tile.index], tile), self.keyed[tile.index]
        scores = product(query, key.mT, spare, self.scale)
        if self.bias is not None:
            self.by_head(scores).add_(self.bias_part(self.bias, tile))
        return torch.softmax(scores, -1, out=out)


def softmax_backward_(weighted: Tensor, attention: Tensor) -> Tensor:
    """Return the gradient of the scores, in place of ``weighted``, the attention times its gradient."""
    return weighted.addcmul_(attention, weighted.sum(dim=-1, keepdim=True), value=-1)


def product(a: Tensor, b: Tensor, out: Tensor, alpha: float = 1, beta: float = 0) -> Tensor:
    """Compute ``out = beta * out + alpha * a @ b``, multiplied in the precision of ``b``."""
    a = a.to(b.dtype)
    if b.dtype == out.dtype:
        return out.baddbmm_(a, b, beta=beta, alpha=alpha)
    result = torch.bmm(a, b).to(out.dtype).mul_(alpha)
    return out.copy_(result) if beta == 0 else out.add_(result)
