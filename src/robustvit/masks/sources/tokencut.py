"""TokenCut on the features of any vision transformer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from robustvit.common.errors import UserError
from robustvit.common.options import Feature
from robustvit.explanation.features import check_features, patch_features
from robustvit.masks.options import MaskOptions
from robustvit.masks.sources.source import MaskSource, resize_photo
from robustvit.masks.tokencut.cut import CutJob, CutSettings, cut_objects
from robustvit.models.classifier import Classifier

# The cut needs matrices of patches by patches: 2 GB at this many (a photo of 5 megapixels at patches of 16).
_MOST_PATCHES = 20_000


class TokenCut(MaskSource):
    """The objects that TokenCut cuts out of a backbone's features; see ``cut_objects`` and ``patch_features``.

    Args:
        model: the backbone; photos of any shape where it takes them, else resized to its own input size.
        feature: see ``patch_features``; as are ``block`` and ``centre``.
        size: longer side in pixels at which the backbone sees a photo, in whole patches; None for the photo's size.
        settings: see ``CutSettings``. Under the paper's protocol photos are resized with Pillow's Lanczos filter, one
            at a time, and positions are interpolated as DINO's code does.
    """

    name = "tokencut"
    finish = staticmethod(cut_objects)  # its module does not import PyTorch: worker processes start quickly

    def __init__(
        self,
        model: Classifier,
        *,
        feature: Feature = "keys",
        block: int | None = None,
        centre: bool = False,
        size: int | None = 480,
        settings: CutSettings | None = None,
    ) -> None:
        layout = check_features(model, feature, block)
        if size is not None and size < 2 * max(layout.patch_size):
            raise UserError(f"expected --size of at least two patches of {layout.patch_size} pixels, got {size}")
        self.network = self.model = model
        self.size, self.patch = size, layout.patch_size
        self.options: dict[str, Any] = {"feature": feature, "block": block, "centre": centre}
        self.settings = settings or CutSettings()
        self.any_size = bool(getattr(model.network, "dynamic_img_size", False))

    @classmethod
    def of(cls, options: MaskOptions, model: Classifier) -> TokenCut:
        """Return TokenCut with the options of ``masks``; options left open are those for DINO."""
        threshold = 0.2 if options.threshold is None else options.threshold
        return cls(
            model,
            feature=options.feature or "keys",
            block=options.block,
            centre=bool(options.centre),
            size=options.size,
            settings=CutSettings(threshold, options.side, options.objects, options.refine, options.protocol),
        )

    def prepare(self, photos: Sequence[Image.Image], paths: Sequence[Path]) -> list[CutJob]:
        """Features, for photos of one size at a time; see ``MaskSource``."""
        together = 1 if self._paper else len(photos)
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        features: dict[int, np.ndarray] = {}
        problems: dict[int, str] = {}
        for index, photo in enumerate(photos):
            size = self.input_size(photo)
            if (patches := size[0] * size[1] // (self.patch[0] * self.patch[1])) > _MOST_PATCHES:
                features[index] = np.empty((0, 0, 0), np.float32)
                problems[index] = f"too large to cut, more than {_MOST_PATCHES:,} patches ({patches:,})"
            else:
                groups[size].append(index)
        for size, members in groups.items():
            for start in range(0, len(members), together):
                batch = members[start : start + together]
                features |= dict(zip(batch, self._features([photos[index] for index in batch], size), strict=True))
        return [
            CutJob(features[i], np.asarray(photo), self.settings, problems.get(i, "")) for i, photo in enumerate(photos)
        ]

    def _features(self, photos: Sequence[Image.Image], size: tuple[int, int]) -> np.ndarray:
        filter_ = "lanczos" if self._paper else "bicubic"
        images = torch.stack([resize_photo(photo, size, filter_) for photo in photos]).to(self.model.mean.device)
        with dino_positions(self.model.network) if self._paper else nullcontext():
            return patch_features(self.model, images, **self.options).cpu().numpy()

    @property
    def _paper(self) -> bool:
        return self.settings.protocol == "paper"

    def input_size(self, photo: Image.Image) -> tuple[int, int]:
        """Height and width at which the backbone sees a photo."""
        if not self.any_size:
            return self.model.preprocessing.input_size
        scale = 1.0 if self.size is None else self.size / max(photo.size)
        sides = zip((photo.height, photo.width), self.patch, strict=True)
        height, width = (max(1, round(side * scale / patch)) * patch for side, patch in sides)
        return height, width


_MORE = 0.1  # patches that DINO adds before dividing, against rounding down


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
