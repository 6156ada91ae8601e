"""Shell completion of commands, options and values, made from the signatures of the commands."""

from __future__ import annotations

import argparse
from itertools import chain
from types import NoneType
from typing import Literal, get_args, get_origin

from robustvit.common.command_options import options_of
from robustvit.common.errors import expect_one_of
from robustvit.common.options import Shell


def completion(shell: Shell) -> str:
    """Print a script that completes commands, options and their values in a shell.

    For bash: robustvit completion bash > ~/.local/share/bash-completion/completions/robustvit. For zsh, write it to a
    file _robustvit in a folder of $fpath.

    Args:
        shell: bash, zsh or tcsh.

    Returns:
        The script.

    Raises:
        UserError: the shell is not supported.

    Example:
        robustvit completion bash
    """
    import shtab

    known = get_args(Shell)
    expect_one_of("shell", shell, known)
    return shtab.complete(_tree(), shell=shell)


def _tree() -> argparse.ArgumentParser:
    """Build an argparse parser of all commands for shtab to read."""
    from robustvit.cli.help import add_common, add_options
    from robustvit.cli.main import COMMANDS, function_of, read_summary

    root = argparse.ArgumentParser(prog="robustvit")
    root.add_argument("-V", "--version", action="store_true", help="Print the version.")
    commands = root.add_subparsers(dest="command")
    for name in COMMANDS:
        parser = commands.add_parser(name, help=read_summary(name).replace("%", "%%"))
        add_common(parser)
        _complete(parser._option_string_actions["--config"], str)
        for option, action in add_options(parser, options_of(function_of(name))):
            _complete(action, option.type)
    return root


def _complete(action: argparse.Action, kind: object) -> None:
    """Set how an argument is completed: by its choices, or by file names if it is text."""
    import shtab

    if values := _values(kind):
        action.choices = values
    elif kind is str or str in chain.from_iterable((one, *get_args(one)) for one in get_args(kind)):
        action.complete = shtab.FILE  # type: ignore[attr-defined]


def _values(kind: object) -> list[str]:
    """Return the values of a type, or none if it also takes others."""
    if kind is bool:
        return ["true", "false"]
    if get_origin(kind) is Literal:
        return [str(one) for one in get_args(kind)]
    parts = [_values(one) for one in get_args(kind) if one is not NoneType]
    return [*chain(*parts)] if all(parts) else []
