"""The words of a command line: its parser, former spellings, bare flags, and mistakes in plain words."""

from __future__ import annotations

import argparse
import keyword
import re
from collections.abc import Callable, Sequence
from typing import Any

from robustvit.cli.help import help_text
from robustvit.common.command_options import Option, add_arguments, options_of, type_in_words
from robustvit.common.errors import UserError, did_you_mean, option_name
from robustvit.common.former_spellings import former_spellings, tell_new_name

JSON = "--json"


def parser_of(name: str, function: Callable[..., Any]) -> tuple[Any, list[str]]:
    """Return a command's parser and the names of its positional arguments."""
    from jsonargparse import ArgumentParser

    class Parser(ArgumentParser):
        def error(self, message: str, ex: Exception | None = None) -> Any:
            said = explain_mistake(message, options)
            if name == "sweep" and said.startswith("unknown option") and not said.endswith("?"):
                said += ": options of finetune go into the YAML file EXPERIMENT, under base"
            end = "" if said.endswith("?") else ";"
            raise UserError(f"{said}{end} robustvit {name} --help lists the options")

        def format_help(self, *_: object) -> str:
            return help_text(name, function)

    options = options_of(function)
    # Allow abbreviations, as argparse does; jsonargparse warns unless told.
    parser = Parser(prog=f"robustvit {name}", allow_abbrev=True)
    parser.add_argument("--config", action="config")
    # For configuration files that contain json: true; --print_config never writes it.
    parser.add_argument(JSON, action="store_true", default=argparse.SUPPRESS)
    add_arguments(parser, options)
    kinds = {option.name: option.type for option in options}
    for old, new in former_spellings(function).renamed.items():  # for configuration files, too; no help shows them
        parser.add_argument(f"--{old}", type=kinds[new], default=argparse.SUPPRESS)
    return parser, [option.name for option in options if option.positional]


def normalize(arguments: list[str], function: Callable[..., Any]) -> list[str]:
    """Accept ``--max-drop`` for ``--max_drop``, and a bare ``--resume`` for ``--resume true``."""
    flags = {option.name for option in options_of(function) if option.type in (bool, bool | None)}
    formerly = former_spellings(function)
    words: list[str] = []
    unnamed = list(formerly.positional)
    for position, argument in enumerate(arguments):
        if argument.startswith("--"):
            option, equals, value = argument.partition("=")
            name = option[2:].replace("-", "_")
            name += "_" * keyword.iskeyword(name)  # --from is from_ in Python
            if new := formerly.renamed.get(name):
                tell_new_name(name, new)
                name = new
            _refuse_left_out(name, function)
            following = arguments[position + 1] if position + 1 < len(arguments) else ""
            if not equals and name in flags and following.lower() not in ("true", "false"):
                equals, value = "=", "true"
            argument = f"--{name}{equals}{value}"
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


def explain_mistake(message: str, options: Sequence[Option]) -> str:
    """Reword jsonargparse's message about a mistake: options as they are typed, a suggestion, types in words."""
    for reword in (_explain_missing, _explain_unknown, _explain_ambiguous, _explain_value):
        if text := reword(message, options):
            return text
    return _write_options(message).replace("expected one argument", "expected a value")


def _write_options(text: str) -> str:
    return re.sub(r"--[a-z0-9_]+", lambda found: option_name(found[0][2:]), text)


def _explain_missing(message: str, options: Sequence[Option]) -> str:
    found = re.search(r"arguments are required: (.+)", message) or re.search(r'[Kk]ey "(\w+)" is required', message)
    if not found:
        return ""
    names = [name.strip().removeprefix("--") for name in found[1].split(",")]
    positional = {one.name for one in options if one.positional}
    shown = [name.upper() if name in positional else option_name(name) for name in names]
    return f"expected {' and '.join(shown)}, which {'has' if len(shown) == 1 else 'have'} no default"


def _explain_unknown(message: str, options: Sequence[Option]) -> str:
    found = re.search(r"unrecognized arguments: (.+)", message, re.DOTALL)
    if not found:
        return ""
    option = next((word.partition("=")[0] for word in found[1].split() if word.startswith("--")), "")
    if not option:
        most = ", ".join(one.name for one in options if one.positional).upper()
        return f"expected no more than {most or 'options'}, got {found[1]} too"
    known = [option_name(one.name) for one in options if not one.positional]
    hint = did_you_mean(_write_options(option), known, cutoff=0.5)
    return f"unknown option {_write_options(option)}" + (f": {hint}" if hint else "")


def _explain_ambiguous(message: str, options: Sequence[Option]) -> str:
    found = re.search(r"ambiguous option: (\S+) could match (.+)", message)
    return f"expected one of {_write_options(found[2])}, got {_write_options(found[1])}: write it out" if found else ""


def _explain_value(message: str, options: Sequence[Option]) -> str:
    found = re.search(r'[Kk]ey "(\w+)":.*(?:Given|Got) value: (.+)', message, re.DOTALL)
    kinds = {one.name: type_in_words(one.type) for one in options}
    if not found or found[1] not in kinds:
        return ""
    got, kind = " ".join(found[2].split())[:80], kinds[found[1]]
    hint = did_you_mean(got, kind.removeprefix("one of ").split(", ")) if kind.startswith("one of ") else ""
    return f"expected {option_name(found[1])} to be {kind}, got {got}" + (f": {hint}" if hint else "")
