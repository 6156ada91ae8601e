"""Classes of the benchmark sets: ImageNet's from timm, others from the tables in ``classes/``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import yaml

from robustvit.common.errors import UserError

IMAGENET_CLASSES = 1000


@cache
def imagenet_wnids() -> tuple[str, ...]:
    """Return the WordNet ids of ImageNet-1k's 1000 classes, in the order of a model's logits."""
    from timm.data import ImageNetInfo

    return tuple(ImageNetInfo().label_names())


@cache
def unique_imagenet_names() -> tuple[str, ...]:
    """Return a unique name for each of ImageNet-1k's 1000 classes; names that two share (crane, maillot) get the id."""
    from robustvit.models.libraries.library import first_imagenet_names

    names = first_imagenet_names()
    count = Counter(names)
    return tuple(
        f"{name} ({wnid})" if count[name] > 1 else name for name, wnid in zip(names, imagenet_wnids(), strict=True)
    )


@cache
def imagenet_subset(name: str) -> tuple[int, ...]:
    """Return the 200 classes, ascending, of ImageNet-A (``a``) or ImageNet-R (``r``), from timm."""
    file = files("timm.data") / "_info" / f"imagenet_{name}_synsets.txt"
    try:
        wnids = file.read_text(encoding="utf-8").split()
    except OSError as error:
        raise UserError(
            f"timm has no list of the classes of ImageNet-{name.upper()}: pip install 'timm>=1.0.31'"
        ) from error
    index = {wnid: i for i, wnid in enumerate(imagenet_wnids())}
    return tuple(sorted(index[wnid] for wnid in wnids))


@cache
def member_classes(table: str) -> Mapping[str, tuple[int, ...]]:
    """Read a table in ``classes/``: its classes, in order, with the indices of their ImageNet classes."""
    text = (files("robustvit.evaluation.sets") / "classes" / f"{table}.yaml").read_text(encoding="utf-8")
    return {name: _read_indices(str(members)) for name, members in yaml.safe_load(text).items()}


def _read_indices(members: str) -> tuple[int, ...]:
    found: list[int] = []
    for part in members.split():
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)
