"""The parser's complaints in a user's words: options as they are typed, the nearest of unknown ones, types by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

__all__ = ["option_name", "said_plainly"]

_TYPES = {"float": "a number", "int": "a whole number", "bool": "true or false", "str": "a text"}


def option_name(parameter: str) -> str:
    """An option as a user types it: ``--max-drop`` for ``max_drop``, ``--from`` for ``from_``."""
    return "--" + parameter.rstrip("_").replace("_", "-")


def said_plainly(message: str, parameters: Collection[str], positional: Collection[str]) -> str:
    """What jsonargparse says of a mistake, as a user would say it.

    Args:
        message: its words.
        parameters: of the command's function.
        positional: those of them that are given without their names.
    """
    for way in (_missing, _unknown, _ambiguous, _wrong_value):
        if found := way(message, parameters, positional):
            return found
    return _typed(message).replace("expected one argument", "expected a value")


def _typed(text: str) -> str:
    return re.sub(r"--[a-z0-9_]+", lambda found: option_name(found[0][2:]), text)


def _missing(message: str, parameters: Collection[str], positional: Collection[str]) -> str:
    found = re.search(r"arguments are required: (.+)", message) or re.search(r'[Kk]ey "(\w+)" is required', message)
    if not found:
        return ""
    names = [name.strip().removeprefix("--") for name in found[1].split(",")]
    shown = [name.upper() if name in positional else option_name(name) for name in names]
    return f"expected {' and '.join(shown)}, which {'has' if len(shown) == 1 else 'have'} no default"


def _unknown(message: str, parameters: Collection[str], positional: Collection[str]) -> str:
    found = re.search(r"unrecognized arguments: (.+)", message, re.DOTALL)
    if not found:
        return ""
    option = next((word.partition("=")[0] for word in found[1].split() if word.startswith("--")), "")
    if not option:
        return f"expected no more than {', '.join(positional).upper() or 'options'}, got {found[1]} too"
    known = [option_name(name) for name in parameters if name not in positional]
    near = difflib.get_close_matches(_typed(option), known, n=1, cutoff=0.5)
    return f"unknown option {_typed(option)}" + (f": did you mean {near[0]}?" if near else "")


def _ambiguous(message: str, parameters: Collection[str], positional: Collection[str]) -> str:
    found = re.search(r"ambiguous option: (\S+) could match (.+)", message)
    return f"expected one of {_typed(found[2])}, got {_typed(found[1])}: write it out" if found else ""


def _wrong_value(message: str, parameters: Collection[str], positional: Collection[str]) -> str:
    found = re.search(r'[Kk]ey "(\w+)":(.*)(?:Given|Got) value: (.+)', message, re.DOTALL)
    if not found:
        return ""
    option, reason, value = found.groups()
    reason = reason.partition("Given value type")[0]
    choices = re.search(r"typing\.Literal\[(.*?)\]", reason)
    kinds = dict.fromkeys(re.findall(r"<class '(\w+)'>", reason))
    if choices:
        wanted = "one of " + choices[1].replace("'", "")
    else:
        wanted = " or ".join(_TYPES[kind] for kind in kinds if kind in _TYPES)
    return f"expected {option_name(option)} to be {wanted}, got {' '.join(value.split())[:80]}" if wanted else ""
