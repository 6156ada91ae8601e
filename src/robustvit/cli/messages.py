"""Messages of the parser in plain words: options as they are typed, a suggestion for unknown ones, types by name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from robustvit.common.command_options import Option, type_in_words
from robustvit.common.errors import did_you_mean


def option_name(parameter: str) -> str:
    """Return an option as it is typed: ``--max-drop`` for ``max_drop``, ``--from`` for ``from_``."""
    return "--" + parameter.rstrip("_").replace("_", "-")


def explain_mistake(message: str, options: Sequence[Option]) -> str:
    """Reword jsonargparse's message about a mistake in these options."""
    for reword in (_missing, _unknown, _ambiguous, _wrong_value):
        if text := reword(message, options):
            return text
    return _as_typed(message).replace("expected one argument", "expected a value")


def _as_typed(text: str) -> str:
    return re.sub(r"--[a-z0-9_]+", lambda found: option_name(found[0][2:]), text)


def _missing(message: str, options: Sequence[Option]) -> str:
    found = re.search(r"arguments are required: (.+)", message) or re.search(r'[Kk]ey "(\w+)" is required', message)
    if not found:
        return ""
    names = [name.strip().removeprefix("--") for name in found[1].split(",")]
    positional = {one.name for one in options if one.positional}
    shown = [name.upper() if name in positional else option_name(name) for name in names]
    return f"expected {' and '.join(shown)}, which {'has' if len(shown) == 1 else 'have'} no default"


def _unknown(message: str, options: Sequence[Option]) -> str:
    found = re.search(r"unrecognized arguments: (.+)", message, re.DOTALL)
    if not found:
        return ""
    option = next((word.partition("=")[0] for word in found[1].split() if word.startswith("--")), "")
    if not option:
        most = ", ".join(one.name for one in options if one.positional).upper()
        return f"expected no more than {most or 'options'}, got {found[1]} too"
    known = [option_name(one.name) for one in options if not one.positional]
    hint = did_you_mean(_as_typed(option), known, cutoff=0.5)
    return f"unknown option {_as_typed(option)}" + (f": {hint}" if hint else "")


def _ambiguous(message: str, options: Sequence[Option]) -> str:
    found = re.search(r"ambiguous option: (\S+) could match (.+)", message)
    return f"expected one of {_as_typed(found[2])}, got {_as_typed(found[1])}: write it out" if found else ""


def _wrong_value(message: str, options: Sequence[Option]) -> str:
    found = re.search(r'[Kk]ey "(\w+)":.*(?:Given|Got) value: (.+)', message, re.DOTALL)
    kinds = {one.name: type_in_words(one.type) for one in options}
    if not found or found[1] not in kinds:
        return ""
    got, kind = " ".join(found[2].split())[:80], kinds[found[1]]
    hint = did_you_mean(got, kind.removeprefix("one of ").split(", ")) if kind.startswith("one of ") else ""
    return f"expected {option_name(found[1])} to be {kind}, got {got}" + (f": {hint}" if hint else "")
