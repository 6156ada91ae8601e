"""The folder of a YOLO data set: its root, its photos and its label files."""

from __future__ import annotations

from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.data.folder_files import files_below
from robustvit.data.matching import Name
from robustvit.data.read_photos import IMAGE_SUFFIXES
from robustvit.masks.annotations.category_names import read_yaml

_NO_LABELS = frozenset({"classes.txt", "obj.names.txt", "requirements.txt"})
_PARTS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
_LOOKED_AT = 32  # label files
_BOX_NUMBERS = 4


def is_settings(path: Path) -> bool:
    """Whether a path is that of a YAML file."""
    return path.suffix.lower() in (".yaml", ".yml") and path.is_file()


def yolo_root(source: Path) -> Path:
    """Return the folder of a data set that is named by itself or by its YAML file, which may name it as ``path``."""
    if source.is_dir():
        return source
    if is_settings(source):
        named = read_yaml(source, []).get("path")
        root = source.parent / named if isinstance(named, str) else source.parent
        return root if root.is_dir() else source.parent
    found = "a file" if source.is_file() else "none"
    raise UserError(
        f"expected a folder of YOLO label files or a data.yaml, found {found} at {source}: check the path and format"
    )


def label_files(root: Path, problems: list[str]) -> dict[Path, str]:
    """Label files, each with its path in the data set without the folder ``labels`` and the suffix."""
    found: dict[Path, str] = {}
    places = files_below(root, {".txt"})
    in_labels = {place: path for place, path in places.items() if "labels" in place.split("/")[:-1]}
    for place, path in (in_labels or places).items():
        name = path.name.lower()
        if name not in _NO_LABELS and (in_labels or not (name.startswith("readme") or _lists_photos(path))):
            parts = place.removesuffix(path.suffix).split("/")
            found[path] = "/".join([*(part for part in parts[:-1] if part != "labels"), parts[-1]])
    if not found:
        labels = root.parent / "labels"
        fix = f"name {root.parent}" if labels.is_dir() else "check the path and the format"
        raise UserError(f"expected YOLO label files (.txt) in {root}, found none: {fix}")
    splits = sorted({place.split("/")[0] for place in in_labels if place.split("/")[0] != "labels"})
    if len(splits) > 1:
        one = root / ("train" if "train" in splits else splits[0])
        problems.append(f"{root}: all of {', '.join(splits)} are read; name {one} to read that part alone")
    inner = sorted({parts[1] for place in in_labels if (parts := place.split("/"))[0] == "labels"} & _PARTS)
    if len(inner) > 1:
        part = "train" if "train" in inner else inner[0]
        way = f"name {root / 'labels' / part} and --images {root / 'images' / part}"
        problems.append(f"{root}: all of {', '.join(inner)} are read; {way} to read that part alone")
    return found


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig") as file:
            return next((line.strip() for line in file if line.strip()), "")
    except (OSError, UnicodeDecodeError):
        return ""


def _lists_photos(path: Path) -> bool:
    """Whether a text file names photos, as the train.txt of Darknet and of CVAT does."""
    return bool(Name.of(_first_line(path)).ending)


def hold_labels(folder: Path) -> bool:
    """Whether a folder has label files beside photos, as Darknet and CVAT's YOLO 1.1 have them."""
    photos = {place.rpartition(".")[0] for place in files_below(folder, IMAGE_SUFFIXES)}
    beside = [path for place, path in files_below(folder, {".txt"}).items() if place.removesuffix(".txt") in photos]
    lines = [line.split() for path in beside[:_LOOKED_AT] if (line := _first_line(path))]
    return bool(lines) and all(len(words) > _BOX_NUMBERS and all(map(_is_number, words)) for words in lines)


def _is_number(word: str) -> bool:
    try:
        return float(word) >= 0
    except ValueError:
        return False
