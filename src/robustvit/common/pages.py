"""Templates of pages and tables: every value is escaped for the format that it is written in."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from robustvit.common.errors import printable
from robustvit.common.wording import counted

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "[": "{[}", "]": "{]}", "−": "$-$", "±": r"$\pm$", "–": "--",
    "†": r"\dag{}", "‡": r"\ddag{}",
}  # fmt: skip


def escape_markdown(text: str) -> str:
    """Text for a cell of a Markdown table: no mark-up, no HTML, one line."""
    one_line = " ".join(text.split())
    escaped = re.sub(r"([\\`*_|~#])", r"\\\1", one_line)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def escape_latex(text: str) -> str:
    """Text for a cell of a LaTeX table, on one line."""
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def environment(format: str, package: str) -> Environment:
    """The templates that lie in a package, for a format: ``markdown``, ``html`` or ``latex``."""
    loader = PackageLoader(package, "")
    if format == "html":
        return Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    escape = escape_markdown if format == "markdown" else escape_latex

    def finalize(value: Any) -> Any:
        return value if isinstance(value, Markup) else escape(str(value))

    # LaTeX is full of braces: there the template's own marks are others.
    marks: dict[str, Any] = {} if format == "markdown" else {
        "block_start_string": "<%", "block_end_string": "%>", "variable_start_string": "<<",
        "variable_end_string": ">>", "comment_start_string": "<#", "comment_end_string": "#>",
    }  # fmt: skip
    found = Environment(  # escaped by finalize: autoescape knows HTML only
        loader=loader, autoescape=False, finalize=finalize, undefined=StrictUndefined, trim_blocks=True, **marks
    )
    found.filters["counted"] = counted
    return found


def page_template(package: str, name: str, *, trim: bool = False, **filters: Callable[[Any], str]) -> Template:
    """A template of a page.

    Args:
        package: where the file lies.
        name: of the file.
        trim: leave out the lines that hold nothing but a block.
        filters: those that the page has besides ``counted`` and ``printable``.
    """
    environment = Environment(
        loader=PackageLoader(package, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=trim,
        lstrip_blocks=trim,
    )
    environment.filters |= {"counted": counted, "printable": lambda value: printable(str(value)), **filters}
    return environment.get_template(name)
