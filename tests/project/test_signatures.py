"""Code stays readable: few parameters, types that say something, and one thing under one name."""

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


def public_names(path: Path) -> list[str]:
    """Classes, functions and constants that a module defines for others; types that stand for any are not counted."""
    found = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.append(node.name)
        elif isinstance(node, ast.Assign) and "TypeVar" not in ast.unparse(node.value):
            found += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.append(node.target.id)
    return [name for name in found if not name.startswith("_")]


def test_a_public_name_is_one_thing_in_one_module():
    places: dict[str, list[str]] = {}
    for path in FILES:
        for name in public_names(path):
            places.setdefault(name, []).append(str(path.relative_to(SOURCE)))
    assert len(places) > 1000, "the package was not read"
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_few_lines_name_any_type():
    lines = [line for path in FILES for line in path.read_text(encoding="utf-8").splitlines()]
    found = [line.strip() for line in lines if re.search(r": Any\b", line)]
    assert len(found) <= MOST_ANY, f"{len(found)} lines with : Any: {found}"
