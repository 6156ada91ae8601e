"""Completion of commands, options and their values in a shell, made from the commands' own signatures."""

# Annotations stay real objects here (no __future__ import): the command line resolves them without importing torch.
import argparse
import inspect
import types
from collections.abc import Callable
from typing import Any, Literal, Union, get_args, get_origin

from robustvit.errors import UserError
from robustvit.options import Shell

__all__ = ["completion"]


def completion(shell: Shell) -> str:
    """Print a script that completes commands, options and their values in a shell.

    For bash, put it where bash-completion looks: robustvit completion bash >
    ~/.local/share/bash-completion/completions/robustvit. For zsh, into a file _robustvit in a folder of $fpath.

    Args:
        shell: bash, zsh or tcsh.

    Returns:
        The script.

    Raises:
        UserError: another shell.

    Example:
        robustvit completion bash
    """
    import shtab

    known = get_args(Shell)
    if shell not in known:
        raise UserError(f"expected a shell out of {', '.join(known)}, got {shell!r}")
    return shtab.complete(_tree(), shell=shell)


def _tree() -> argparse.ArgumentParser:
    """All commands as one parser of argparse, which is what shtab reads; nothing is parsed with it."""
    from robustvit.cli import COMMANDS, function_of, summary

    root = argparse.ArgumentParser(prog="robustvit")
    root.add_argument("-V", "--version", action="store_true", help="Print the version.")
    commands = root.add_subparsers(dest="command")
    for name in COMMANDS:
        _add_options(commands.add_parser(name, help=_plain(summary(COMMANDS[name]))), function_of(name))
    return root


def _plain(text: str) -> str:
    """A text on one line, in which argparse takes no % for a format."""
    return " ".join(text.split()).replace("%", "%%")


def _add_options(parser: argparse.ArgumentParser, function: Callable[..., Any]) -> None:
    from robustvit.cli import argument_helps, option_name

    helps = {key: _plain(text) for key, text in argument_helps(function).items()}
    _completing(parser.add_argument("--config", help="YAML file with any of these options."), str)
    parser.add_argument("--print_config", action="store_true", help="Print the configuration and exit.")
    parser.add_argument("--json", action="store_true", help="Print the result as one JSON document.")
    for key, one in inspect.signature(function).parameters.items():
        positional = one.kind is not inspect.Parameter.KEYWORD_ONLY
        many = positional and get_origin(one.annotation) is list
        optional = positional and one.default is not inspect.Parameter.empty
        nargs = "+" if many else "?" if optional else None
        added = parser.add_argument(key if positional else option_name(key), nargs=nargs, help=helps.get(key))
        _completing(added, one.annotation)


def _completing(action: argparse.Action, annotation: Any) -> None:
    """Say what may stand for an argument: one of its values, or a file where it is text."""
    import shtab

    if isinstance(annotation, str):  # of a module whose annotations are put off; only plain ones are in signatures
        annotation = str if annotation.split()[0] == "str" else None
    values = _values(annotation)
    if values:
        action.choices = values
    elif _holds(annotation, str):
        action.complete = shtab.FILE  # type: ignore[attr-defined]


def _values(annotation: Any) -> list[str]:
    """The values that a type lists; none where it takes others too."""
    if annotation is bool:
        return ["true", "false"]
    if get_origin(annotation) is Literal:
        return [str(one) for one in get_args(annotation)]
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [one for one in get_args(annotation) if one is not type(None)]
        found = [_values(one) for one in parts]
        return [value for one in found for value in one] if all(found) else []
    return []


def _holds(annotation: Any, kind: type) -> bool:
    return annotation is kind or any(_holds(one, kind) for one in get_args(annotation))
