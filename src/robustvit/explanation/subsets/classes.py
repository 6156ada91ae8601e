"""Choose the classes whose subsets are searched for: named by the user, or drawn at random."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from robustvit.common.errors import UserError, nearest
from robustvit.common.options import Categories
from robustvit.models.classifier import Classifier


def named_classes(classifier: Classifier, given: Categories | None) -> list[int]:
    """Return the indices of classes given by name or index; commas separate several, unless a class has that name."""
    if given is None:
        return []
    if isinstance(given, str) and given not in classifier.class_names:
        given = given.split(",")
    listed = given if isinstance(given, list) else [given]
    return list(dict.fromkeys(class_index(classifier, str(one).strip()) for one in listed))


def class_index(classifier: Classifier, name: str) -> int:
    """Return the index of a class given by name, in any case, or by index."""
    known = {known.casefold(): i for i, known in reversed(list(enumerate(classifier.class_names)))}
    if name.casefold() in known:
        return known[name.casefold()]
    if name.isdecimal() and int(name) < classifier.num_classes:
        return int(name)
    near = nearest(name, classifier.class_names, cutoff=0.0)
    raise UserError(
        f"unknown class {name!r}: expected an index below {classifier.num_classes}"
        + (f" or a name; the nearest is {near[0]!r}" if near else "")
    )


def draw_classes(num_classes: int, own: Sequence[int], named: Sequence[int], count: int, seed: int) -> list[int]:
    """Draw up to ``count`` classes: none that is named or shared by all photos, first those that no photo has.

    Args:
        num_classes: of the model.
        own: class of each photo.
        named: classes already chosen.
        count: how many.
        seed: fixes the draw.
    """
    order = torch.randperm(num_classes, generator=torch.Generator().manual_seed(seed)).tolist()
    free = [label for label in order if label not in named and set(own) != {label}]
    return sorted(free, key=lambda label: label in own)[:count]
