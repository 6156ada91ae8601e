"""Commands from groups of options: an option is defined once, which gives its keyword, help, completion and docs.

The parameters of a command's function are options or groups of options. A group is a frozen dataclass that describes
its fields under ``Attributes``. ``command`` spreads the groups into flat keywords: the signature and the docstring list
every option, and the function receives the objects. Annotations may be strings. Those of parameters are resolved in the
module of the function; that of the result is not, so that no heavy module is imported for it.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import textwrap
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from robustvit.common.former_spellings import NO_FORMER, FormerSpellings
from robustvit.common.given_sets import OF_PHOTOS, is_given_set, name_given_set

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

REQUIRED = inspect.Parameter.empty
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Option:
    """An option of a command.

    Attributes:
        name: its keyword in Python.
        type: type of its value.
        default: its value if it is not given; ``REQUIRED`` if it must be given.
        text: its description.
        group: its heading in the help; empty for options outside groups.
        positional: whether it is given without its name on the command line.
        parameter: parameter of the function that receives it or its group.
    """

    name: str
    type: object
    default: object
    text: str
    group: str
    positional: bool
    parameter: str

    @property
    def count(self) -> str | None:
        """The number of words that a positional option takes, in argparse's notation."""
        return "+" if typing.get_origin(self.type) is list else None if self.default is REQUIRED else "?"

    def as_parameter(self) -> inspect.Parameter:
        """Return the option as a parameter of a signature."""
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD if self.positional else inspect.Parameter.KEYWORD_ONLY
        return inspect.Parameter(self.name, kind, default=self.default, annotation=self.type)


def command(
    *,
    first: Sequence[str] = (),
    leave_out: Collection[str] = (),
    formerly: FormerSpellings = NO_FORMER,
    aliases: Mapping[str, str] | None = None,
    instead: Mapping[str, str] | None = None,
    **defaults: object,
) -> Callable[[Callable[..., _Result]], Callable[..., _Result]]:
    """Spread the groups among a function's parameters into flat keywords.

    A description under ``Args`` in the function's docstring overrides that of the group.

    Args:
        first: options and groups that the short help shows; default: all.
        leave_out: options of groups that the command does not offer; they keep the group's default.
        formerly: how options were spelled in earlier versions.
        aliases: other names of options, in Python only.
        instead: options that replace some of those left out.
        defaults: defaults that override those of the groups, by option.
    """

    def spread(function: Callable[..., _Result]) -> Callable[..., _Result]:
        kinds = _resolve_types(function)
        groups: dict[str, Any] = {name: kind for name, kind in kinds.items() if is_dataclass(kind)}
        options = _list_options(function, kinds, leave_out, defaults)
        returned = function.__annotations__.get("return", inspect.Signature.empty)
        signature = inspect.Signature([one.as_parameter() for one in options], return_annotation=returned)

        @functools.wraps(function)
        def call(*arguments: Any, **keywords: Any) -> _Result:
            for alias, name in (aliases or {}).items():
                if alias in keywords and name not in keywords and not arguments:
                    keywords[name] = keywords.pop(alias)
            named = len(formerly.positional)
            keywords, arguments = formerly.take(arguments[:named], keywords), arguments[named:]
            values = _bind(function.__name__, signature, arguments, keywords)
            received: dict[str, Any] = {name: {} for name in groups}
            for one in options:
                received.get(one.parameter, received)[one.name] = values[one.name]
            return function(**received | {name: kind(**received[name]) for name, kind in groups.items()})

        call.__annotations__ = {one.name: one.type for one in options}
        call.__doc__ = write_docstring(inspect.getdoc(function) or "", {one.name: one.text for one in options})
        replaced = {name: (instead or {}).get(name, "") for name in leave_out}
        about = {"options": options, "first": tuple(first), "function": function, "formerly": formerly}
        vars(call).update(about, __signature__=signature, left_out=replaced)
        del vars(call)["__wrapped__"]  # the documentation unwraps functions, and would see the groups
        return call

    return spread


def _bind(
    command: str, signature: inspect.Signature, arguments: Sequence[Any], keywords: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the value of every option of a call; refuse unknown ones, and suggest the nearest."""
    if not keywords.keys() <= signature.parameters.keys():
        from robustvit.common.yaml_files import check_known

        check_known(keywords, signature.parameters, command)
    bound = signature.bind(*arguments, **keywords)
    bound.apply_defaults()
    values = {option: expand_home(value) for option, value in bound.arguments.items()}
    sets = [option for option in OF_PHOTOS if is_given_set(values.get(option))]
    return values | {option: name_given_set(values[option], option) for option in sets}


def expand_home(value: object) -> Any:
    """Return a value in which the home folder replaces a leading ``~/``, which a shell leaves in ``--out=~/runs``."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(expand_home, value)) if type(value) in (list, tuple) else value
    return os.path.expanduser(value) if isinstance(value, str) and value.startswith("~/") else value


def options_of(function: Callable[..., Any]) -> list[Option]:
    """Return the options of a command, in the order of its signature."""
    listed = getattr(function, "options", None)
    return _list_options(function, _resolve_types(function)) if listed is None else listed


def settings_of(function: Callable[..., Any], *groups: object, **own: object) -> dict[str, Any]:
    """Return the options of a call by name, from what a command's function received."""
    for group in groups:
        own |= vars(group)
    return {one.name: own[one.name] for one in options_of(function)}


def _resolve_types(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the types of a function's parameters."""
    notes = {name: note for name, note in function.__annotations__.items() if name != "return"}
    return typing.get_type_hints(type("_", (), {"__module__": function.__module__, "__annotations__": notes}))


def _list_options(
    function: Callable[..., Any],
    kinds: dict[str, Any],
    leave_out: Collection[str] = (),
    defaults: Mapping[str, Any] = MappingProxyType({}),
) -> list[Option]:
    described = read_section(inspect.getdoc(function) or "", "Args")
    options: list[Option] = []
    for name, parameter in inspect.signature(function).parameters.items():
        kind = kinds.get(name, str)
        if not is_dataclass(kind):
            positional = parameter.kind is not inspect.Parameter.KEYWORD_ONLY
            options.append(Option(name, kind, parameter.default, described.get(name, ""), "", positional, name))
            continue
        texts, hints = read_texts(kind) | described, typing.get_type_hints(kind)
        heading = (inspect.getdoc(kind) or "").partition("\n")[0].rstrip(".")
        for one in fields(kind):
            if one.name not in leave_out:
                default = defaults.get(one.name, REQUIRED if one.default is MISSING else one.default)
                text = texts.get(one.name, "")
                options.append(Option(one.name, hints[one.name], default, text, heading, False, name))
    return sorted(options, key=lambda one: not one.positional)  # a signature starts with the positional ones


def add_arguments(parser: ArgumentParser, options: Sequence[Option]) -> None:
    """Add options to a parser of jsonargparse, which reads their values."""
    for one in options:
        if one.positional:
            parser.add_argument(one.name, nargs=one.count, type=str)
        elif one.default is REQUIRED:
            parser.add_argument(f"--{one.name}", type=one.type, required=True)
        else:
            parser.add_argument(f"--{one.name}", type=one.type, default=one.default)


def type_in_words(kind: object) -> str:
    """Describe the type of an option in words: a number, one of a, b."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, inside))}" if len(inside) > 1 else str(inside[0])
    if origin in (types.UnionType, typing.Union):
        return " or ".join(dict.fromkeys(type_in_words(one) for one in inside if one is not types.NoneType))
    return next((words for one, words in _WORDS.items() if one is kind), "a list")


_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def read_texts(group: Any) -> dict[str, str]:
    """Return the descriptions of a group's fields, its own or those of the groups it derives from."""
    found: dict[str, str] = {}
    for kind in reversed(group.__mro__):
        found |= read_section(inspect.cleandoc(kind.__doc__ or ""), "Attributes")
    return found


def read_section(doc: str, section: str) -> dict[str, str]:
    """Return names and descriptions in a section of a docstring."""
    block = re.search(rf"^{section}:\n((?:    .*(?:\n|$))+)", doc, re.MULTILINE)
    entries = re.split(r"^    (?=\w+: )", block[1], flags=re.MULTILINE)[1:] if block else []
    return {name: " ".join(text.split()) for name, _, text in (entry.partition(": ") for entry in entries)}


def write_docstring(doc: str, texts: Mapping[str, str]) -> str:
    """Return a docstring whose ``Args`` list every option; ``texts``: their descriptions."""
    bare = re.sub(r"\n\nArgs:\n(?:    .*(?:\n|$))+", "\n", doc + "\n").rstrip()
    lines = [
        textwrap.fill(f"{name}: {text}", 116, initial_indent=" " * 4, subsequent_indent=" " * 8, break_on_hyphens=False)
        for name, text in texts.items()
    ]
    end = re.search(r"\n\n(?:Returns|Raises|Example):\n", bare)
    at = end.start() if end else len(bare)
    return f"{bare[:at]}\n\nArgs:\n" + "\n".join(lines) + bare[at:]
