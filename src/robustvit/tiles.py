"""The backward pass of one attention call, tile by tile, so that its maps stay in a CPU's cache.

Shape legend: B images, H heads, N queries, M keys, D channels of a head. A tile is some whole images, or some rows of
one image's maps; inside it, images and heads are one axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Explained", "TiledBackward"]

# A tile's map: what stays in a CPU's cache, or keeps a GPU busy. Matrix products want this many rows, all the same.
_CPU_BYTES, _GPU_BYTES, _ROWS = 2**20, 2**29, 128
# The maps of a call are kept from the first backward pass to the second if they are smaller than this.
KEPT_BYTES = 2**26


@dataclass
class Explained:
    """What the backward pass of an explanation leaves behind for that of the loss.

    Attributes:
        relevance: ``(B, N, M)``, ``mean over heads of max(0, dA * A)``.
        output_gradient: ``(B, H, N, D)``, gradient of the explained logit in the attention's output.
        maps: ``A`` and ``max(0, dA * A)``, ``(B * H, N, M)`` each, if they were small enough to keep.
    """

    relevance: Tensor
    output_gradient: Tensor
    maps: tuple[Tensor, Tensor] | None


class TiledBackward:
    """Gradients of one attention call, and its relevance.

    Every tile is worked on in the same few buffers: on a CPU they stay in its cache, and no memory is asked for anew.

    Args:
        scale: of the scores.
        query: ``(B, H, N, D)``.
        key: ``(B, H, M, D)``.
        value: ``(B, H, M, D)``.
        bias: added to the scores, broadcast to ``(B, H, N, M)``, or None.
        output_gradient: ``(B, H, N, D)``.
        pending: gradients ``(B, N, M)`` that relevances received, with the explanations that made them.
    """

    def __init__(
        self,
        scale: float,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bias: Tensor | None,
        output_gradient: Tensor,
        pending: Sequence[tuple[Tensor, Explained]],
    ) -> None:
        self.scale, self.inputs, self.bias = scale, (query, key, value), bias
        self.output_gradient, self.pending = output_gradient, pending
        self.exact = torch.promote_types(query.dtype, torch.float32)
        (self.batch, self.heads, self.rows, _), self.keys = query.shape, key.shape[2]
        self.images, self.height = self._tile_size()
        self.views = [self._by_tile(x) for x in (query, key, value, output_gradient)]
        self.explained: Explained | None = None
        kept = [e.maps for _, e in pending]
        self.known = kept[0][0] if kept and kept[0] is not None else None

    def run(self, explain: bool, inputs: bool, bias_too: bool) -> tuple[Tensor | None, ...]:
        """Return gradients of query, key, value and bias, where they are wanted; ``explain`` fills ``explained``."""
        size = self.images * self.heads * self.height * self.keys
        buffers = [self.output_gradient.new_empty(size, dtype=self.exact) for _ in range(3)]
        found = [x.new_empty(x.shape, dtype=self.exact).flatten(0, 1) for x in self.inputs]
        parts = [x.split(self.images * self.heads) for x in found]
        bias_gradient = torch.zeros_like(self.bias, dtype=self.exact) if bias_too and self.bias is not None else None
        if explain:
            self.explained = self._new_explained()
        for index in range(-(-self.batch // self.images)):
            for top in range(0, self.rows, self.height):
                rows = slice(top, top + self.height)
                attention, gradient = self._maps(index, rows, buffers)
                if inputs:
                    gradient.addcmul_(attention, gradient.sum(dim=-1, keepdim=True), value=-1)  # softmax's backward
                    self._add_inputs(index, rows, attention, gradient, [part[index] for part in parts])
                if bias_gradient is not None:
                    part = bias_gradient[self._of_bias(index, rows)]
                    part.add_(self._by_head(gradient).sum_to_size(part.shape))
        if not inputs:
            return None, None, None, None
        gradients = [g.view(x.shape).to(x.dtype) for g, x in zip(found, self.inputs, strict=True)]
        if bias_gradient is None or self.bias is None:
            return *gradients, None
        return *gradients, bias_gradient.to(self.bias.dtype)

    def _tile_size(self) -> tuple[int, int]:
        """Images and rows of a tile."""
        a_row = self.heads * self.keys * self.exact.itemsize
        budget = (_CPU_BYTES if self.output_gradient.device.type == "cpu" else _GPU_BYTES) // a_row
        images = min(self.batch, max(1, budget // self.rows))
        return images, self.rows if images > 1 else min(self.rows, max(_ROWS, budget))

    def _new_explained(self) -> Explained:
        new = self.output_gradient.new_empty
        relevance = new(self.batch, self.rows, self.keys, dtype=self.exact)
        shape = (self.batch * self.heads, self.rows, self.keys)
        small = shape[0] * shape[1] * shape[2] * self.exact.itemsize <= KEPT_BYTES
        maps = (new(shape, dtype=self.exact), new(shape, dtype=self.exact)) if small else None
        return Explained(relevance, self.output_gradient, maps)

    def _by_tile(self, x: Tensor) -> Sequence[Tensor]:
        """``(B, H, ...)`` as one ``(images * H, ...)`` tensor per tile; without a copy where that is one image."""
        return x.unbind(0) if self.images == 1 else [part.flatten(0, 1) for part in x.split(self.images)]

    def _cut(self, x: Tensor, rows: slice) -> Tensor:
        return x if self.height == self.rows else x[:, rows]

    def _of_maps(self, x: Tensor, index: int, rows: slice) -> Tensor:
        step = self.images * self.heads
        return self._cut(x[index * step : (index + 1) * step], rows)

    def _maps(self, index: int, rows: slice, buffers: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """A tile's attention, and the gradient of the attention times the attention, ``(images * H, rows, M)``."""
        value = self.views[2][index].mT
        output_gradient = self._cut(self.views[3][index], rows)
        shape = (*output_gradient.shape[:2], self.keys)
        attention, gradient, spare = (b[: shape[0] * shape[1] * shape[2]].view(shape) for b in buffers)
        attention = self._attention(index, rows, attention, spare)
        product(output_gradient, value, gradient).mul_(attention)
        images = slice(index * self.images, (index + 1) * self.images)
        for relevance_gradient, explained in self.pending:
            if explained.maps is not None:
                positive = self._of_maps(explained.maps[1], index, rows)
            else:
                explained_gradient = explained.output_gradient[images, :, rows].flatten(0, 1)
                positive = product(explained_gradient, value, spare).clamp_(min=0).mul_(attention)
            part = relevance_gradient[images, None, rows]
            self._by_head(gradient).addcmul_(self._by_head(positive), part, value=1 / self.heads)
        if self.explained is not None:
            maps = self.explained.maps
            positive = torch.clamp(gradient, min=0, out=spare if maps is None else self._of_maps(maps[1], index, rows))
            torch.mean(self._by_head(positive), dim=1, out=self.explained.relevance[images, rows])
        return attention, gradient

    def _attention(self, index: int, rows: slice, out: Tensor, spare: Tensor) -> Tensor:
        if self.known is not None:
            return self._of_maps(self.known, index, rows)
        if self.explained is not None and self.explained.maps is not None:
            out = self._of_maps(self.explained.maps[0], index, rows)
        scores = product(self._cut(self.views[0][index], rows), self.views[1][index].mT, spare, self.scale)
        if self.bias is not None:
            self._by_head(scores).add_(self.bias[self._of_bias(index, rows)])
        return torch.softmax(scores, -1, out=out)

    def _add_inputs(self, index: int, rows: slice, attention: Tensor, scores: Tensor, found: list[Tensor]) -> None:
        """Write a tile's share of the gradients of query, key and value."""
        beta = 0 if rows.start == 0 else 1
        query, output_gradient = (self._cut(self.views[i][index], rows) for i in (0, 3))
        attention, scores = attention.to(query.dtype), scores.to(query.dtype)
        product(scores, self.views[1][index], self._cut(found[0], rows), self.scale)
        product(scores.mT, query, found[1], self.scale, beta)
        product(attention.mT, output_gradient, found[2], 1, beta)

    def _by_head(self, x: Tensor) -> Tensor:
        return x.unflatten(0, (-1, self.heads))

    def _of_bias(self, index: int, rows: slice) -> tuple[slice, ...]:
        """Where a tile lies in the bias, which broadcasts over images, heads or rows."""
        assert self.bias is not None
        place = [slice(None)] * self.bias.ndim
        if self.bias.ndim == 4 and self.bias.shape[0] > 1:
            place[0] = slice(index * self.images, (index + 1) * self.images)
        if self.bias.shape[-2] > 1:
            place[-2] = rows
        return tuple(place)


def product(a: Tensor, b: Tensor, out: Tensor, alpha: float = 1, beta: float = 0) -> Tensor:
    """``out = beta * out + alpha * a @ b``, multiplied in the precision of the factors."""
    if a.dtype == out.dtype:
        return out.baddbmm_(a, b, beta=beta, alpha=alpha)
    result = torch.bmm(a, b).to(out.dtype).mul_(alpha)
    return out.copy_(result) if beta == 0 else out.add_(result)
