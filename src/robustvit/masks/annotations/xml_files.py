"""Annotations in XML, read without declarations of types, which could name other files or fill the memory."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from robustvit.common.errors import UserError
from robustvit.common.files import read_bytes

_DEEPEST = 100


class _Refused(ValueError):
    """What no annotation holds; the message says what it is."""


class _Reader:
    """Builds a tree of elements, and refuses declarations and deep nesting."""

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
    try:
        return _Reader().read(read_bytes(path))
    except FileNotFoundError as error:
        raise UserError(f"expected an XML file, found none at {path}: check the path") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; check its permissions") from error
    except (expat.ExpatError, ValueError, LookupError) as error:
        reason = str(error) if isinstance(error, _Refused) else f"it is not valid XML, {error}"
        raise UserError(f"cannot read {path}: {reason}; export it again") from error
