"""Photos with segmentations: ImageNet-Segmentation's file, or the user's photos and masks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from robustvit.common.errors import UserError
from robustvit.common.extras import import_extra
from robustvit.common.options import MaskFormat
from robustvit.data.datasets import read_pair
from robustvit.data.photo import Photo

if TYPE_CHECKING:
    import h5py

MAT_FILE = "gtsegs_ijcv.mat"
MAT_IMAGES = 4276
_SOURCE = "http://calvin-vision.net/bigstuff/proj-imagenet/data/gtsegs_ijcv.mat"
_IMAGES, _MASKS = "/value/img", "/value/gt"


def find_mat(root: str | Path) -> Path:
    """Find ImageNet-Segmentation's file: ``root`` itself, or in it or in its folder ``imagenet-segmentation``."""
    root = Path(root)
    for path in (root, root / MAT_FILE, root / "imagenet-segmentation" / MAT_FILE):
        if path.is_file():
            return path
    raise UserError(
        f"expected {MAT_FILE} in {root} or {root / 'imagenet-segmentation'}, found none: get it from {_SOURCE} "
        f"({MAT_IMAGES:,} images; Guillaumin, Küttel and Ferrari 2014, for research)"
    )


class MatFile:
    """ImageNet-Segmentation's file ``gtsegs_ijcv.mat``, read image by image.

    It is HDF5 (MATLAB 7.3): ``/value/img`` and ``/value/gt`` hold references, with MATLAB's order of axes. Each
    process opens the file when it reads its first image.

    Args:
        path: the file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._opened: tuple[int, h5py.File] | None = None
        with self._open() as file:
            counts = [file[name].size if name in file else 0 for name in (_IMAGES, _MASKS)]
        if counts[0] != counts[1] or counts[0] == 0:
            raise UserError(
                f"expected references to images and masks under {_IMAGES} and {_MASKS} in {path}, found {counts[0]} "
                f"and {counts[1]}: get the file again from {_SOURCE}"
            )
        self._count = int(counts[0])

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Image.Image, Image.Image]:
        """Return the image, RGB, and its mask, ``L`` with 1 on the object."""
        try:
            pixels, mask = self._array(_IMAGES, index), self._array(_MASKS, index)
            image = Image.fromarray(np.ascontiguousarray(pixels.T)).convert("RGB")
            labels = Image.fromarray(np.ascontiguousarray((mask.T > 0).astype(np.uint8)))
        except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(
                f"cannot read image {index} of {self.path} ({error}): get the file again from {_SOURCE}"
            ) from error
        if image.size != labels.size:
            raise UserError(f"image {index} of {self.path} is {image.size}, its mask {labels.size}: get the file again")
        return image, labels

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}

    def _open(self) -> h5py.File:
        h5py = import_extra("h5py", "sets", f"the HDF5 file {self.path}")
        try:
            return h5py.File(self.path, "r")
        except OSError as error:
            raise UserError(f"cannot read {self.path} ({error}): get the file again from {_SOURCE}") from error

    def _array(self, name: str, index: int) -> np.ndarray:
        """Return the array behind a reference; a mask's reference points to a cell of references."""
        import h5py

        if self._opened is None or self._opened[0] != os.getpid():  # a handle must not be shared with a forked process
            self._opened = (os.getpid(), self._open())
        file = self._opened[1]
        values = file[file[name][np.unravel_index(index, file[name].shape)]]
        while h5py.check_ref_dtype(values.dtype) is not None:
            values = file[values[(0,) * values.ndim]]
        return np.asarray(values)


class SegmentedPhotos(Dataset):
    """Images and binary masks, both resized to a model's input size without keeping the aspect ratio.

    Each item holds ``image`` ``(3, H, W)`` in [0, 1], ``mask`` ``(1, H, W)`` bool and ``index``.

    Args:
        source: photos with masks, or ImageNet-Segmentation's file.
        input_size: height and width.
        mask_format: of photos' masks, see ``read_mask``; soft masks are cut at one half.
    """

    def __init__(
        self, source: Sequence[Photo] | MatFile, input_size: tuple[int, int], *, mask_format: MaskFormat = "auto"
    ) -> None:
        self.source, self.input_size, self.mask_format = source, list(input_size), mask_format
        self._scaled = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])

    def __len__(self) -> int:
        return len(self.source)

    def name_of(self, index: int) -> str:
        """Return the name of an image for messages."""
        if isinstance(self.source, MatFile):
            return f"image {index} of {self.source.path}"
        return str(self.source[index].image)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, mask = self._pair(index)
        # Pillow's resizing, as in the paper's transforms: antialiased for photos, nearest for masks.
        squashed = F.resize(image, self.input_size, InterpolationMode.BILINEAR)
        labels = F.resize(mask, self.input_size, InterpolationMode.NEAREST)
        return {
            "image": self._scaled(squashed).as_subclass(torch.Tensor),
            "mask": torch.from_numpy(np.array(labels) > 0)[None],
            "index": index,
        }

    def _pair(self, index: int) -> tuple[Image.Image, Image.Image]:
        if isinstance(self.source, MatFile):
            return self.source[index]
        image, mask = read_pair(self.source[index], self.mask_format)
        return image, Image.fromarray((mask[0].numpy() > 0.5).astype(np.uint8))
