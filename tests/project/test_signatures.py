"""Signatures stay readable: few parameters, and types that say something."""

from __future__ import annotations

import ast
import re
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "robustvit"
FILES = sorted(SOURCE.rglob("*.py"))
MOST_PARAMETERS, MOST_ANY = 8, 40


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    given = function.args
    return [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs) if one.arg not in ("self", "cls")]


def is_command(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("command" in ast.unparse(one).partition("(")[0] for one in function.decorator_list)


def test_a_function_that_is_no_command_has_few_parameters():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_command(node):
                count = len(parameters(node))
                assert count <= MOST_PARAMETERS, f"{path}: {node.name} has {count} parameters"


def test_few_lines_name_any_type():
    lines = [line for path in FILES for line in path.read_text(encoding="utf-8").splitlines()]
    found = [line.strip() for line in lines if re.search(r": Any\b", line)]
    assert len(found) <= MOST_ANY, f"{len(found)} lines with : Any: {found}"
