"""The images of a benchmark set as a model's inputs, from disk or from the hub; broken ones are named."""

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
from robustvit.data.batches import evaluation_transform
from robustvit.data.photos import read_photo
from robustvit.evaluation.sets import Benchmark, Sample
from robustvit.models.classifier import Preprocessing

Streamed = Iterator[tuple[str, Image.Image, Sample]]


@dataclass(frozen=True)
class Item:
    """One image: its name, what is right, and its tensor ``(3, H, W)`` in [0, 1] or what is wrong with it."""

    name: str
    sample: Sample
    image: Tensor | None
    problem: str = ""


@dataclass(frozen=True)
class Batch:
    """Images ``(B, 3, H, W)`` in [0, 1] with their names and samples, and a line for each broken one."""

    images: Tensor | None
    names: list[str]
    samples: list[Sample]
    problems: list[str]


def batch_of(items: Sequence[Item]) -> Batch:
    """Put items together; the broken ones only leave their lines."""
    whole = [item for item in items if item.image is not None]
    images = torch.stack([item.image for item in whole if item.image is not None]) if whole else None
    problems = [item.problem for item in items if item.image is None]
    return Batch(images, [item.name for item in whole], [item.sample for item in whole], problems)


def name_of(sample: Sample, root: Path) -> str:
    """A name for an image that is the same wherever the set lies."""
    return Path(os.path.relpath(sample.image, root)).as_posix()


def name_in_stream(number: int, name: str) -> str:
    """A name for the image at a place in a stream; names that the hub gives may come twice."""
    return f"{number:07d} {name}"


_Prepare = Callable[[Image.Image], Tensor]


def preparation(
    benchmark: Benchmark, protocol: Protocol, preprocessing: Preprocessing
) -> Callable[[Image.Image], Tensor]:
    """How a photo of a set becomes a model's input, ``(3, H, W)`` in [0, 1]: the set's own way, then the model's."""
    transform = evaluation_transform(preprocessing)

    def prepare(photo: Image.Image) -> Tensor:
        if benchmark.prepare is not None:
            photo = benchmark.prepare(photo, protocol)
        return transform(photo).as_subclass(Tensor)

    return prepare


class DiskImages(Dataset):
    """Images of a set on disk, as ``Item``.

    Args:
        samples: which.
        root: folder that their names are relative to.
        benchmark: the set, whose own preparation comes first.
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
        return self.__dict__ | {"_prepare": None}  # a function in a function cannot be sent to a worker

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Item:
        sample = self.samples[index]
        self._prepare = self._prepare or preparation(self.benchmark, self.protocol, self.preprocessing)
        try:
            return Item(name_of(sample, self.root), sample, self._prepare(read_photo(sample.image)))
        except UserError as error:
            return Item(name_of(sample, self.root), sample, None, str(error))


class StreamedImages(IterableDataset):
    """Images of a set as the hub sends them, as ``Item``; their place in the set makes their names unique.

    Args:
        images: see ``stream``.
        done: names that are passed over.
        share: number of this process, and of all processes.
        benchmark: see ``DiskImages``; as are ``protocol`` and ``preprocessing``.
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
