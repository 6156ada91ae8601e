"""The command line: every command is a public function, whose signature and docstring are its options and help."""

from __future__ import annotations

import codecs
import importlib
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

from robustvit.cli.arguments import JSON, normalize, parser_of
from robustvit.cli.help import ALL, help_text
from robustvit.common.command_options import expand_home, options_of
from robustvit.common.errors import UserError, did_you_mean, printable
from robustvit.common.former_spellings import former_spellings
from robustvit.common.signals import outlive_terminals, raise_on_signals, stop_behind

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. A mistake of the user gives one line on the error stream and exit code 2."""
    if arguments is None:
        prepare_streams()
        outlive_terminals()
        arguments = sys.argv[1:]
    name, *words = arguments or ["--help"]
    if name in ("-h", "--help"):
        print(_overview())
        return 0
    if name in ("-V", "--version"):
        from importlib.metadata import version

        print(version("robustvit"))
        return 0
    if name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS) or f"expected one of {', '.join(COMMANDS)}"
        return _fail("robustvit", f"unknown command {name!r}: {hint}")
    try:
        with raise_on_signals():
            return _run(name, words)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (KeyboardInterrupt, Exception) as error:
        return _explain(name, error)


def _explain(name: str, error: BaseException) -> int:
    """Print why a command failed or was interrupted, and what to do; return its exit code."""
    program = f"robustvit {name}"
    if isinstance(error, UserError):
        return _fail(program, str(error))
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        return _fail(program, f"{error.strerror or error}{where}; check the path, its permissions and the disk")
    error = stop_behind(error) or error
    again = "resume with the same command and --resume" if name == "finetune" else "run the same command to resume"
    from robustvit.common.workers import describe_lost_memory, job_rank, lost_process

    if isinstance(error, Exception):
        if told := describe_lost_memory(error):
            return _fail(program, told)
        if not lost_process(error):
            raise error
        return _fail(program, f"another process of this job died; everything saved is intact: {again}", 1)
    if job_rank() == 0:  # with several processes, one line is enough
        said = str(error) or "stopped"
        _fail(program, f"{said}: {again}" if getattr(error, "run", None) else said)
    return getattr(error, "exit_code", 130)


def _fail(program: str, message: str, code: int = 2) -> int:
    print(f"{program}: {printable(' '.join(message.split()))}", file=sys.stderr)
    return code


def _overview() -> str:
    stages = "\n\n".join(
        "\n".join([f"{stage}:", *(f"  {name:<13} {read_summary(name)}" for name in commands)])
        for stage, commands in STAGES.items()
    )
    return (
        "usage: robustvit COMMAND [OPTIONS]\n\n"
        "Finetune a vision transformer so that its relevance map lies on the object, not on the "
        f"background.\n\n{stages}\n\n"
        f"robustvit COMMAND --help shows a command's most important options, {ALL} all of them.\n"
        "Every command takes --config FILE, --print_config and --json.\nexample: robustvit demo"
    )


def read_summary(name: str) -> str:
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
    given = normalize([word for word in arguments if word != JSON], function)
    _check_config_files(given, function)
    options = parser.parse_args(given)
    values = options.as_dict()
    values.pop("config", None)
    as_json = values.pop("json", False) or JSON in arguments
    values = {key: expand_home(value) for key, value in values.items()}
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
        from robustvit.cli.json_output import to_json

        print(to_json(result))
    elif result is not None:
        print(printable(str(result)))


def prepare_streams() -> None:
    """Print escapes for letters that the output cannot hold, and read file names as UTF-8 in any locale.

    The code page of a Windows pipe and some locales lack letters, which would otherwise end a command after its work.
    Names in UTF-8, such as café.jpg, are not text in an ASCII locale and other text in one of Latin-1: neither matches
    lists, class names and folders of runs that were written elsewhere. So the process is replaced by the same command
    in UTF-8 mode, which newer versions of Python use by themselves.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    foreign = os.name == "posix" and codecs.lookup(sys.getfilesystemencoding()).name != "utf-8"
    if foreign and not sys.flags.utf8_mode and len(sys.orig_argv) > 1:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
