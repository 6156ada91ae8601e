"""Importing the libraries that are extras of the package."""

from __future__ import annotations

import importlib
from types import ModuleType

from robustvit.common.errors import UserError


def import_extra(module: str, extra: str, need: str = "", otherwise: str = "") -> ModuleType:
    """Import a library that an extra of the package installs; the message names the extra if it is missing.

    Args:
        module: module to import.
        extra: name of the extra.
        need: what needs the library.
        otherwise: how to do without it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        lacking = f"{need} needs {library}, which" if need else library
        raise UserError(f"{lacking} is not installed: pip install 'robustvit[{extra}]'{otherwise}") from error
