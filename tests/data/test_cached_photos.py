"""Photos that are kept in memory are those that are read, bit for bit."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.drawn_photos import write_photos
from helpers.small_models import SIZE
from robustvit.data.cached_photos import CachedPhotos
from robustvit.data.datasets import MaskedPhotos
from robustvit.data.find_photos import find_photos
from robustvit.models.classifier import Preprocessing


@pytest.mark.parametrize("room", [None, 0, 40_000])
def test_photos_that_are_read_once_are_the_same_in_every_epoch(tmp_path, room):
    """Bit for bit: also an object that the crop misses, one so thin that it is thickened, and photos without room."""
    photos = find_photos(*write_photos(tmp_path, 2))[:4]
    thin = np.zeros((SIZE, SIZE), np.uint8)
    thin[1, 1] = 255
    Image.fromarray(thin).save(photos[0].mask)
    preprocessing = Preprocessing((SIZE // 2, SIZE // 2))
    plain = MaskedPhotos(photos, preprocessing, augment=True)
    cached = CachedPhotos(photos, preprocessing, augment=True, room=room)
    for seed in (0, 1, 2, 0):
        plain.seed = cached.seed = seed
        for one, other in zip(map(plain.__getitem__, range(4)), map(cached.__getitem__, range(4)), strict=True):
            assert one.keys() == other.keys()
            assert all(torch.equal(torch.as_tensor(one[name]), torch.as_tensor(other[name])) for name in one)
    again = copy.deepcopy(cached)  # empty, as in another process
    again.seed = 1
    plain.seed = 1
    assert torch.equal(again[2]["image"], plain[2]["image"])
