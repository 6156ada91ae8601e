"""The options of finetune, for commands that run it many times: checked, and made complete."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any

from robustvit.common.command_options import add_arguments, options_of, type_in_words
from robustvit.common.errors import UserError
from robustvit.common.progress import warn
from robustvit.training.finetune import finetune, left_out, settled

_PLACE = frozenset({"out", "resume", "save_every"})  # where and when a run is written says nothing about what it does
_OPTIONS = {one.name: one for one in options_of(finetune) if one.name not in _PLACE}
FINETUNE_OPTIONS: tuple[str, ...] = tuple(_OPTIONS)


def effective_options(given: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Every option of finetune as a run with these would have it: typed, defaults filled in, the recipe's looked up.

    However the options are ordered or spelled, and whether a default is written out, the same run gives the same
    options. Paths stay as given. An option without a value counts as left out.

    Args:
        given: options by their names in Python.
        place: what to call the place they come from in an error.
    """
    from jsonargparse import ArgumentError

    from robustvit.common.yaml_files import check_known

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
    add_arguments(parser, list(_OPTIONS.values()))
    return parser


def _unfold(name: str, value: Any) -> Any:
    """YAML reads a bare ``no`` as false; where ``no`` is one of the choices it is meant."""
    return "no" if value is False and "no" in typing.get_args(_OPTIONS[name].type) else value


def _complaint(message: str, values: Mapping[str, Any]) -> str:
    """jsonargparse's words in one line, as a user would say it."""
    found = re.search(r'key "(\w+)"', message)
    if found is None or found[1] not in values:
        return " ".join(message.split())
    return f"expected {found[1]} to be {type_in_words(_OPTIONS[found[1]].type)}, got {values[found[1]]!r}"
