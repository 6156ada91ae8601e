"""Templates of pages and tables; every value is escaped for the format that it is written to."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from robustvit.common.errors import printable
from robustvit.common.wording import pluralize

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "[": "{[}", "]": "{]}", "−": "$-$", "±": r"$\pm$", "–": "--",
    "†": r"\dag{}", "‡": r"\ddag{}",
}  # fmt: skip


def escape_markdown(text: str) -> str:
    """Escape text for a cell of a Markdown table: no markup, no HTML, one line."""
    one_line = " ".join(text.split())
    escaped = re.sub(r"([\\`*_|~#])", r"\\\1", one_line)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def escape_latex(text: str) -> str:
    """Escape text for a cell of a LaTeX table, on one line."""
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


@cache  # it keeps its templates compiled
def environment(format: str, package: str, *, trim: bool = False) -> Environment:
    """Return the environment of a package's templates in ``markdown``, ``html`` or ``latex``; see ``page_template``."""
    made = _environment(format, package, trim)
    made.filters |= {"counted": pluralize, "printable": lambda value: printable(str(value))}
    return made


def _environment(format: str, package: str, trim: bool) -> Environment:
    loader = PackageLoader(package, "")
    if format == "html":
        return Environment(
            loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=trim, lstrip_blocks=trim
        )
    escape = escape_markdown if format == "markdown" else escape_latex

    def finalize(value: object) -> object:
        return value if isinstance(value, Markup) else escape(str(value))

    # LaTeX is full of braces, so its templates use other delimiters.
    marks: dict[str, Any] = {} if format == "markdown" else {
        "block_start_string": "<%", "block_end_string": "%>", "variable_start_string": "<<",
        "variable_end_string": ">>", "comment_start_string": "<#", "comment_end_string": "#>",
    }  # fmt: skip
    return Environment(  # escaped by finalize: autoescape knows HTML only
        loader=loader, autoescape=False, finalize=finalize, undefined=StrictUndefined, trim_blocks=True, **marks
    )


def page_template(package: str, name: str, *, trim: bool = False, **filters: Callable[[Any], str]) -> Template:
    """Load the template of an HTML page.

    Args:
        package: package with the file.
        name: file name.
        trim: drop lines that hold nothing but a block.
        filters: more filters than ``pluralize`` and ``printable``.
    """
    pages = environment("html", package, trim=trim)
    pages.filters |= filters
    return pages.get_template(name)
