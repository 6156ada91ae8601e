"""The rooms of the package: each module lies in one, imports run one way, and a public name has one module."""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from itertools import chain
from pathlib import Path

import grimp
import pytest

# From the ground up; rooms of one floor do not import each other.
FLOORS = (
    ("common",),
    ("models",),
    ("data",),
    ("explanation",),
    ("guidance", "masks", "evaluation"),
    ("training", "audits"),
    ("experiments", "sharing", "webapp"),
    ("cli",),
)
ROOMS = tuple(chain.from_iterable(FLOORS))
SOURCE = Path(__file__).parents[2] / "src" / "robustvit"
MOST_FLOORS = 10  # of rooms, those within rooms counted too


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Imports of all modules, those within functions and those for type checkers too; no cache is left behind."""
    return grimp.build_graph("robustvit", cache_dir=None)


def room_of(module: str) -> str:
    return module.split(".")[1]


def imports(graph: grimp.ImportGraph) -> list[tuple[str, str]]:
    """Pairs of modules; what the package itself hands on to users does not count."""
    inside = sorted(graph.modules - {"robustvit"})
    return [(one, other) for one in inside for other in sorted(graph.find_modules_directly_imported_by(one))]


def longest_chain(arrows: dict[str, set[str]]) -> int:
    """How many lie on the longest way along arrows that have no circle."""

    @cache
    def floors(place: str) -> int:
        return 1 + max(map(floors, arrows.get(place, ())), default=0)

    return max(map(floors, arrows))


def together(arrows: dict[str, set[str]]) -> dict[str, set[str]]:
    """The arrows between groups of places that reach one another; every group is named by its first place."""
    reached: dict[str, set[str]] = {}
    for place in {*arrows, *chain.from_iterable(arrows.values())}:
        seen, left = set(), [place]
        while left:
            for other in arrows.get(left.pop(), set()) - seen:
                seen.add(other)
                left.append(other)
        reached[place] = seen
    name = {one: min([one, *(other for other in seen if one in reached[other])]) for one, seen in reached.items()}
    found: dict[str, set[str]] = {name[one]: set() for one in reached}
    for one, others in arrows.items():
        found[name[one]] |= {name[other] for other in others} - {name[one]}
    return found


def test_every_module_lies_in_one_of_thirteen_rooms(graph):
    assert len(ROOMS) == len(set(ROOMS)) == 13
    assert graph.find_children("robustvit") == {f"robustvit.{room}" for room in ROOMS}
    for room in ROOMS:
        assert graph.find_children(f"robustvit.{room}"), f"{room} is a file: modules lie in rooms"


def test_no_room_bears_the_name_of_a_public_function():
    """Importing robustvit.audit.x would set robustvit.audit to the module and hide the function of that name."""
    import robustvit

    assert set(ROOMS) & set(robustvit.__all__) == set()


def test_rooms_import_rooms_below_them_only(graph):
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    wrong = [
        f"{one} imports {other}"
        for one, other in imports(graph)
        if other == "robustvit" or (room_of(one) != room_of(other) and floor[room_of(other)] >= floor[room_of(one)])
    ]
    assert wrong == []


def test_modules_import_one_another_in_no_circle(graph):
    arrows: dict[str, set[str]] = {}
    for one, other in imports(graph):
        arrows.setdefault(one, set()).add(other)
    circles = set(arrows) - set(together(arrows))
    assert circles == set(), "these import something that imports them"


def test_the_house_has_few_floors(graph):
    def place_of(module: str) -> str:
        return module if graph.find_children(module) else module.rpartition(".")[0]

    arrows: dict[str, set[str]] = {}
    for one, other in imports(graph):
        if place_of(one) != place_of(other):
            arrows.setdefault(place_of(one), set()).add(place_of(other))
    assert len(FLOORS) <= longest_chain(together(arrows)) <= MOST_FLOORS


def test_no_test_imports_another():
    import ast
    from pathlib import Path

    tests = Path(__file__).parents[1]
    names = {path.stem for path in tests.rglob("test_*.py")} | {"conftest"}
    for path in tests.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {part for name in named for part in name.split(".")} & names, f"{path.name}:{node.lineno}"


def test_two_test_modules_never_share_a_name():
    """Pytest imports them by name alone, so that two of a name run in their rooms but not together."""
    names = Counter(path.name for path in Path(__file__).parents[1].rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_every_room_has_its_tests():
    from pathlib import Path

    tests = Path(__file__).parents[1]
    assert {path.name for path in tests.iterdir() if path.is_dir() and any(path.glob("test_*.py"))} >= set(ROOMS)


def names_in(body: list[ast.stmt]) -> set[str]:
    """Names that a module has once it is imported, those under conditions too."""
    found: set[str] = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(one.asname or one.name).partition(".")[0] for one in node.names}
        else:
            inner = [one for one in ast.iter_child_nodes(node) if isinstance(one, ast.stmt)]
            found |= names_in([*inner, *chain.from_iterable(one.body for one in getattr(node, "handlers", ()))])
            found |= {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    return found


def test_every_name_that_is_imported_from_the_package_exists():
    """Also within functions; mypy ignores modules that are missing."""
    import robustvit

    known = {"robustvit": set(robustvit.__all__) | {"__version__"}}
    for path in SOURCE.rglob("*.py"):
        parts = ("robustvit", *path.relative_to(SOURCE).with_suffix("").parts)
        module = ".".join(parts).removesuffix(".__init__")
        known.setdefault(module, set()).update(names_in(ast.parse(path.read_text(encoding="utf-8")).body))
        while "." in module:
            module, _, name = module.rpartition(".")
            known.setdefault(module, set()).add(name)
    wrong, seen, root = [], 0, SOURCE.parents[1]
    for path in chain.from_iterable(
        (root / one).rglob("*.py") for one in ("src", "tests", "benchmarks", "scripts", "examples")
    ):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "robustvit":
                wanted = [f"{node.module}.{one.name}" for one in node.names]
                wanted = [one for one in wanted if one.rpartition(".")[2] not in known.get(one.rpartition(".")[0], ())]
            elif isinstance(node, ast.Import):
                wanted = [one.name for one in node.names if one.name.partition(".")[0] == "robustvit"]
                wanted = [one for one in wanted if one not in known]
            else:
                continue
            seen += 1
            wrong += [f"{path.relative_to(root)}:{node.lineno} imports {one}" for one in wanted]
    assert seen > 1000, "the project was not read"
    assert wrong == []


def test_chains_and_circles_are_told():
    assert longest_chain({"a": {"b", "c"}, "b": {"c"}}) == 3
    assert together({"a": {"b"}, "b": {"a", "c"}}) == {"a": {"c"}, "c": set()}


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
    for path in sorted(SOURCE.rglob("*.py")):
        for name in public_names(path):
            places.setdefault(name, []).append(str(path.relative_to(SOURCE)))
    assert len(places) > 1000, "the package was not read"
    assert {name: where for name, where in places.items() if len(where) > 1} == {}
