"""Files of annotations, JSON and XML, and the masks that they name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import NoReturn, TypeVar
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from robustvit.common.errors import UserError
from robustvit.common.files import is_file, read_bytes
from robustvit.common.wording import shown
from robustvit.data.folder_files import files_below
from robustvit.masks.annotations.objects import BrokenEntry
from robustvit.masks.annotations.other_formats import name_format
from robustvit.masks.annotations.values import dicts_in, holds

_DEEPEST = 100  # elements of XML within one another
_LONGEST = 80  # of a reason

Content = TypeVar("Content")


def read_files(
    source: Path,
    form: str,
    suffix: str,
    read: Callable[[Path], Content],
    problems: list[str],
    leave_out: Collection[str] = (),
) -> Iterator[tuple[Path, Content]]:
    """Yield the path and content of the files anywhere in a folder, or of a single file; broken ones become problems.

    Args:
        source: the folder or file.
        form: name of the format.
        suffix: of the files.
        read: reads a file, or raises UserError.
        problems: lines that the user sees.
        leave_out: names of files that describe no photo.
    """
    files = files_below(source, {suffix}).values() if source.is_dir() else [source] if source.exists() else []
    paths = [path for path in files if path == source or path.name not in leave_out]
    if not paths:
        raise UserError(f"expected {form} files ({suffix}) in {source}, found none: check the path and the format")
    for path in paths:
        try:
            content = read(path)
        except UserError as error:
            problems.append(f"{error}; left out")
        else:
            yield path, content


def read_json_files(
    source: Path,
    form: str,
    wanted: str,
    fits: Callable[[object], bool],
    problems: list[str],
    leave_out: Collection[str] = (),
) -> Iterator[tuple[Path, dict]]:
    """Yield the JSON files as ``read_files`` does; those of another format become problems.

    ``fits`` says whether a JSON object is of the format, ``wanted`` in words what such an object holds.
    """
    for path, content in read_files(source, form, ".json", load_json, problems, leave_out):
        if isinstance(content, dict) and fits(content):
            yield path, content
            continue
        coco = holds(content, images=list, annotations=object)
        other = name_format(content) if isinstance(content, dict) or dicts_in(content) else ""
        found = "a COCO file (read it as coco)" if coco else other or "something else"
        problems.append(f"{path}: expected {form} with {wanted}, found {found}; left out")


def load_json(path: Path) -> object:
    """Read a JSON file."""
    content = _read(path, "a JSON file", Path.read_bytes)  # of any size: large data sets have several GB
    try:
        return json.loads(content)
    except RecursionError as error:
        raise UserError(
            f"cannot read {path}: its JSON is nested too deeply for an annotation; export it again"
        ) from error
    except ValueError as error:
        reason = " ".join(str(error).split())[:_LONGEST]
        raise UserError(f"cannot read {path}: it is not valid JSON ({reason}); export it again") from error


def _read(path: Path, what: str, read: Callable[[Path], bytes]) -> bytes:
    try:
        return read(path)
    except FileNotFoundError as error:
        raise UserError(f"expected {what}, found none at {path}: check the path") from error
    except IsADirectoryError as error:
        inner = next(iter(files_below(path, {f".{what.split()[1].lower()}"}).values()), "the file in it")
        raise UserError(f"expected {what}, got the folder {path}: name {inner}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; check its permissions") from error


class _Refused(ValueError):
    """XML that no annotation holds; the message says what it is."""


class _Reader:
    """Builds a tree of elements; refuses deep nesting, and declarations of types, which could fill the memory."""

    def __init__(self) -> None:
        self._tree, self._depth = TreeBuilder(), 0

    def read(self, content: bytes) -> Element:
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._tree.data
        parser.StartDoctypeDeclHandler = self._refuse_types
        parser.Parse(content, True)
        return self._tree.close()

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _Refused("it is nested too deeply for an annotation")
        self._tree.start(name, attributes)

    def _end(self, name: str) -> None:
        self._depth -= 1
        self._tree.end(name)

    def _refuse_types(self, *declared: object) -> NoReturn:
        raise _Refused("it declares types (DOCTYPE), which no annotation needs")


def read_xml(path: Path) -> Element:
    """Return the root element of an XML file."""
    content = _read(path, "an XML file", read_bytes)
    try:
        return _Reader().read(content)
    except (expat.ExpatError, ValueError, LookupError) as error:
        reason = str(error) if isinstance(error, _Refused) else f"it is not valid XML, {error}"
        raise UserError(f"cannot read {path}: {reason}; export it again") from error


def find_named(root: Path, name: str) -> Path:
    """Return the file that an annotation names, with slashes or backslashes, which must lie below a folder."""
    path = Path(os.path.normpath(root / name.strip().replace("\\", "/")))
    if Path(os.path.normpath(root)) not in path.parents:
        raise BrokenEntry(f"expected a mask below {root}, found {shown(name)}")
    if not is_file(path):
        raise BrokenEntry(f"expected the mask {shown(name)} in {root}, found none")
    return path
