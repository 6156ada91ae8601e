"""The help of commands, made from their options: in groups, with types in words, the first options alone or all."""

from __future__ import annotations

import argparse
import inspect
import textwrap
import typing
from collections.abc import Callable, Sequence
from typing import Any

from robustvit.cli.messages import option_name
from robustvit.common.command_options import REQUIRED, Option, options_of, type_in_words

ALL = "--help-all"


def usage_of(name: str, function: Callable[..., Any]) -> str:
    """How a command is called: what it must be given, by name."""
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
    """The options of a command under their headings: the first ones, then the groups with their others.

    Args:
        function: the command's.
        everything: all options, not only those that the short help shows.
    """
    options, first = options_of(function), getattr(function, "first", ())
    groups = {"": sorted((one for one in options if one.name in first), key=lambda one: first.index(one.name))}
    for one in options:
        if one.name not in first and (everything or not first or one.parameter in first):
            groups.setdefault(one.group, []).append(one)
    return {heading: members for heading, members in groups.items() if members}


def help_text(name: str, function: Callable[..., Any], everything: bool = False) -> str:
    """What a command does, how it is called, its options and an example."""
    description, example = description_of(function)
    groups = option_groups(function, everything)
    hidden = len(options_of(function)) - sum(map(len, groups.values()))
    ends = [f"{hidden} more options: robustvit {name} {ALL}"] * bool(hidden)
    ends += [f"example: {example}"] * bool(example)
    parser = argparse.ArgumentParser(
        prog=f"robustvit {name}", usage=usage_of(name, function), description=description, add_help=False,
        formatter_class=_Paragraphs, epilog="\n\n".join(ends),
    )  # fmt: skip
    for heading, members in groups.items():
        add_options(parser.add_argument_group(heading.lower() or "options"), members)
    add_common(parser.add_argument_group("of every command"))
    return parser.format_help()


def add_common(place: argparse._ActionsContainer) -> None:
    """Add what every command takes beside its own options."""
    place.add_argument("--config", metavar="FILE", help="YAML file with any of these options.")
    place.add_argument("--print_config", action="store_true", help="Print the configuration and exit.")
    place.add_argument(
        "--json", action="store_true",
        help="Print the result as one JSON document and nothing else; messages go to the error stream.",
    )  # fmt: skip
    place.add_argument(ALL, action="store_true", help="Show all options and exit.")


def description_of(function: Callable[..., Any]) -> tuple[str, str]:
    """What a command's docstring says that it does, and its example."""
    description, _, example = (inspect.getdoc(function) or "").partition("\nExample:\n")
    return description.split("\nArgs:\n")[0].split("\nReturns:\n")[0].strip(), " ".join(example.split())


def add_options(place: argparse._ActionsContainer, options: Sequence[Option]) -> list[tuple[Option, argparse.Action]]:
    """Add options to a parser of argparse, which is for showing and completing them; nothing is parsed with it."""
    added = []
    for one in options:
        text = _plain(f"{one.text} {_kind(one)}".strip())
        if one.positional:
            action = place.add_argument(one.name, nargs=_count(one), help=text)
        else:
            action = place.add_argument(option_name(one.name), metavar=_value(one.type), help=text)
        added.append((one, action))
    return added


def described(one: Option) -> tuple[str, str]:
    """An option as it is typed, and its description with type and default."""
    return (one.name.upper() if one.positional else option_name(one.name)), f"{one.text} {_kind(one)}"


def _count(one: Option) -> str | None:
    return "+" if typing.get_origin(one.type) is list else None if one.default is REQUIRED else "?"


def _value(kind: object) -> str:
    words = type_in_words(kind)
    if words.startswith("one of"):
        return "CHOICE"
    return "true|false" if kind is bool else "NUMBER" if words in ("a number", "a whole number") else "VALUE"


def _kind(one: Option) -> str:
    """The type and the default of an option in brackets."""
    words = "a switch" if one.type is bool and one.default is False else type_in_words(one.type)
    said = not any(one.default is nothing for nothing in (REQUIRED, None, False))
    default = [f"default {str(one.default).lower() if one.default is True else one.default}"] * said
    needed = ["required"] if one.default is REQUIRED and not one.positional else []
    return f"({'; '.join([words, *default, *needed])})"


def _plain(text: str) -> str:
    """A text in which argparse takes no % for a format."""
    return text.replace("%", "%%")


class _Paragraphs(argparse.HelpFormatter):
    """Keeps the paragraphs of a description apart, and names with a hyphen whole."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join("\n".join(self._split_lines(one, width)) for one in text.split("\n\n"))

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)
