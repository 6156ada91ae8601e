"""Commands from groups of options: an option is defined once, which gives its keyword, help, completion and docs.

The parameters of a command's function are options or groups of options. A group is a frozen dataclass that describes
its fields under ``Attributes``. ``command`` spreads the groups into flat keywords: the signature and the docstring list
every option, and the function receives the objects. Annotations may be strings. Each parameter's is resolved in the
module of the function, so that no heavy module is imported for a type that is only returned.
"""

from __future__ import annotations

import functools
import inspect
import os
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from robustvit.common.former_spellings import NO_FORMER, FormerSpellings
from robustvit.common.given_sets import OF_PHOTOS, is_given_set, name_given_set
from robustvit.common.option_texts import read_section, read_texts, write_docstring

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

REQUIRED = inspect.Parameter.empty
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Option:
    """An option of a command.

    Attributes:
        name: as a keyword in Python.
        type: of its value.
        default: its value if it is not given; ``REQUIRED`` if it must be given.
        text: its description.
        group: its heading in the help; empty for options that are in no group.
        positional: whether it is given without its name on the command line.
        parameter: name of the function's parameter that receives it or its group.
    """

    name: str
    type: object
    default: object
    text: str
    group: str
    positional: bool
    parameter: str

    def as_parameter(self) -> inspect.Parameter:
        """Return the option as a parameter of a signature."""
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD if self.positional else inspect.Parameter.KEYWORD_ONLY
        return inspect.Parameter(self.name, kind, default=self.default, annotation=self.type)


def command(
    *,
    first: Sequence[str] = (),
    positional: Collection[str] = (),
    leave_out: Collection[str] = (),
    formerly: FormerSpellings = NO_FORMER,
    aliases: Mapping[str, str] | None = None,
    instead: Mapping[str, str] | None = None,
    **defaults: object,
) -> Callable[[Callable[..., _Result]], Callable[..., _Result]]:
    """Spread the groups among a function's parameters into flat keywords.

    A description under ``Args`` in the function's docstring overrides that of the group.

    Args:
        first: options and groups that the short help shows; all when left out.
        positional: options of groups that are given without their names on the command line.
        leave_out: options of groups that the command does not offer; they keep the group's default.
        formerly: how options were spelled in earlier versions.
        aliases: other names of options, for Python alone.
        instead: options that the command has in the place of some that it leaves out.
        defaults: defaults that override those of the groups, by option.
    """

    def spread(function: Callable[..., _Result]) -> Callable[..., _Result]:
        kinds = _resolve_types(function)
        groups: dict[str, Any] = {name: kind for name, kind in kinds.items() if is_dataclass(kind)}
        options = _spread(function, kinds, positional, leave_out, defaults)
        returned = function.__annotations__.get("return", inspect.Signature.empty)
        signature = inspect.Signature([one.as_parameter() for one in options], return_annotation=returned)

        @functools.wraps(function)
        def call(*arguments: Any, **keywords: Any) -> _Result:
            for alias, name in (aliases or {}).items():
                if alias in keywords and name not in keywords and not arguments:
                    keywords[name] = keywords.pop(alias)
            named = len(formerly.positional)
            keywords, arguments = formerly.take(arguments[:named], keywords), arguments[named:]
            if not keywords.keys() <= signature.parameters.keys():
                from robustvit.common.yaml_files import check_known

                check_known(keywords, signature.parameters, function.__name__)
            bound = signature.bind(*arguments, **keywords)
            bound.apply_defaults()
            bound.arguments.update({name: at_home(value) for name, value in bound.arguments.items()})
            for option in OF_PHOTOS:
                if is_given_set(bound.arguments.get(option)):
                    bound.arguments[option] = name_given_set(bound.arguments[option], option)
            received: dict[str, dict[str, Any]] = {name: {} for name in groups}
            own: dict[str, Any] = {}
            for one in options:
                received.get(one.parameter, own)[one.name] = bound.arguments[one.name]
            return function(**own, **{name: groups[name](**values) for name, values in received.items()})

        told: Any = call
        told.__signature__ = signature
        told.__annotations__ = {one.name: one.type for one in options}
        told.__doc__ = write_docstring(inspect.getdoc(function) or "", {one.name: one.text for one in options})
        told.left_out = {one: (instead or {}).get(one, "") for one in leave_out}
        told.options, told.first, told.function, told.formerly = options, tuple(first), function, formerly
        del told.__wrapped__  # the documentation unwraps functions, and would see the groups
        return call

    return spread


def at_home(value: Any) -> Any:
    """Return a value in which the home folder replaces a leading ``~/``, which a shell leaves in ``--out=~/runs``."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(at_home, value)) if type(value) in (list, tuple) else value
    return os.path.expanduser(value) if isinstance(value, str) and value.startswith("~/") else value


def options_of(function: Callable[..., Any]) -> list[Option]:
    """Return the options of a command, in the order of its signature."""
    found = getattr(function, "options", None)
    return _spread(function, _resolve_types(function)) if found is None else found


def settings_of(function: Callable[..., Any], *groups: object, **own: object) -> dict[str, Any]:
    """Return the options of a call by name, from the groups and options that a command's function received."""
    for group in groups:
        own |= vars(group)
    return {one.name: own[one.name] for one in options_of(function)}


def _resolve_types(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the types of a function's parameters."""
    notes = {name: note for name, note in function.__annotations__.items() if name != "return"}
    return typing.get_type_hints(type("_", (), {"__module__": function.__module__, "__annotations__": notes}))


def _spread(
    function: Callable[..., Any],
    kinds: dict[str, Any],
    positional: Collection[str] = (),
    leave_out: Collection[str] = (),
    defaults: dict[str, Any] | None = None,
) -> list[Option]:
    said = read_section(inspect.getdoc(function) or "", "Args")
    found: list[Option] = []
    for name, parameter in inspect.signature(function).parameters.items():
        kind = kinds.get(name, str)
        if not is_dataclass(kind):
            named = parameter.kind is inspect.Parameter.KEYWORD_ONLY
            found.append(Option(name, kind, parameter.default, said.get(name, ""), "", not named, name))
            continue
        texts, hints = read_texts(kind) | said, typing.get_type_hints(kind)
        heading = (inspect.getdoc(kind) or "").partition("\n")[0].rstrip(".")
        for one in fields(kind):
            default = (defaults or {}).get(one.name, REQUIRED if one.default is MISSING else one.default)
            about = texts.get(one.name, ""), heading, one.name in positional, name
            found += [Option(one.name, hints[one.name], default, *about)] * (one.name not in leave_out)
    return sorted(found, key=lambda one: not one.positional)  # a signature starts with the positional ones


def add_arguments(parser: ArgumentParser, options: Sequence[Option]) -> None:
    """Add options to a parser of jsonargparse, which reads their values."""
    for one in options:
        if one.positional:
            count = "+" if typing.get_origin(one.type) is list else None if one.default is REQUIRED else "?"
            parser.add_argument(one.name, nargs=count, type=str)
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
