"""The orders that the outputs of a model may have: torchvision's, timm's, and numbers.

A head holds no names. What trained it sorted the class folders, and programs sort differently. The table of the orders
is in ``docs/howto/photos.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from timm.utils.misc import natural_key

_SHOWN = 200
_FEWEST = 10  # photos that another order is judged by
_FAR = 0.3

ALPHABET = "the alphabet, as torchvision's ImageFolder (10 before 2, capitals first)"
NATURAL = "timm's order (2 before 10, capitals ignored)"
NUMBERS = "numbers (3 is output 3)"
FROM_ONE = "numbers from 1 (3 is output 2)"


def list_plausible_orders(names: Sequence[str], num_classes: int, *, folders: bool = True) -> dict[str, dict[str, int]]:
    """Return the outputs that classes may have in a head without names, by the name of the order.

    ``names`` are those of folders, which programs sort, or of a list, whose numbers are outputs.
    """
    found: dict[str, dict[str, int]] = {}
    numbers = _read_numbers(names, num_classes)
    if numbers:
        found[NUMBERS] = numbers
    if len(names) == num_classes and (folders or not numbers):
        found |= {order: {name: i for i, name in enumerate(_sort_names(names, order))} for order in (ALPHABET, NATURAL)}
    elif numbers and folders and all(str(number) == name for name, number in numbers.items()):
        whole = sorted(map(str, range(num_classes)))  # the folders it was trained on, of which these are some
        found[ALPHABET] = {name: whole.index(name) for name in names}
    return found


def _read_numbers(names: Sequence[str], num_classes: int) -> dict[str, int]:
    """Return names as outputs if all of them are, each once; else nothing."""
    if not names or not all(name.isdecimal() for name in names):
        return {}
    numbers = {name: int(name) for name in names}
    fits = max(numbers.values()) < num_classes and len(set(numbers.values())) == len(names)
    return numbers if fits else {}


def _sort_names(names: Sequence[str], order: str) -> list[str]:
    if order == ALPHABET:
        return sorted(names)
    try:
        return sorted(sorted(names), key=natural_key)
    except ValueError:  # digits of other scripts, which timm cannot sort either
        return sorted(names)


def describe_order(index: Mapping[str, int], named: Sequence[str] = ()) -> str:
    """Describe which output each class is: ``0 cat, 1 cow``; ``named`` are the model's names of its outputs."""
    pairs = sorted((label, name) for name, label in index.items())
    texts = [
        f"{label} {name}" + (f" ({named[label]})" if named and named[label] != name else "") for label, name in pairs
    ]
    return ", ".join(texts[:_SHOWN]) + (f", ... ({len(texts)} in all)" if len(texts) > _SHOWN else "")


def find_better_order(
    classes: Sequence[str | None],
    labels: Sequence[int | None],
    predicted: Sequence[int],
    num_classes: int,
    class_names: Sequence[str] = (),
) -> str:
    """Return a warning if the answers fit another order of the classes far better than that used; else an empty text.

    ``classes`` are those of the photos as named on disk, ``labels`` the outputs that these were matched to, and
    ``predicted`` the model's answers.
    """
    known = [(str(name), label, answer) for name, label, answer in zip(classes, labels, predicted, strict=True)
             if label is not None]  # fmt: skip
    if len(known) < _FEWEST:
        return ""
    right = sum(label == answer for _, label, answer in known) / len(known)
    index = {name: label for name, label, _ in known}
    for order, other in _other_orders(index, num_classes, class_names).items():
        share = sum(other[name] == answer for name, _, answer in known) / len(known)
        if share > right + _FAR and share > 2 * right:
            return (
                f"The answers fit another order of the classes far better: {100 * share:.1f} % would be right instead "
                f"of {100 * right:.1f} % with {order}: {describe_order(other)}. If that is how the model was trained, "
                "give the names in that order with --class-names."
            )
    return ""


def _other_orders(index: Mapping[str, int], num_classes: int, class_names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return other outputs of the classes: all names of the head sorted otherwise, and numbers that begin at one."""
    by_label = {label: name for name, label in index.items()}
    heads = list(class_names) or [by_label.get(label, str(label)) for label in range(num_classes)]
    found = {}
    if len(set(heads)) == num_classes:
        for order in (ALPHABET, NATURAL):
            place = {name: i for i, name in enumerate(_sort_names(heads, order))}
            found[order] = {name: place[heads[label]] for name, label in index.items()}
    numbers = {name: int(name) for name in index if name.isdecimal()}
    if len(numbers) == len(index):
        found[NUMBERS] = numbers
        found[FROM_ONE] = {name: number - 1 for name, number in numbers.items()}
    return {order: other for order, other in found.items() if other != index}
