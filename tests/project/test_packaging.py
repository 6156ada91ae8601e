"""What is given away: the wheel holds all that the package reads and works alone, the archive of sources no rubbish."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import robustvit

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "robustvit"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def requirements() -> list[tuple[str, object]]:
    from packaging.requirements import Requirement

    groups = {"dependencies": PROJECT["project"]["dependencies"], **PROJECT["project"]["optional-dependencies"]}
    return [(group, Requirement(line)) for group, lines in groups.items() for line in lines]


def test_every_dependency_has_a_lower_bound_and_none_is_pinned():
    for group, one in requirements():
        operators = {clause.operator for clause in one.specifier}
        assert "==" not in operators, f"{group}: {one} is pinned"
        assert ">=" in operators, f"{group}: {one} has no lower bound, so nothing can be tested at it"


def test_a_package_has_the_same_bounds_wherever_it_is_named():
    seen: dict[str, object] = {}
    for _, one in requirements():
        assert seen.setdefault(one.name, one.specifier) == one.specifier, one.name


def test_versions_are_semantic_and_in_one_place():
    assert "version" in PROJECT["project"]["dynamic"]
    assert (ROOT / PROJECT["tool"]["hatch"]["version"]["path"]) == PACKAGE / "__init__.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+", robustvit.__version__)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Wheel and archive of sources, the wheel made from the archive, without a network."""
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    out = tmp_path_factory.mktemp("dist")
    command = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--skip-dependency-check",
        "--outdir",
        str(out),
        str(ROOT),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def tracked(folder: Path) -> set[str]:
    """Files below a folder, less what Python and editors leave there."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }


def below(place: str) -> set[str]:
    """Files in a folder of the project, hidden folders' too, by their places in it."""
    return {f"{place}/{name}" for name in tracked(ROOT / place)}


def test_no_dependency_is_unused_or_undeclared():
    """The first half of ``make audit``, which needs no network."""
    pytest.importorskip("deptry")
    command = [sys.executable, "-m", "deptry", "src"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"NO_COLOR": "1"})
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        for name in held:
            assert archive.read(name) == (PACKAGE.parent / name).read_bytes(), name
        (licence,) = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
    assert held == {f"robustvit/{name}" for name in tracked(PACKAGE)}
    some = ("py.typed", "data/embedded/model/model.safetensors", "sharing/report.html.j2", "models/cards/vit-b.yaml")
    some += (
        "experiments/sweeps/seeds.yaml",
        "evaluation/records/reported/table1.json",
        "evaluation/sets/classes/si_score.yaml",
    )
    assert {f"robustvit/{name}" for name in some} <= held


@pytest.mark.slow
def test_the_archive_of_sources_can_be_tested_and_holds_no_rubbish(built):
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        sizes = {entry.name.partition("/")[2]: entry.size for entry in opened if entry.isfile()}
    assert {f"src/robustvit/{name}" for name in tracked(PACKAGE)} <= set(sizes)
    assert {f"tests/{name}" for name in tracked(ROOT / "tests")} <= set(sizes)
    assert {"README.md", "LICENSE", "CITATION.cff", "CHANGELOG.md", "Makefile", "noxfile.py", "pyproject.toml"} <= set(
        sizes
    )
    read_by_tests = {name for place in (".ci", ".github", "examples", "scripts", "benchmarks") for name in below(place)}
    assert read_by_tests | {"mkdocs.yml", ".pre-commit-config.yaml"} <= set(sizes)
    wrong = [name for name in sizes if re.search(r"(^|/)(runs|dist|build|\.venv|\.nox|__pycache__|\.git)/", name)]
    assert wrong == []
    big = {name for name, size in sizes.items() if size > 1e6}
    assert big == {"src/robustvit/data/embedded/model/model.safetensors"}
    assert archive.stat().st_size < 16e6


ALONE = """
import io, json, sys
from contextlib import redirect_stdout
from robustvit.cli.main import main

found = {}
for line in (
    "--version",
    "doctor --device cpu --json",
    "table table1 --format html",
    "sweep seeds --base base.yaml --out s --dry-run",
):
    with redirect_stdout(io.StringIO()) as said:
        code = main(line.split())
    found[line.split()[0]] = [code, said.getvalue()]
print(json.dumps(found))
"""


@pytest.mark.slow
def test_the_wheel_works_alone(built, tmp_path):
    """Imported from the unpacked wheel, from another folder: embedded model, map, guided steps, templates, tables."""
    (wheel,) = built.glob("*.whl")
    alone, home = tmp_path / "alone", tmp_path / "elsewhere"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(alone)
    home.mkdir()
    (home / "base.yaml").write_text("model: vit-b\nimages: photos\nmasks: masks\n")
    # PYTHONPATH stands before site-packages, and so before an editable installation.
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        cwd=home,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(alone)},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [code for code, _ in found.values()] == [0, 0, 0, 0]
    said = {name: text for name, (_, text) in found.items()}
    assert said["--version"].strip() == robustvit.__version__
    seen = json.loads(said["doctor"])
    assert seen["package"] == str(alone / "robustvit")
    assert seen["versions"]["robustvit"] == robustvit.__version__
    assert [one["passed"] for one in seen["checks"]] == [True] * 5, seen["checks"]
    assert "ViT-B" in said["table"]
    assert "seed" in said["sweep"]
