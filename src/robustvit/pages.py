"""Templates of HTML pages: values are escaped, and one that is missing is an error, never an empty place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from robustvit.errors import printable
from robustvit.wording import counted

__all__ = ["page_template"]


def page_template(name: str, *, trim: bool = False, **filters: Callable[[Any], str]) -> Template:
    """A template of a page.

    Args:
        name: of the file among the package's templates.
        trim: leave out the lines that hold nothing but a block.
        filters: those that the page has besides ``counted`` and ``printable``.
    """
    environment = Environment(
        loader=PackageLoader("robustvit"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=trim,
        lstrip_blocks=trim,
    )
    environment.filters |= {"counted": counted, "printable": lambda value: printable(str(value)), **filters}
    return environment.get_template(name)
