"""Class names from a file beside the annotations: YAML, a plain list, or CVAT's ``labelmap.txt``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from robustvit.common.errors import UserError
from robustvit.common.wording import shown

PIXEL_VALUES = "_classes.csv"  # Roboflow's names of the values in its masks

# Names of what is not an object, without case, underscores, hyphens and spaces: the background, and what to ignore.
_NO_OBJECTS = frozenset(
    {"background", "bg", "ignore", "ignored", "void", "unlabeled", "unlabelled", "unannotated", "dontcare"}
)


def is_no_object(name: str | None) -> bool:
    """Whether a category is the background or to be ignored, in all its common spellings."""
    return name is not None and re.sub(r"[\W_]", "", name).casefold() in _NO_OBJECTS


@dataclass(frozen=True)
class YoloNames:
    """The settings of a YOLO data set.

    Attributes:
        by_number: names of the classes.
        key_points: the file that declares the labels to be key points, if there is one.
    """

    by_number: dict[int, str] = field(default_factory=dict)
    key_points: Path | None = None


def read_class_names(places: Sequence[Path], problems: list[str]) -> YoloNames:
    """Read class names by number from ``data.yaml``, ``dataset.yaml``, another YAML file, ``classes.txt`` or Darknet's
    ``obj.names``, or another ``.names``.

    The first of ``places``, folders or YAML files, that names any counts. A file that cannot be read becomes a problem
    line; lists of names in one folder that differ raise UserError.
    """
    seen: set[Path] = set()
    for place in dict.fromkeys(places):
        others = sorted([*place.glob("*.yaml"), *place.glob("*.yml")]) if place.is_dir() else [place]
        for path in dict.fromkeys([place / "data.yaml", place / "dataset.yaml", *others]):
            if path in seen or not path.is_file():
                continue
            seen.add(path)
            if found := _from_yaml(path, problems):
                return found
        if lines := _plain_names(place, problems):
            return YoloNames(dict(enumerate(lines)))
    return YoloNames()


def _plain_names(place: Path, problems: list[str]) -> list[str]:
    """Read ``classes.txt`` or ``obj.names`` in a folder, else any other ``.names``; refuse two that differ."""
    usual = [place / "classes.txt", place / "obj.names"]
    others = [path for path in sorted(place.glob("*.names")) if path not in usual] if place.is_dir() else []
    for paths in (usual, others):
        found = {path: lines for path in paths if (lines := _lines(path, problems))}
        if (first := next(iter(found), None)) is None:
            continue
        if other := next((path for path in found if found[path] != found[first]), None):
            raise UserError(
                f"expected one list of class names in {place}, found {first.name} and {other.name}, which differ: "
                "keep the list that the labels were drawn with"
            )
        return found[first]
    return []


class LabelMap:
    """Names of the ids or colours in class masks.

    Attributes:
        by_id: name by id; 0 is the background.
        by_colour: name by (red, green, blue), without the background.
    """

    def __init__(self, entries: Sequence[tuple[str, tuple[int, int, int] | None]] = ()) -> None:
        objects = [(name, colour) for name, colour in entries if not is_no_object(name)]
        self.by_id = {number: name for number, (name, _) in enumerate(objects, 1)}
        self.by_colour = {colour: name for name, colour in objects if colour is not None}


def read_label_map(places: Sequence[Path], problems: list[str]) -> LabelMap:
    """Read names of mask ids from the first ``labelmap.txt`` (lines ``name:r,g,b::``) or ``classes.txt`` in folders.

    Ids count from 1 in the order of the file, not counting the background.
    """
    for place in dict.fromkeys(places):
        if lines := _lines(place / "labelmap.txt", problems):
            return _label_map([_label(line) for line in lines if not line.startswith("#")], place, problems)
        if lines := _lines(place / "classes.txt", problems):
            return _label_map([(line, None) for line in lines], place, problems)
        if lines := _lines(place / PIXEL_VALUES, problems):
            return _pixel_values(lines)
    return LabelMap()


def _pixel_values(lines: list[str]) -> LabelMap:
    """Read lines ``1, cat`` below a line of titles."""
    labels = LabelMap()
    for line in lines:
        number, _, name = (part.strip() for part in line.partition(","))
        if number.isdecimal() and len(number) < 10 and name and not is_no_object(name):
            labels.by_id[int(number)] = name
    return labels


def _label_map(entries: list[tuple[str, tuple[int, int, int] | None]], place: Path, problems: list[str]) -> LabelMap:
    """Leave out the names whose ids are in doubt, since the background stands between the classes."""
    objects = [number for number, (name, _) in enumerate(entries) if not is_no_object(name)]
    first, last = min(objects, default=0), max(objects, default=0)
    between = next((number for number in range(first, last) if number not in objects), None)
    if between is None:
        return LabelMap(entries)
    problems.append(
        f"{place}: {shown(entries[between][0])} stands between the classes, so the ids of those after it are in doubt: "
        "they keep their numbers; move it to the top"
    )
    known = LabelMap(entries[:between])
    known.by_colour = LabelMap(entries).by_colour
    return known


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


def read_yaml(path: Path, problems: list[str]) -> dict:
    """Return the settings in a YAML file; empty, with a problem line, if it cannot be read."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):  # a date that does not exist is a ValueError
        problems.append(f"{path}: expected class names as YAML, it cannot be read; classes keep their numbers")
        return {}
    return content if isinstance(content, dict) else {}


def _from_yaml(path: Path, problems: list[str]) -> YoloNames | None:
    content = read_yaml(path, problems)
    names, key_points = content.get("names"), path if content.get("kpt_shape") is not None else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict):
        return YoloNames({}, key_points) if key_points else None
    found = {}
    for key, name in names.items():
        if str(key).isdecimal() and isinstance(name, (str, int, float)):
            found[int(key)] = str(name)
        else:
            problems.append(f"{path}: expected a number and a name, found {shown(key)} and {shown(name)}; left out")
    return YoloNames(found, key_points) if found or key_points else None
