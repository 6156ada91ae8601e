"""Position embeddings as DINO's own code interpolates them for photos of other sizes than its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

_MORE = 0.1  # patches that DINO adds to both sides before it divides, so that rounding never loses one


@contextmanager
def dino_positions(network: nn.Module) -> Iterator[None]:
    """Let a timm model of any size interpolate its positions as DINO does: bicubic, by (new + 0.1) / old.

    timm scales by new / old instead, and smooths where it shrinks. The difference of the two is added to the patches.
    Nothing changes for a network without such positions.
    """
    table: Any = getattr(network, "pos_embed", None)
    if not isinstance(table, Tensor) or not getattr(network, "dynamic_img_size", False):
        yield
        return
    embed: Any = getattr(network, "patch_embed")  # noqa: B009 - for mypy, a module's attributes are tensors or modules
    rows, columns = embed.grid_size
    prefix = table.shape[1] - rows * columns

    def shift(_: nn.Module, __: object, patches: Tensor) -> Tensor:
        size = (patches.shape[1], patches.shape[2])
        if size == (rows, columns):
            return patches
        scales = tuple((new + _MORE) / old for new, old in zip(size, (rows, columns), strict=True))
        square = table[:, prefix:].reshape(1, rows, columns, -1).permute(0, 3, 1, 2)
        wanted = F.interpolate(square, scale_factor=scales, mode="bicubic").permute(0, 2, 3, 1)
        usual = resample_abs_pos_embed(table, list(size), [rows, columns], prefix)[:, prefix:]
        return patches + wanted - usual.reshape(wanted.shape)

    hook = embed.register_forward_hook(shift)
    try:
        yield
    finally:
        hook.remove()
