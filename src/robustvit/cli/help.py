"""The help of commands, made from their options: in groups, with types in words; the most important options or all."""

from __future__ import annotations

import argparse
import inspect
import re
import sys
import textwrap
import typing
from collections.abc import Callable, Collection, Sequence
from typing import Any

from robustvit.common.command_options import REQUIRED, Option, options_of, type_in_words
from robustvit.common.errors import option_name

ALL = "--help-all"


def usage_of(name: str, function: Callable[..., Any]) -> str:
    """Return the usage line of a command: its required arguments, by name."""
    words = [f"robustvit {name}"]
    for one in options_of(function):
        value = one.name.upper()
        if one.positional:
            many = f"{value} ..." if typing.get_origin(one.type) is list else value
            words.append(many if one.default is REQUIRED else f"[{many}]")
        elif one.default is REQUIRED:
            words.append(f"{option_name(one.name)} {value}")
    return " ".join([*words, "[OPTIONS]"])


def option_groups(function: Callable[..., Any], everything: bool = True) -> dict[str, list[Option]]:
    """Return the options of a command by heading: the most important ones, then the rest of each group.

    Without ``everything``, those of the short help.
    """
    options, first = options_of(function), getattr(function, "first", ())
    groups = {"": sorted((one for one in options if one.name in first), key=lambda one: first.index(one.name))}
    for one in options:
        if one.name not in first and (everything or not first or one.parameter in first):
            groups.setdefault(one.group, []).append(one)
    return {heading: members for heading, members in groups.items() if members}


def help_text(name: str, function: Callable[..., Any], everything: bool = False) -> str:
    """Return the help of a command: what it does, its usage, its options and an example."""
    description, example = description_of(function)
    if sys.flags.optimize > 1:  # -OO, or PYTHONOPTIMIZE=2
        description = "Python was started with -OO, which removes the texts of this help: start it without."
    groups = option_groups(function, everything)
    hidden = len(options_of(function)) - sum(map(len, groups.values()))
    ends = [f"{hidden} more options: robustvit {name} {ALL}"] * bool(hidden)
    ends += [f"example: {example}"] * bool(example)
    parser = argparse.ArgumentParser(
        prog=f"robustvit {name}", usage=usage_of(name, function), description=description, add_help=False,
        formatter_class=_Paragraphs, epilog="\n\n".join(ends),
    )  # fmt: skip
    names = [one.name for one in options_of(function)]
    for heading, members in groups.items():
        add_options(parser.add_argument_group(heading.lower() or "options"), members, names)
    add_common(parser.add_argument_group("common options"))
    return parser.format_help()


def add_common(parser: argparse._ActionsContainer) -> None:
    """Add the options that every command takes."""
    parser.add_argument("--config", metavar="FILE", help="YAML file with any of these options.")
    parser.add_argument("--print_config", action="store_true", help="Print the configuration and exit.")
    parser.add_argument(
        "--json", action="store_true",
        help="Print the result as one JSON document; messages go to the error stream.",
    )  # fmt: skip
    parser.add_argument(ALL, action="store_true", help="Show all options and exit.")


def description_of(function: Callable[..., Any]) -> tuple[str, str]:
    """Return the description and the example in a command's docstring."""
    description, _, example = (inspect.getdoc(function) or "").partition("\nExample:\n")
    return description.split("\nArgs:\n")[0].split("\nReturns:\n")[0].strip(), " ".join(example.split())


def add_options(
    parser: argparse._ActionsContainer, options: Sequence[Option], names: Collection[str] = ()
) -> list[tuple[Option, argparse.Action]]:
    """Add options to an argparse parser, which only shows and completes them; ``names``: those of all options."""
    added = []
    for one in options:
        shown, words = describe_option(one, names)
        words = words.strip().replace("%", "%%")  # argparse would expand %
        if one.positional:
            added.append((one, parser.add_argument(one.name, nargs=one.count, help=words)))
        else:
            added.append((one, parser.add_argument(shown, metavar=_name_value(one.type), help=words)))
    return added


def describe_option(one: Option, names: Collection[str] = ()) -> tuple[str, str]:
    """Return an option as it is typed, and its description with type and default; ``names``: those of all options."""
    shown = one.name.upper() if one.positional else option_name(one.name)
    return shown, f"{as_typed(one.text, names)} {_describe_type(one)}"


def as_typed(text: str, names: Collection[str]) -> str:
    """Return text in which names of options of several words, such as max_drop, are written as they are typed."""
    return re.sub(
        r"(?<![\w-])[a-z]+(_[a-z]+)+\b", lambda found: option_name(found[0]) if found[0] in names else found[0], text
    )


def _name_value(kind: object) -> str:
    words = type_in_words(kind)
    if words.startswith("one of"):
        return "CHOICE"
    if kind in (bool, bool | None):
        return "true|false"
    return "NUMBER" if words in ("a number", "a whole number") else "VALUE"


def _describe_type(one: Option) -> str:
    """Return the type and the default of an option, in brackets."""
    words = "a switch" if one.type is bool and one.default is False else type_in_words(one.type)
    said = not any(one.default is nothing for nothing in (REQUIRED, None, False))
    default = [f"default {str(one.default).lower() if one.default is True else one.default}"] * said
    needed = ["required"] if one.default is REQUIRED and not one.positional else []
    return f"({'; '.join([words, *default, *needed])})"


class _Paragraphs(argparse.HelpFormatter):
    """A formatter that keeps paragraphs apart and does not break words at hyphens."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join("\n".join(self._split_lines(one, width)) for one in text.split("\n\n"))

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)
