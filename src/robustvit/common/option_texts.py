"""Descriptions of options: read from docstrings, and written into a command's."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Mapping
from typing import Any


def read_texts(group: Any) -> dict[str, str]:
    """Return the descriptions of a group's fields, its own or those of the groups it derives from."""
    found: dict[str, str] = {}
    for kind in reversed(group.__mro__):
        found |= read_section(inspect.cleandoc(kind.__doc__ or ""), "Attributes")
    return found


def read_section(doc: str, section: str) -> dict[str, str]:
    """Return names and descriptions in a section of a docstring."""
    block = re.search(rf"^{section}:\n((?:    .*(?:\n|$))+)", doc, re.MULTILINE)
    entries = re.split(r"^    (?=\w+: )", block[1], flags=re.MULTILINE)[1:] if block else []
    return {name: " ".join(text.split()) for name, _, text in (entry.partition(": ") for entry in entries)}


def write_docstring(doc: str, texts: Mapping[str, str]) -> str:
    """Return a docstring whose ``Args`` list every option.

    Args:
        doc: of the command's function.
        texts: descriptions of its options.
    """
    bare = re.sub(r"\n\nArgs:\n(?:    .*(?:\n|$))+", "\n", doc + "\n").rstrip()
    lines = [
        textwrap.fill(f"{name}: {text}", 116, initial_indent=" " * 4, subsequent_indent=" " * 8, break_on_hyphens=False)
        for name, text in texts.items()
    ]
    end = re.search(r"\n\n(?:Returns|Raises|Example):\n", bare)
    at = end.start() if end else len(bare)
    return f"{bare[:at]}\n\nArgs:\n" + "\n".join(lines) + bare[at:]
