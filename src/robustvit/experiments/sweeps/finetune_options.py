"""Check and complete the options of finetune, for commands that run it many times."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from robustvit.common.command_options import add_arguments, options_of, type_in_words
from robustvit.common.errors import UserError
from robustvit.common.progress import warn
from robustvit.training.finetune import finetune
from robustvit.training.settings import describe_unused_settings, settle_options

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

_OUTPUT = frozenset({"at_inference", "out", "resume", "save_every"})  # output options do not change what a run does
_OPTIONS = {one.name: one for one in options_of(finetune) if one.name not in _OUTPUT}
FINETUNE_OPTIONS: tuple[str, ...] = tuple(_OPTIONS)
_warn_once = cache(warn)  # not for every run


def takes_whole_numbers(name: str) -> bool:
    """Whether an option of finetune is a whole number."""
    return int in (_OPTIONS[name].type, *typing.get_args(_OPTIONS[name].type))


def effective_options(given: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return every option of finetune as a run uses it: with types, defaults and those of the recipe.

    The same run gives the same options, whatever their order or spelling, and whether or not defaults are given. Paths
    are not changed. An option with the value None counts as not given. Error messages name ``place``, their source.
    """
    from jsonargparse import ArgumentError

    from robustvit.common.yaml_files import check_known

    check_known(given, FINETUNE_OPTIONS, place)
    values = {name: _unfold(name, value) for name, value in given.items() if value is not None}
    if "images" not in values:
        raise UserError(f"{place}: expected images, which every run needs: add it to the options of all runs")
    try:
        found = _make_parser().parse_object(values).as_dict()
    except ArgumentError as error:
        raise UserError(f"{place}: {_reword(str(error), values)}") from error
    found = {name: found[name] for name in FINETUNE_OPTIONS}
    used = settle_options(found)[1]
    if unfit := describe_unused_settings(found, used):
        _warn_once(unfit)
    return found | used


@cache
def _make_parser() -> ArgumentParser:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    add_arguments(parser, list(_OPTIONS.values()))
    return parser


def _unfold(name: str, value: object) -> object:
    """YAML reads a bare ``no`` as false; restore it if it is a choice."""
    return "no" if value is False and "no" in typing.get_args(_OPTIONS[name].type) else value


def _reword(message: str, values: Mapping[str, Any]) -> str:
    """Reword the message of jsonargparse in one line."""
    found = re.search(r'key "(\w+)"', message)
    if found is None or found[1] not in values:
        return " ".join(message.split())
    return f"expected {found[1]} to be {type_in_words(_OPTIONS[found[1]].type)}, got {values[found[1]]!r}"
