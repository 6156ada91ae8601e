"""The options of finetune, for commands that run it many times: read off its signature, checked, and made complete."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any

from robustvit.errors import UserError
from robustvit.finetuning import finetune, left_out, settled
from robustvit.progress import warn
from robustvit.yaml_files import check_known

__all__ = ["FINETUNE_OPTIONS", "effective_options", "takes_finetune_options"]

_PLACE = frozenset({"out", "resume", "save_every"})  # where and when a run is written says nothing about what it does
FINETUNE_OPTIONS: tuple[str, ...] = tuple(name for name in inspect.signature(finetune).parameters if name not in _PLACE)
_KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", types.NoneType: "nothing"}


def effective_options(given: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Every option of finetune as a run with these would have it: typed, defaults filled in, the recipe's looked up.

    However the options are ordered or spelled, and whether a default is written out, the same run gives the same
    options. Paths stay as given. An option without a value counts as left out.

    Args:
        given: options by their names in Python.
        place: what to call the place they come from in an error.

    Raises:
        UserError: an unknown option, a value of the wrong kind, or images or a model missing.
    """
    from jsonargparse import ArgumentError

    check_known(given, FINETUNE_OPTIONS, place)
    values = {name: _unfold(name, value) for name, value in given.items() if value is not None}
    if "images" not in values:
        raise UserError(f"{place}: expected images, which every run needs; add it to the options of all runs")
    try:
        found = _parser().parse_object(values).as_dict()
    except ArgumentError as error:
        raise UserError(f"{place}: {_complaint(str(error), values)}") from error
    found = {name: found[name] for name in FINETUNE_OPTIONS}
    if unfit := left_out(found):
        _say(unfit)
    return found | settled(found)[1]


@cache
def _say(line: str) -> None:
    """Warn once of what every run would have to say."""
    warn(line)


@cache
def _parser() -> Any:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_function_arguments(finetune, skip=set(_PLACE), fail_untyped=False, as_group=False)
    return parser


def _annotation(name: str) -> Any:
    return inspect.signature(finetune).parameters[name].annotation


def _unfold(name: str, value: Any) -> Any:
    """YAML reads a bare ``no`` as false; where ``no`` is one of the choices it is meant."""
    return "no" if value is False and "no" in typing.get_args(_annotation(name)) else value


def _complaint(message: str, values: Mapping[str, Any]) -> str:
    """jsonargparse's words in one line, as a user would say it."""
    found = re.search(r'key "(\w+)"', message)
    if found is None or found[1] not in values:
        return " ".join(message.split())
    return f"expected {found[1]} to be {_kind(_annotation(found[1]))}, got {values[found[1]]!r}"


def _kind(annotation: Any) -> str:
    if typing.get_origin(annotation) is typing.Literal:
        return f"one of {', '.join(map(str, typing.get_args(annotation)))}"
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        kinds = (_kind(one) for one in typing.get_args(annotation) if one is not types.NoneType)
        return " or ".join(dict.fromkeys(kinds))
    return _KINDS.get(annotation, "a list")


def takes_finetune_options(*, without: Collection[str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a function that takes ``**options`` for finetune their names, types, defaults and descriptions.

    Its signature and docstring are then complete for the command line and ``help``; they cannot fall behind finetune's.

    Args:
        without: options of finetune that the function sets itself.
    """

    def complete(function: Callable[..., Any]) -> Callable[..., Any]:
        own = inspect.signature(function)
        mine = [one for one in own.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
        names = {one.name for one in mine}
        theirs = [
            one
            for name, one in inspect.signature(finetune).parameters.items()
            if name not in names and name not in without and name not in _PLACE
        ]
        function.__signature__ = own.replace(parameters=mine + theirs)  # type: ignore[attr-defined]
        described = "\n".join(_descriptions()[one.name] for one in theirs)
        function.__doc__ = re.sub(
            r"(?=\n\nReturns:\n)", lambda _: f"\n{described}", inspect.getdoc(function) or "", count=1
        )
        return function

    return complete


def _descriptions() -> dict[str, str]:
    """Lines of finetune's docstring by the option that they describe."""
    block = (inspect.getdoc(finetune) or "").partition("\nArgs:\n")[2].partition("\n\n")[0]
    entries = re.split(r"\n(?=    \w+: )", block)
    return {entry.strip().partition(":")[0]: entry for entry in entries}
