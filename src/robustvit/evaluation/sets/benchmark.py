"""Benchmark sets: their facts and readers, and the images that a reader lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from robustvit.common.errors import UserError
from robustvit.common.options import Protocol
from robustvit.data.pixels import PLAIN, Pixels
from robustvit.evaluation.sets.answers import Answers

if TYPE_CHECKING:
    from PIL import Image

Summary = Literal["accuracy", "group-mean", "worst-group", "shape"]


@dataclass(frozen=True)
class Sample:
    """An image of a set.

    Attributes:
        image: the file; for a streamed image its name only.
        right: answers that count as right, as indices into ``Answers.names``.
        class_name: the class in reports.
        group: the group in reports; "" if the set has no groups.
        texture: the answer of its texture, in sets that distinguish shape and texture.
        pixels: how its pixels are read.
    """

    image: Path
    right: tuple[int, ...]
    class_name: str
    group: str = ""
    texture: int | None = None
    pixels: Pixels = PLAIN


Reader = Callable[[Path, Protocol], tuple[list[Sample], list[str]]]  # lists the images in a folder, and problems


@dataclass(frozen=True)
class Listing:
    """The images of a set on disk.

    Attributes:
        samples: the images, in a fixed order.
        problems: one line each: unknown folders, files that are not images, too few images ...
        answers: how logits become answers.
        expected: number of images of the whole set.
    """

    samples: list[Sample]
    problems: list[str]
    answers: Answers
    expected: int

    @property
    def complete(self) -> bool:
        """Whether every image of the set is there."""
        return len(self.samples) == self.expected


@dataclass(frozen=True)
class Hub:
    """The location of a set on the Hugging Face hub.

    Attributes:
        name: id of the data set, or a local folder.
        split: the split that holds the test images.
        archive: an archive of class folders within it, if it is not a table that can be streamed.
    """

    name: str
    split: str
    archive: str = ""


@dataclass(frozen=True)
class Benchmark:
    """A row of the table of benchmark sets.

    Attributes:
        name: on the command line, such as ``imagenet-v2/threshold0.7``.
        title: readable name.
        images: number of images of the whole set that are evaluated; 0 if everybody makes their own.
        classes: number of their classes.
        folder: of the set below the root.
        reader: lists its images, whose ``right`` are indices of ImageNet classes, or of answers if those are not
            ImageNet's.
        scoring: makes the ``Answers``, for each protocol.
        summary: the headline number, for each protocol.
        other_folders: further names of the folder to look for, such as those of extracted archives.
        source: where to get it.
        size: of the download.
        licence: of the images.
        hub: where it can be streamed from.
        num_classes: number of logits that a model must have; None for a head with the set's classes.
        prepare: applied to each image before the model's preprocessing.
        note: what to know before using it.
    """

    name: str
    title: str
    images: int
    classes: int
    folder: str
    reader: Reader
    scoring: Mapping[Protocol, Callable[[], Answers]]
    summary: Mapping[Protocol, Summary]
    other_folders: tuple[str, ...] = ()
    source: str = ""
    size: str = ""
    licence: str = ""
    hub: Hub | None = None
    num_classes: int | None = 1000
    prepare: Callable[[Image.Image, Protocol], Image.Image] | None = None
    note: str = ""

    def read(self, root: str | Path, protocol: Protocol) -> Listing:
        """List the images of the set below a root folder."""
        folder = self.locate(root)
        samples, problems = self.reader(folder, protocol)
        answers = self.scoring[protocol]()
        if not samples:
            number, reason = f"{self.images:,} " if self.images else "", f" ({problems[0]})" if problems else ""
            raise UserError(
                f"expected {number}images of {self.title} in {folder}, found none{reason}: extract the archive again, "
                "or name another --root"
            )
        placed = [replace(sample, right=tuple(map(answers.place, sample.right))) for sample in samples]
        if self.images and len(placed) != self.images:
            problems = [*problems, self._describe_count(placed, folder)]
        return Listing(placed, problems, answers, self.images or len(placed))

    def locate(self, root: str | Path) -> Path:
        """Return the set's folder below a root folder, or the root itself if it has the set's name."""
        root = Path(root)
        names = (self.folder, *self.other_folders)
        folders = [root / name for name in names]
        folders += [root for name in names if root.parts[-len(Path(name).parts) :] == Path(name).parts]
        for folder in folders:
            if folder.is_dir():
                return folder
        raise UserError(
            f"expected {self.title} below {root}, found none of its folders {', '.join(names)}: get it from "
            f"{self.source} ({self.size}; {self.licence})"
            + (f", or stream it from the Hugging Face hub ({self.hub.name})" if self.hub else "")
            + (f"; {self.note}" if self.note else "")
        )

    def _describe_count(self, samples: list[Sample], folder: Path) -> str:
        classes = len({sample.class_name for sample in samples})
        line = f"expected {self.images:,} images in {self.classes} classes, found {len(samples):,} in {classes}"
        if len(samples) < self.images:
            return f"{line}: incomplete, extract the archive into {folder} again"
        return f"{line}: other files are among them, extract the archive into a folder of its own instead of {folder}"


def check_head(benchmark: Benchmark, num_classes: int) -> None:
    """Refuse a model whose head does not fit a set."""
    expected = benchmark.num_classes or benchmark.classes
    if num_classes == expected:
        return
    if benchmark.num_classes is None:
        raise UserError(
            f"{benchmark.title} expects a model with its own {expected} classes, got one with {num_classes}: finetune "
            "the model on the set's training photos first"
        )
    raise UserError(
        f"{benchmark.title} expects a model with ImageNet's {expected} classes, got one with {num_classes}: take "
        "weights with an ImageNet-1k head (timm names that end in in1k), or measure on your own photos with --images"
    )
