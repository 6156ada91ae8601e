"""The command line: every command is a public function, its options and help are that function's signature and docs."""

from __future__ import annotations

import ast
import importlib
import inspect
import keyword
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from robustvit.errors import UserError, printable

__all__ = ["COMMANDS", "function_of", "main"]

# Where each command's function is.
COMMANDS: dict[str, str] = {
    "finetune": "finetuning.finetune",
    "evaluate": "evaluation.evaluate",
    "audit": "auditing.audit",
    "explain": "explanation.explain",
    "app": "application.app",
    "masks": "mask_making.make_masks",
    "faithfulness": "method_comparison.faithfulness",
    "shifts": "shifting.shifts",
    "classes": "class_analysis.classes",
    "subset": "subset_panels.subset",
    "search": "rate_search.search",
    "sweep": "sweeping.sweep",
    "report": "reports.report",
    "table": "tables.table",
    "reproduce": "reproduction.reproduce",
    "demo": "demonstration.demo",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what the user got wrong is one line on the error stream and exit code 2."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if arguments[0] in ("-V", "--version"):
        print(importlib.import_module("robustvit").__version__)
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        return _fail("robustvit", f"unknown command {name!r}: expected one of {', '.join(COMMANDS)}")
    try:
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
    except KeyboardInterrupt:
        return _fail(f"robustvit {name}", "stopped", code=130)


def _fail(program: str, message: str, code: int = 2) -> int:
    print(f"{program}: {printable(' '.join(message.split()))}", file=sys.stderr)
    return code


def _overview() -> str:
    rows = "\n".join(f"  {name:<13} {_summary(place)}" for name, place in COMMANDS.items())
    return (
        "usage: robustvit COMMAND [OPTIONS]\n\n"
        "Finetune the relevance map of a vision transformer onto the object, so that it stops looking at the "
        f"background.\n\ncommands:\n{rows}\n\n"
        "robustvit COMMAND --help lists a command's options; every command takes --config FILE and --print_config.\n"
        "example: robustvit demo"
    )


def _summary(place: str) -> str:
    """First line of a command's docstring, read without importing anything heavy."""
    module, _, function = place.partition(".")
    spec = find_spec(f"robustvit.{module}")
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8")) if spec and spec.origin else ast.Module([], [])
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return (ast.get_docstring(node) or "").splitlines()[0]
    return ""


def function_of(name: str) -> Callable[..., Any]:
    """The function behind a command."""
    module, _, function = COMMANDS[name].partition(".")
    return getattr(importlib.import_module(f"robustvit.{module}"), function)


def _run(name: str, arguments: list[str]) -> int:
    function = function_of(name)
    parser, positional = _parser(name, function)
    options = parser.parse_args(_normalised(arguments, function))
    values = options.as_dict()
    values.pop("config", None)
    leading = [values.pop(key) for key in positional]
    result = function(*leading, **values)
    if result is not None and os.environ.get("RANK", "0") == "0":
        print(result)
    return getattr(result, "exit_code", 0)


def _parser(name: str, function: Callable[..., Any]) -> tuple[Any, list[str]]:
    """A parser of the function's signature: keyword-only parameters are options, the others are positional."""
    from jsonargparse import ArgumentParser

    class Parser(ArgumentParser):
        def error(self, message: str, ex: Exception | None = None) -> Any:
            raise UserError(f"{_shortened(message)}; robustvit {name} --help lists the options")

        def format_help(self, *details: Any) -> str:
            return re.sub(
                r"--(?!print_config)[a-z_]+",
                lambda found: found[0].rstrip("_").replace("_", "-"),
                super().format_help(*details),
            )

    doc = inspect.getdoc(function) or ""
    description, _, example = doc.partition("\nExample:\n")
    parser = Parser(
        prog=f"robustvit {name}",
        description=description.split("\nArgs:\n")[0].strip(),
        epilog=f"example: {' '.join(example.split())}" if example else None,
    )
    parser.add_argument("--config", action="config", help="YAML file with any of these options.")
    parameters = inspect.signature(function).parameters
    positional = [key for key, value in parameters.items() if value.kind is not inspect.Parameter.KEYWORD_ONLY]
    helps = _argument_helps(doc)
    for key in positional:
        many = str(parameters[key].annotation).startswith("list")
        optional = parameters[key].default is not inspect.Parameter.empty
        parser.add_argument(key, nargs="+" if many else "?" if optional else None, type=str, help=helps.get(key))
    parser.add_function_arguments(function, skip=set(positional), fail_untyped=False, as_group=False)
    return parser, positional


def _shortened(message: str) -> str:
    """jsonargparse's words about a value that is not among the choices, as a user would say it."""
    found = re.search(r'key "(\w+)":.*?typing\.Literal\[(.*?)\].*(?:Given|Got) value: (\S+)', message, re.DOTALL)
    if not found:
        return message
    option, choices, value = found.groups()
    option, choices = option.rstrip("_").replace("_", "-"), choices.replace("'", "")
    return f"expected --{option} to be one of {choices}, got {value}"


def _argument_helps(doc: str) -> dict[str, str]:
    import docstring_parser

    return {entry.arg_name: (entry.description or "") for entry in docstring_parser.parse(doc).params}


def _normalised(arguments: list[str], function: Callable[..., Any]) -> list[str]:
    """Accept ``--max-drop`` for ``--max_drop``, and a bare ``--resume`` for ``--resume true``."""
    flags = {k for k, v in inspect.signature(function).parameters.items() if v.annotation in (bool, "bool")}
    found: list[str] = []
    for position, argument in enumerate(arguments):
        if argument.startswith("--"):
            option, equals, value = argument.partition("=")
            option = "--" + option[2:].replace("-", "_")
            option += "_" * keyword.iskeyword(option[2:])  # --from is from_ in Python
            following = arguments[position + 1] if position + 1 < len(arguments) else ""
            if not equals and option[2:] in flags and following.lower() not in ("true", "false"):
                equals, value = "=", "true"
            argument = option + equals + value
        found.append(argument)
    return found


if __name__ == "__main__":
    sys.exit(main())
