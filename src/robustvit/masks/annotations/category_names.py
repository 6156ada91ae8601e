"""Class names from a file beside the annotations: YAML, a plain list, or CVAT's ``labelmap.txt``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from robustvit.masks.annotations.listing import shown

_BACKGROUNDS = frozenset({"background", "_background_", "__background__"})
_IGNORED = frozenset({"__ignore__", "_ignore_"})


def read_class_names(places: Sequence[Path], problems: list[str]) -> dict[int, str]:
    """Read class names by number from ``data.yaml``, ``dataset.yaml``, another YAML file or ``classes.txt``.

    The first of the folders ``places`` that names any counts. A file that cannot be read becomes a problem line.
    """
    for place in dict.fromkeys(places):
        others = sorted([*place.glob("*.yaml"), *place.glob("*.yml")])
        for path in dict.fromkeys([place / "data.yaml", place / "dataset.yaml", *others]):
            if path.is_file() and (names := _from_yaml(path, problems)):
                return names
        if lines := _lines(place / "classes.txt", problems):
            return dict(enumerate(lines))
    return {}


class LabelMap:
    """Names of the ids or colours in class masks.

    Attributes:
        by_id: name by id; 0 is the background.
        by_colour: name by (red, green, blue), without the background.
    """

    def __init__(self, entries: Sequence[tuple[str, tuple[int, int, int] | None]] = ()) -> None:
        objects = [(name, colour) for name, colour in entries if name.lower() not in _BACKGROUNDS | _IGNORED]
        self.by_id = {number: name for number, (name, _) in enumerate(objects, 1)}
        self.by_colour = {colour: name for name, colour in objects if colour is not None}


def read_label_map(places: Sequence[Path], problems: list[str]) -> LabelMap:
    """Read names of mask ids from the first ``labelmap.txt`` (lines ``name:r,g,b::``) or ``classes.txt`` in folders.

    Ids count from 1 in the order of the file, not counting the background.
    """
    for place in dict.fromkeys(places):
        if lines := _lines(place / "labelmap.txt", problems):
            return LabelMap([_label(line) for line in lines if not line.startswith("#")])
        if lines := _lines(place / "classes.txt", problems):
            return LabelMap([(line, None) for line in lines])
    return LabelMap()


def _label(line: str) -> tuple[str, tuple[int, int, int] | None]:
    name, _, rest = line.partition(":")
    words = rest.split(":")[0].split(",")
    if len(words) == 3 and all(word.strip().isdecimal() for word in words):
        red, green, blue = (int(word[:9]) for word in words)
        return name.strip(), (red, green, blue)
    return name.strip(), None


def _lines(path: Path, problems: list[str]) -> list[str]:
    if not path.is_file():
        return []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        problems.append(f"{path}: expected class names as text, it cannot be read; classes keep their numbers")
        return []
    return [line.strip() for line in text.split("\n") if line.strip()]


def _from_yaml(path: Path, problems: list[str]) -> dict[int, str]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):  # a date that does not exist is a ValueError
        problems.append(f"{path}: expected class names as YAML, it cannot be read; classes keep their numbers")
        return {}
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict):
        return {}
    found = {}
    for key, name in names.items():
        if str(key).isdecimal() and isinstance(name, (str, int, float)):
            found[int(key)] = str(name)
        else:
            problems.append(f"{path}: expected a number and a name, found {shown(key)} and {shown(name)}; left out")
    return found
