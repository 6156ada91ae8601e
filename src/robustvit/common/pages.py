"""Templates of pages and tables; every value is escaped for the format that it is written to."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from robustvit.common.errors import printable
from robustvit.common.wording import pluralize, with_minus

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "[": "{[}", "]": "{]}", "−": "$-$", "±": r"$\pm$", "–": "--",
    "†": r"\dag{}", "‡": r"\ddag{}",
}  # fmt: skip
_FURTHER: dict[str, dict[str, Any]] = {
    "html": {},
    "markdown": {"trim_blocks": True},
    "latex": {  # LaTeX is full of braces, so its templates use other delimiters
        "trim_blocks": True, "block_start_string": "<%", "block_end_string": "%>", "variable_start_string": "<<",
        "variable_end_string": ">>", "comment_start_string": "<#", "comment_end_string": "#>",
    },
}  # fmt: skip


def escape_markdown(text: str) -> str:
    """Escape text for a cell of a Markdown table: no markup, no HTML, one line."""
    one_line = " ".join(text.split())
    escaped = re.sub(r"([\\`*_|~#])", r"\\\1", one_line)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def escape_latex(text: str) -> str:
    """Escape text for a cell of a LaTeX table, on one line."""
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def unbroken(text: str) -> Markup:
    """Escape text for HTML, with names of options in elements of class ``option``, which pages keep on one line."""
    escaped = str(escape(with_minus(printable(text))))
    return Markup(re.sub(r"(?<![\w-])(--[a-z][\w-]*)", r"<span class=option>\1</span>", escaped))


@cache  # it keeps its templates compiled
def environment(format: str, package: str, *, trim: bool = False) -> Environment:
    """Return the environment of the templates of a package and of ``common``, in ``markdown``, ``html`` or ``latex``.

    Values are written as ``printable`` returns them, so that a file name on a page cannot hide its ending. Negative
    numbers get a minus sign, also within sentences, which have a hyphen where they are printed and stored.
    """
    escapes: dict[str, Callable[[str], str]] = {"html": str, "markdown": escape_markdown, "latex": escape_latex}
    escape = escapes[format]

    def finalize(value: object) -> object:
        return value if isinstance(value, Markup) else escape(with_minus(printable(str(value))))

    further = _FURTHER[format] | ({"trim_blocks": True, "lstrip_blocks": True} if trim else {})
    made = Environment(  # only HTML is known to Jinja's own escaping
        loader=ChoiceLoader([PackageLoader(package, ""), PackageLoader("robustvit.common", "")]),
        autoescape=format == "html",
        finalize=finalize,
        undefined=StrictUndefined,
        **further,
    )
    made.filters |= {"counted": pluralize, "printable": lambda value: printable(str(value)), "unbroken": unbroken}
    return made


def page_template(package: str, name: str, *, trim: bool = False, **filters: Callable[[Any], str]) -> Template:
    """Load the template of an HTML page; ``trim`` drops lines with nothing but a block."""
    pages = environment("html", package, trim=trim)
    pages.filters |= filters
    return pages.get_template(name)
