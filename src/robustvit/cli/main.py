"""The command line: every command is a public function, whose signature and docstring are its options and help."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

from robustvit.cli.arguments import normalize
from robustvit.cli.help import ALL, help_text
from robustvit.cli.messages import explain_mistake
from robustvit.cli.streams import prepare_streams
from robustvit.common.command_options import add_arguments, at_home, options_of
from robustvit.common.errors import UserError, did_you_mean, printable
from robustvit.common.former_spellings import former_spellings
from robustvit.common.signals import raise_on_signals, stop_behind

# The function of each command, by stage of the work.
STAGES: dict[str, dict[str, str]] = {
    "start": {"doctor": "cli.doctor.doctor", "demo": "cli.demo.demo", "app": "webapp.app.app"},
    "check a model": {
        "audit": "audits.audit.audit",
        "explain": "explanation.explain.explain",
        "evaluate": "evaluation.evaluate.evaluate",
        "classes": "evaluation.classes.classes.classes",
    },
    "improve it": {
        "masks": "masks.make.make_masks",
        "finetune": "training.finetune.finetune",
        "report": "sharing.report.report",
        "search": "experiments.search.search",
        "sweep": "experiments.sweep.sweep",
    },
    "share it": {"export": "sharing.export.export", "push": "sharing.push.push"},
    "research": {
        "shifts": "data.shifts.shifts.shifts",
        "faithfulness": "explanation.faithfulness.faithfulness",
        "subset": "explanation.subsets.subset.subset",
        "table": "evaluation.records.table.table",
        "reproduce": "experiments.reproduce.reproduce",
    },
    "shell": {"completion": "cli.completion.completion"},
}
COMMANDS: dict[str, str] = {name: path for commands in STAGES.values() for name, path in commands.items()}
_JSON = "--json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. A mistake of the user gives one line on the error stream and exit code 2."""
    if arguments is None:
        prepare_streams()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if arguments[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(version("robustvit"))
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS) or f"expected one of {', '.join(COMMANDS)}"
        return _fail("robustvit", f"unknown command {name!r}: {hint}")
    try:
        with raise_on_signals():
            return _run(name, arguments[1:])
    except UserError as error:
        return _fail(f"robustvit {name}", str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _fail(
            f"robustvit {name}", f"{error.strerror or error}{where}; check the path, its permissions and the disk"
        )
    except (KeyboardInterrupt, Exception) as error:
        return _interrupted(name, stop_behind(error) or error)


def _interrupted(name: str, error: BaseException) -> int:
    """Say why a command was interrupted, and how to resume it."""
    again = "resume with the same command and --resume" if name == "finetune" else "run the same command to resume"
    from robustvit.common.workers import describe_lost_memory, job_rank, lost_process

    if isinstance(error, Exception):
        if told := describe_lost_memory(error):
            return _fail(f"robustvit {name}", told)
        if not lost_process(error):
            raise error
        return _fail(f"robustvit {name}", f"another process of this job died; everything saved is intact: {again}", 1)
    code = getattr(error, "exit_code", 130)
    if job_rank() == 0:  # with several processes, one line is enough
        said = str(error) or "stopped"
        _fail(f"robustvit {name}", f"{said}: {again}" if getattr(error, "run", None) else said)
    return code


def _fail(program: str, message: str, code: int = 2) -> int:
    print(f"{program}: {printable(' '.join(message.split()))}", file=sys.stderr)
    return code


def _overview() -> str:
    stages = "\n\n".join(
        "\n".join([f"{stage}:", *(f"  {name:<13} {summary(name)}" for name in commands)])
        for stage, commands in STAGES.items()
    )
    return (
        "usage: robustvit COMMAND [OPTIONS]\n\n"
        "Finetune a vision transformer so that its relevance map lies on the object, not on the "
        f"background.\n\n{stages}\n\n"
        f"robustvit COMMAND --help shows a command's most important options, {ALL} all of them.\n"
        "Every command takes --config FILE, --print_config and --json.\nexample: robustvit demo"
    )


def summary(name: str) -> str:
    """Return the first line of a command's docstring, read from its source: importing every command takes longer."""
    module, _, function = COMMANDS[name].rpartition(".")
    source = Path(__file__).parents[1].joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8")
    found = re.search(rf'^def {function}\(.*?^    """(.*?)$', source, re.MULTILINE | re.DOTALL)
    return found[1].rstrip('"') if found else ""


def function_of(name: str) -> Callable[..., Any]:
    """Import the function of a command."""
    module, _, function = COMMANDS[name].rpartition(".")
    return getattr(importlib.import_module(f"robustvit.{module}"), function)


def _run(name: str, arguments: list[str]) -> int:
    function = function_of(name)
    if ALL in arguments:
        print(help_text(name, function, everything=True))
        return 0
    parser, positional = parser_of(name, function)
    given = normalize([word for word in arguments if word != _JSON], function)
    _check_config_files(given, function)
    options = parser.parse_args(given)
    values = options.as_dict()
    values.pop("config", None)
    as_json = values.pop("json", False) or _JSON in arguments
    values = {key: at_home(value) for key, value in values.items()}
    leading = [values.pop(key) for key in positional]
    from robustvit.common.progress import saying_once

    with ExitStack() as during:
        if name != "app":  # which runs for days
            during.enter_context(saying_once())
        if as_json:  # anything printed on the way must not mix with the JSON output
            during.enter_context(redirect_stdout(sys.stderr))
        result = function(*leading, **values)
    from robustvit.common.workers import job_rank

    if job_rank() == 0:
        _print(result, as_json)
    return getattr(result, "exit_code", 0)


def _check_config_files(arguments: list[str], function: Callable[..., Any]) -> None:
    """Refuse configuration files with options that the command does not have."""
    files = [word.removeprefix("--config=") for word in arguments if word.startswith("--config=")]
    files += [arguments[at + 1] for at, word in enumerate(arguments[:-1]) if word == "--config"]
    if not files:
        return
    from robustvit.common.yaml_files import check_known, read_mapping

    known = [*(option.name for option in options_of(function)), *former_spellings(function).renamed, "json"]
    for file in files:
        check_known(read_mapping(file), known, file)


def _print(result: object, as_json: bool) -> None:
    if as_json:
        from robustvit.cli.json_output import document

        print(document(result))
    elif result is not None:
        print(printable(str(result)))


def parser_of(name: str, function: Callable[..., Any]) -> tuple[Any, list[str]]:
    """Return a command's parser and the names of its positional arguments.

    Keyword-only parameters of the function are options, the others are positional.
    """
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
    positional = [option.name for option in options if option.positional]
    # Allow abbreviations, as argparse does; jsonargparse warns unless told.
    parser = Parser(prog=f"robustvit {name}", allow_abbrev=True)
    parser.add_argument("--config", action="config")
    # For configuration files that contain json: true; --print_config never writes it.
    parser.add_argument(_JSON, action="store_true", default=argparse.SUPPRESS)
    add_arguments(parser, options)
    kinds = {option.name: option.type for option in options}
    for old, new in former_spellings(function).renamed.items():  # for configuration files, too; no help shows them
        parser.add_argument(f"--{old}", type=kinds[new], default=argparse.SUPPRESS)
    return parser, positional


if __name__ == "__main__":
    sys.exit(main())
