"""Backgrounds that no photo of a run has: photos of the user, or textures that come with the package."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from torch import Tensor

from robustvit.common.errors import UserError
from robustvit.data.datasets import MaskedPhotos, SwappedPhotos, evaluation_transform
from robustvit.data.embedded.textures import EXTRA_TEXTURES, TEXTURES, crop_texture
from robustvit.data.find_photos import find_photos
from robustvit.data.read_photos import read_photo
from robustvit.models.classifier import Preprocessing

SHIPPED = "textures"
NO_BACKGROUNDS = "none"
_CROPS = 3  # of each texture photo


class Backgrounds:
    """Images to paste objects on, ``(3, H, W)`` in [0, 1], preprocessed for a model: textures or photos of a folder."""

    def __init__(self, source: str, preprocessing: Preprocessing) -> None:
        self.source, self.preprocessing = source, preprocessing
        names = [*TEXTURES, *EXTRA_TEXTURES]
        self.items: Sequence[str | Path] = (
            [name for name in names for _ in range(_CROPS)] if source == SHIPPED else _list_photos(source)
        )
        self._kept = lru_cache(maxsize=64)(self._read)  # each is used by several photos

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Tensor:
        return self._kept(index)

    def _read(self, index: int) -> Tensor:
        item = self.items[index]
        if isinstance(item, Path):
            image = read_photo(item)
        else:
            image = crop_texture(item, np.random.default_rng([index]), max(self.preprocessing.resized))
        return evaluation_transform(self.preprocessing)(image).as_subclass(Tensor)


def check_backgrounds(source: str, photos: Sequence[Path] = ()) -> None:
    """Refuse a folder without photos, and one with photos of the run: their backgrounds would be known."""
    if source in (SHIPPED, NO_BACKGROUNDS):
        return
    known = {photo.resolve() for photo in photos}
    if both := [path for path in _list_photos(source) if path.resolve() in known]:
        raise UserError(
            f"expected --backgrounds {source} to hold other photos than --images, but {both[0].name} is in both: name "
            f"a folder of photos without your objects, or --backgrounds {SHIPPED}"
        )


def given_backgrounds(source: str) -> str | None:
    """Return the source of backgrounds; None for ``none``."""
    return None if source == NO_BACKGROUNDS else source


def _list_photos(folder: str) -> list[Path]:
    if not Path(folder).is_dir():
        raise UserError(
            f"expected --backgrounds {SHIPPED}, {NO_BACKGROUNDS} or a folder of photos, found no folder {folder}"
        )
    return [photo.image for photo in find_photos(folder, labelled=False)]


def deal_backgrounds(photos: int, backgrounds: int, *, swaps: int, seed: int) -> list[list[int]]:
    """Return the indices of ``swaps`` shuffled backgrounds for each photo; all are used equally often, if possible."""
    rng = np.random.default_rng([seed, photos, backgrounds])
    rounds = -(-photos * swaps // backgrounds)
    dealt = [at for _ in range(rounds) for at in rng.permutation(backgrounds).tolist()]
    return [dealt[photo * swaps : (photo + 1) * swaps] for photo in range(photos)]


class PastedPhotos(SwappedPhotos):
    """Photos with the object pasted on other backgrounds; ``pairs`` are indices of a photo and of a background."""

    def __init__(self, photos: MaskedPhotos, backgrounds: Backgrounds, pairs: Sequence[tuple[int, int]]) -> None:
        super().__init__(photos, pairs)
        self.backgrounds = backgrounds

    def _background(self, donor: int) -> Tensor:
        return self.backgrounds[donor]
