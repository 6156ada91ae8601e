"""The words of a command line as the parser takes them: former spellings, hyphens, bare flags, no silent guess."""

from __future__ import annotations

import keyword
from collections.abc import Callable
from typing import Any

from robustvit.cli.messages import option_name
from robustvit.common.command_options import options_of
from robustvit.common.errors import UserError
from robustvit.common.former_spellings import former_spellings, tell_new_name


def normalize(arguments: list[str], function: Callable[..., Any]) -> list[str]:
    """Accept ``--max-drop`` for ``--max_drop``, and a bare ``--resume`` for ``--resume true``."""
    flags = {option.name for option in options_of(function) if option.type in (bool, bool | None)}
    formerly = former_spellings(function)
    words: list[str] = []
    unnamed = list(formerly.positional)
    for position, argument in enumerate(arguments):
        if argument.startswith("--"):
            option, equals, value = argument.partition("=")
            option = "--" + option[2:].replace("-", "_")
            option += "_" * keyword.iskeyword(option[2:])  # --from is from_ in Python
            if new := formerly.renamed.get(option[2:]):
                tell_new_name(option[2:], new)
                option = f"--{new}"
            _refuse_left_out(option[2:], function)
            following = arguments[position + 1] if position + 1 < len(arguments) else ""
            if not equals and option[2:] in flags and following.lower() not in ("true", "false"):
                equals, value = "=", "true"
            argument = option + equals + value
        elif unnamed and position == len(formerly.positional) - len(unnamed):  # they came first
            tell_new_name(unnamed[0], unnamed[0])
            argument = f"--{unnamed.pop(0)}={argument}"
        words.append(argument)
    return words


def _refuse_left_out(name: str, function: Callable[..., Any]) -> None:
    """Refuse an option of other commands that would be read as an abbreviation, as ``--lr`` of ``--lr-schedule``."""
    left_out, known = getattr(function, "left_out", {}), [one.name for one in options_of(function)]
    longer = [one for one in known if one.startswith(name)]
    if name in left_out and name not in known and longer:
        meant = " or ".join(map(option_name, filter(None, [left_out[name], *longer])))
        raise UserError(f"unknown option {option_name(name)}: did you mean {meant}?")
