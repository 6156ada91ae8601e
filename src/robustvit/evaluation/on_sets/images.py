"""The images of a benchmark set as a model's inputs, from disk or from the hub; broken images are reported."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from robustvit.common.errors import UserError
from robustvit.common.options import Protocol
from robustvit.data.datasets import evaluation_transform
from robustvit.data.read_photos import read_photo
from robustvit.evaluation.sets import Benchmark, Sample
from robustvit.models.classifier import Preprocessing

Streamed = Iterator[tuple[str, Image.Image, Sample]]


@dataclass(frozen=True)
class Item:
    """An image: its name, its sample, and its tensor ``(3, H, W)`` in [0, 1] or the problem with it."""

    name: str
    sample: Sample
    image: Tensor | None
    problem: str = ""


def collate_items(items: Sequence[Item]) -> tuple[Tensor | None, list[tuple[str, Sample]], list[str]]:
    """Return images ``(B, 3, H, W)`` or None, their names and samples, and a line for each image that is broken."""
    images = [item.image for item in items if item.image is not None]
    whole = [(item.name, item.sample) for item in items if item.image is not None]
    return torch.stack(images) if images else None, whole, [item.problem for item in items if item.image is None]


def name_of(sample: Sample, root: Path) -> str:
    """Return a name for an image that does not depend on the location of the set."""
    return Path(os.path.relpath(sample.image, root)).as_posix()


def name_in_stream(number: int, name: str) -> str:
    """Return a unique name for an image of a stream; names on the hub may repeat."""
    return f"{number:07d} {name}"


class Preparation:
    """The transform of a set's photos to ``(3, H, W)`` in [0, 1]: the set's preparation, then the model's.

    It can be pickled for processes that read images, unlike a ``Benchmark``.
    """

    def __init__(self, benchmark: Benchmark, protocol: Protocol, preprocessing: Preprocessing) -> None:
        self._of_set, self._protocol = benchmark.prepare, protocol
        self._of_model = evaluation_transform(preprocessing)

    def __call__(self, photo: Image.Image) -> Tensor:
        if self._of_set is not None:
            photo = self._of_set(photo, self._protocol)
        return self._of_model(photo).as_subclass(Tensor)


class DiskImages(Dataset):
    """Images of a set on disk, as ``Item``; their names are relative to ``root``."""

    def __init__(self, samples: Sequence[Sample], root: Path, prepare: Callable[[Image.Image], Tensor]) -> None:
        self.samples, self.root, self.prepare = list(samples), root, prepare

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Item:
        sample = self.samples[index]
        name = name_of(sample, self.root)
        try:
            return Item(name, sample, self.prepare(read_photo(sample.image, pixels=sample.pixels)))
        except UserError as error:
            return Item(name, sample, None, str(error))


class StreamedImages(IterableDataset):
    """Images of a set streamed from the hub, as ``Item``; their position in the set makes their names unique.

    Names that are ``done`` are skipped; ``share`` is the rank of this process and the number of processes.
    """

    def __init__(
        self, images: Streamed, done: Collection[str], share: tuple[int, int], prepare: Callable[[Image.Image], Tensor]
    ) -> None:
        self.images, self.done, self.share, self.prepare = images, done, share, prepare

    def __iter__(self) -> Iterator[Item]:
        rank, processes = self.share
        for number, (name, photo, sample) in enumerate(self.images):
            unique = name_in_stream(number, name)
            if number % processes == rank and unique not in self.done:
                yield Item(unique, sample, self.prepare(photo))
