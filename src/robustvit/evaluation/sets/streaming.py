"""Benchmark sets streamed from the Hugging Face hub, without a copy on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustvit.common.errors import UserError
from robustvit.common.extras import import_extra
from robustvit.common.options import Protocol
from robustvit.data.pixels import ANY, to_rgb
from robustvit.data.tables.hub import reaching
from robustvit.evaluation.sets.answers import Answers
from robustvit.evaluation.sets.benchmark import Benchmark, Hub, Sample
from robustvit.evaluation.sets.class_tables import IMAGENET_CLASSES, imagenet_wnids, unique_imagenet_names

if TYPE_CHECKING:
    from PIL import Image

_WNID_COLUMNS = ("wnid", "imagenet_synsets", "synset", "synsets")
_LABEL_COLUMNS = ("label", "labels")
_NAME_COLUMNS = ("image_id", "id", "file_name")
RowLabeller = Callable[[dict[str, Any]], tuple[int, ...]]  # from a row to the right ImageNet classes


def stream(benchmark: Benchmark, protocol: Protocol) -> tuple[Iterator[tuple[str, Image.Image, Sample]], Answers]:
    """Open a set on the Hugging Face hub.

    Labels are read from a column of WordNet ids, from class labels that are WordNet ids, or from numbers 0 to 999.

    Returns:
        The images in RGB, each with a name and its sample, before ``Benchmark.prepare``; and the answers.
    """
    rows, features = _open(benchmark, hub_of(benchmark))
    image, label = _find_image_column(benchmark, features), _make_labeller(benchmark, features)
    answers = benchmark.scoring[protocol]()
    return _images(benchmark, protocol, rows, image, label, answers), answers


def hub_of(benchmark: Benchmark) -> Hub:
    """Return the location of a set on the hub; refuse sets that are not there."""
    if benchmark.hub is None:
        raise UserError(
            f"{benchmark.title} cannot be streamed: get it from {benchmark.source}, and name its folder with --root"
        )
    return benchmark.hub


def _open(benchmark: Benchmark, hub: Hub) -> tuple[Iterator[dict[str, Any]], dict[str, Any]]:
    """Open the rows of a set and the types of its columns; some sets have types only after the first row."""
    otherwise = f", or get the set from {benchmark.source} and name its folder with --root"
    datasets = import_extra("datasets", "sets", f"streaming {benchmark.title}", otherwise)
    with _reaching(benchmark):
        if hub.archive:
            rows, features = _open_archive(hub)
        else:
            data = datasets.load_dataset(hub.name, split=hub.split, streaming=True)
            rows, features = iter(data), data.features
        first = next(rows, None)
    if first is None:
        raise UserError(
            f"expected images of {benchmark.title} in {hub.name} ({hub.split}), found none: use --root instead"
        )
    return chain([first], rows), dict(features or dict.fromkeys(first))


def _open_archive(hub: Hub) -> tuple[Iterator[dict[str, Any]], dict[str, Any]]:
    """Open an archive whose folders are named by WordNet id, as rows of images.

    ``datasets`` recognizes no class labels in archives of .JPEG files, so the folder is read from the path.
    """
    import datasets

    local = Path(hub.name) / hub.archive
    place = str(local) if local.is_file() else f"hf://datasets/{hub.name}/{hub.archive}"
    data = datasets.load_dataset(
        "imagefolder", data_files={hub.split: place}, split=hub.split, streaming=True, drop_labels=True
    )
    image = datasets.Image()

    def rows() -> Iterator[dict[str, Any]]:
        for row in data.cast_column("image", datasets.Image(decode=False)):
            # The path is zip://sketch/n01440764/a.JPEG::where/the/archive.zip.
            inside = Path(row["image"]["path"].partition("::")[0])
            yield {"image": image.decode_example(row["image"]), "wnid": inside.parent.name, "file_name": inside.name}

    text = datasets.Value("string")
    return rows(), {"image": image, "wnid": text, "file_name": text}


def _reaching(benchmark: Benchmark) -> AbstractContextManager[None]:
    """Turn errors while reading the hub into one line that says what to do."""
    return reaching(
        f"cannot stream {benchmark.title} from the Hugging Face hub ({hub_of(benchmark).name})",
        "check the connection and whether the set asks you to log in, or get it from "
        f"{benchmark.source} and use --root",
    )


def _images(
    benchmark: Benchmark,
    protocol: Protocol,
    rows: Iterator[dict[str, Any]],
    image: str,
    label: RowLabeller,
    answers: Answers,
) -> Iterator[tuple[str, Image.Image, Sample]]:
    number = 0
    while True:
        with _reaching(benchmark):
            row = next(rows, None)
        if row is None:
            return
        classes = label(row)
        try:
            right = tuple(map(answers.place, classes))
        except KeyError as error:
            raise UserError(
                f"image {number} of {benchmark.title} on the hub is labelled {unique_imagenet_names()[classes[0]]!r}, "
                "which is not a class of the set: use --root instead"
            ) from error
        right = right[:1] if protocol == "paper" else right
        name = next((str(row[column]) for column in _NAME_COLUMNS if row.get(column) is not None), f"{number:06d}")
        yield name, to_rgb(row[image], ANY), Sample(Path(name), right, unique_imagenet_names()[classes[0]])
        number += 1


def _find_image_column(benchmark: Benchmark, features: dict[str, Any]) -> str:
    import datasets

    columns = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    if len(columns) != 1:
        raise UserError(
            f"expected one column of images in {benchmark.title} on the hub, found {_name_columns(features)}: use "
            "--root instead"
        )
    return columns[0]


def _make_labeller(benchmark: Benchmark, features: dict[str, Any]) -> RowLabeller:
    """Return a function from a row to its ImageNet classes."""
    import datasets

    if wnids := next((name for name in _WNID_COLUMNS if name in features), None):
        return lambda row: _read_wnids(benchmark, row[wnids])
    if column := next((name for name in _LABEL_COLUMNS if name in features), None):
        feature = features[column]
        if not isinstance(feature, datasets.ClassLabel):
            return lambda row: _read_number(benchmark, row[column])
        names = list(feature.names)
        if set(names) <= set(imagenet_wnids()):
            return lambda row: _read_wnids(benchmark, names[row[column]])
        if _in_imagenet_order(names):
            return lambda row: _read_number(benchmark, row[column])
    raise UserError(
        f"cannot tell the ImageNet classes of {benchmark.title} on the hub: expected a column {_WNID_COLUMNS[0]!r}, or "
        f"labels that are WordNet ids or numbers 0 to 999, found {_name_columns(features)}: get it from "
        f"{benchmark.source} and use --root"
    )


def _in_imagenet_order(names: Sequence[str]) -> bool:
    """Return whether class names are ImageNet's 1000, whose spellings differ slightly between copies."""
    if len(names) != IMAGENET_CLASSES:
        return False
    ours = [name.partition(" (")[0].casefold() for name in unique_imagenet_names()]
    same = sum(name.split(",")[0].strip().casefold() == our for name, our in zip(names, ours, strict=True))
    return same >= 0.9 * IMAGENET_CLASSES


def _read_wnids(benchmark: Benchmark, wnids: str | Sequence[str]) -> tuple[int, ...]:
    index = {wnid: label for label, wnid in enumerate(imagenet_wnids())}
    found = wnids.replace(",", " ").split() if isinstance(wnids, str) else list(wnids)
    if not found or any(wnid not in index for wnid in found):
        raise UserError(
            f"expected WordNet ids of ImageNet-1k classes in {benchmark.title} on the hub, found {wnids!r}: use "
            "--root instead"
        )
    return tuple(index[wnid] for wnid in found)


def _read_number(benchmark: Benchmark, number: object) -> tuple[int, ...]:
    if not isinstance(number, int) or not 0 <= number < IMAGENET_CLASSES:
        raise UserError(
            f"expected labels from 0 to {IMAGENET_CLASSES - 1} in {benchmark.title} on the hub, found {number!r}: use "
            "--root instead"
        )
    return (number,)


def _name_columns(features: dict[str, Any]) -> str:
    return "the columns " + ", ".join(f"{name} ({type(feature).__name__})" for name, feature in features.items())
