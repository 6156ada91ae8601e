"""Lists of text, such as train.txt: a photo in each line, with its class behind it or without."""

from __future__ import annotations

import re
from pathlib import Path

from robustvit.common.csv_files import read_csv
from robustvit.common.errors import UserError
from robustvit.common.files import read_bytes
from robustvit.data.listed_files import ListedFiles
from robustvit.data.matching import CONTAINERS
from robustvit.data.tables.columns import IMAGE_COLUMNS
from robustvit.data.tables.table import PhotoTable, as_photo_table

_GAP = re.compile(r"[ \t]*[,;|\t ][ \t]*")
_PARTS = frozenset({"train", "val", "valid", "validation", "test"})


def read_text_list(path: Path) -> PhotoTable:
    """Read lines ``PATH LABEL`` (as of ImageNet's val.txt) or ``PATH``, whose folder then is the class.

    Spaces, tabs, commas and semicolons divide the two; either may hold spaces, as the path must lead to a file. A file
    whose first line names columns is read as a CSV file.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path} as a list in UTF-8: check the path, or write it again") from error
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    kept = [(number, line) for number, line in lines if line]
    finder, behind = ListedFiles(path), 0
    rows: list[dict[str, str]] = []
    _learn_root(finder, [line for _, line in kept])
    for number, line in kept:
        pair = _split(line, finder, behind)
        if pair is None:
            names = (name.strip('" ').casefold() for name in re.split(r"[,;|\t]", line))
            if not rows and any(name in IMAGE_COLUMNS for name in names):
                return as_photo_table(read_csv(path, what="a list"), path)
            raise UserError(_explain(path, number, line, finder))
        behind, image, label = pair
        rows.append({"image": image, "label": label})
    notes = _label_by_folder(rows, path.name) if not any(row["label"] for row in rows) else ()
    empty = tuple(number for number, line in lines if not line)
    numbers = [number for number, _ in kept]
    return PhotoTable(["image", "label"], rows, numbers, True, empty, folder=path.parent, notes=notes)


def _learn_root(finder: ListedFiles, lines: list[str]) -> None:
    """Let the finder learn the folders of another machine: the path is a whole line, or ends at a gap."""
    gaps = [list(_GAP.finditer(line)) for line in lines]
    ways = [lines]
    for at in (-1, 0) if all(gaps) else ():
        ways.append([line[: found[at].start()].strip('" ') for line, found in zip(lines, gaps, strict=True)])
    any(finder.learn_root(names) for names in ways)


def _split(line: str, finder: ListedFiles, behind: int) -> tuple[int, str, str] | None:
    """Return the number of gaps behind the path of a line, the path, and the class.

    The number is that of the line before if the path then leads to a photo; else the longest path that does is taken.
    """
    gaps = list(reversed(list(_GAP.finditer(line))))
    for count in dict.fromkeys([behind, *range(len(gaps) + 1)]):
        if count <= len(gaps):
            start, end = (gaps[count - 1].start(), gaps[count - 1].end()) if count else (len(line), len(line))
            image, label = line[:start].strip('" '), line[end:].strip('" ')
            if finder.leads_to_one(image):
                return count, image, label
    return None


def _label_by_folder(rows: list[dict[str, str]], name: str) -> tuple[str, ...]:
    """Set the class of photos to the folder they lie in, if all of them lie in one that can be a class."""
    found = [_folder(row["image"]) for row in rows]
    if not all(found):
        return ()
    for row, label in zip(rows, found, strict=True):
        row["label"] = label
    return (f"{name} names no classes: the folder of each photo is its class ({rows[0]['image']}: {found[0]}).",)


def _folder(image: str) -> str:
    """Return the folder that a photo lies in, empty if it names no class."""
    parts = image.replace("\\", "/").split("/")
    folder = parts[-2] if len(parts) > 1 else ""
    return "" if folder.casefold() in CONTAINERS | _PARTS | {"", ".", ".."} else folder


def _explain(path: Path, number: int, line: str, finder: ListedFiles) -> str:
    last = _GAP.split(line)[-1]
    if finder.leads_to_one(last):
        return (
            f"{path}, line {number}: expected PATH LABEL or PATH, got {line[:100]!r}, where the path comes last: what "
            "stands before it may be a number of the photo or its class; write a CSV file with the columns image,label"
        )
    return (
        f"{path}, line {number}: expected PATH LABEL or PATH, got {line[:100]!r}: no photo lies there; paths are "
        "relative to the folder of the list"
    )
