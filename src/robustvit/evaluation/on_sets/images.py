"""The images of a benchmark set as a model's inputs, from disk or from the hub; broken images are reported."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True)
class Batch:
    """Images ``(B, 3, H, W)`` in [0, 1] with names and samples, and a line for each broken image."""

    images: Tensor | None
    names: list[str]
    samples: list[Sample]
    problems: list[str]


def batch_of(items: Sequence[Item]) -> Batch:
    """Collate items; of broken images only their lines are kept."""
    whole = [item for item in items if item.image is not None]
    images = torch.stack([item.image for item in whole if item.image is not None]) if whole else None
    problems = [item.problem for item in items if item.image is None]
    return Batch(images, [item.name for item in whole], [item.sample for item in whole], problems)


def name_of(sample: Sample, root: Path) -> str:
    """Return a name for an image that does not depend on the location of the set."""
    return Path(os.path.relpath(sample.image, root)).as_posix()


def name_in_stream(number: int, name: str) -> str:
    """Return a unique name for an image of a stream; names on the hub may repeat."""
    return f"{number:07d} {name}"


_Prepare = Callable[[Image.Image], Tensor]


def preparation(
    benchmark: Benchmark, protocol: Protocol, preprocessing: Preprocessing
) -> Callable[[Image.Image], Tensor]:
    """Return the transform of a set's photos to ``(3, H, W)`` in [0, 1]: the set's preparation, then the model's."""
    transform = evaluation_transform(preprocessing)

    def prepare(photo: Image.Image) -> Tensor:
        if benchmark.prepare is not None:
            photo = benchmark.prepare(photo, protocol)
        return transform(photo).as_subclass(Tensor)

    return prepare


class DiskImages(Dataset):
    """Images of a set on disk, as ``Item``.

    Args:
        samples: of the images.
        root: folder that their names are relative to.
        benchmark: the set, whose preparation comes first.
        protocol: see ``Benchmark``.
        preprocessing: of the model.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        root: Path,
        benchmark: Benchmark,
        protocol: Protocol,
        preprocessing: Preprocessing,
    ) -> None:
        self.samples, self.root = list(samples), root
        self.benchmark, self.protocol, self.preprocessing = benchmark, protocol, preprocessing
        self._prepare: _Prepare | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_prepare": None}  # a nested function cannot be pickled for a worker

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Item:
        sample = self.samples[index]
        self._prepare = self._prepare or preparation(self.benchmark, self.protocol, self.preprocessing)
        try:
            return Item(
                name_of(sample, self.root), sample, self._prepare(read_photo(sample.image, pixels=sample.pixels))
            )
        except UserError as error:
            return Item(name_of(sample, self.root), sample, None, str(error))


class StreamedImages(IterableDataset):
    """Images of a set streamed from the hub, as ``Item``; their position in the set makes their names unique.

    Args:
        images: see ``stream``.
        done: names to skip.
        share: rank of this process, and number of processes.
        benchmark: see ``DiskImages``, also for ``protocol`` and ``preprocessing``.
    """

    def __init__(
        self,
        images: Streamed,
        done: Collection[str],
        share: tuple[int, int],
        benchmark: Benchmark,
        protocol: Protocol,
        preprocessing: Preprocessing,
    ) -> None:
        self.images, self.done, self.share = images, done, share
        self._prepare = preparation(benchmark, protocol, preprocessing)

    def __iter__(self) -> Iterator[Item]:
        rank, processes = self.share
        for number, (name, photo, sample) in enumerate(self.images):
            unique = name_in_stream(number, name)
            if number % processes == rank and unique not in self.done:
                yield Item(unique, sample, self._prepare(photo))
