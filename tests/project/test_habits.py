"""The files that hold the project together agree with one another: targets, versions, dates, templates."""

from __future__ import annotations

import re
import shlex
import tomllib
from datetime import date
from pathlib import Path

import pytest
import yaml

import robustvit

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def read(path: Path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_targets_are_not_files():
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert set(phony.split()) == TARGETS


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_run_make_targets_and_nothing_else(path):
    jobs = read(path)["jobs"]
    lines = [line for job in jobs.values() for step in job["steps"] for line in step.get("run", "").splitlines()]
    assert lines
    for line in lines:
        program, *targets = shlex.split(line)
        assert program == "make", line
        assert targets, line
        assert set(targets) <= TARGETS, line


def test_workflows_run_what_contributors_are_told_to():
    ran = {name for path in WORKFLOWS for name in re.findall(r"run: make ([\w-]+)", path.read_text(encoding="utf-8"))}
    told = set(re.findall(r"^make ([\w-]+)", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert ran == told - {"format"}
    for name in re.findall(r"^make ([\w-]+)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE):
        assert name in TARGETS


def test_the_oldest_python_is_tested():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = project["requires-python"].removeprefix(">=")
    assert oldest in read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert f'@nox.session(python="{oldest}")' in (ROOT / "noxfile.py").read_text(encoding="utf-8")


def test_nox_knows_both_ends_of_the_bounds():
    nox = pytest.importorskip("nox")
    import importlib.util

    spec = importlib.util.spec_from_file_location("noxfile", ROOT / "noxfile.py")
    module = importlib.util.module_from_spec(spec)
    registered = dict(nox.registry._REGISTRY)
    try:
        spec.loader.exec_module(module)
    finally:
        nox.registry._REGISTRY.clear()
        nox.registry._REGISTRY.update(registered)
    for function, resolution in ((module.oldest, "lowest-direct"), (module.newest, "highest")):
        calls = []

        class Session:
            posargs = ("tests/guidance/test_paper_losses.py",)
            install = run = staticmethod(lambda *words, kept=calls: kept.append(words))

        getattr(function, "func", function)(Session())
        bounds, own, doctor, tests = calls
        assert bounds == ("--resolution", resolution, "--requirement", "pyproject.toml", "--extra", "dev")
        assert own == ("--no-deps", ".")
        assert "doctor" in doctor
        assert tests[-1] == "tests/guidance/test_paper_losses.py"


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_issue_forms_are_as_github_reads_them(path):
    form = read(path)
    assert {"name", "description", "body"} <= set(form)
    names = [one["id"] for one in form["body"]]
    assert len(set(names)) == len(names)
    for one in form["body"]:
        assert one["type"] in {"textarea", "input", "dropdown", "checkboxes"}
        assert one["attributes"]["label"]
    assert any(one.get("validations", {}).get("required") for one in form["body"])


def test_a_bug_report_asks_for_the_doctor():
    assert "robustvit doctor" in (ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text(encoding="utf-8")


def test_hooks_use_the_projects_own_tools():
    hooks = [hook for repository in read(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repository["hooks"]]
    assert {hook["id"] for hook in hooks} == {"format", "lint", "check"}
    for hook in hooks:
        program, *words = shlex.split(hook["entry"])
        assert (program == "make" and set(words) <= TARGETS) or program == ".venv/bin/ruff"


def test_citation_agrees_with_the_package():
    citation = read(ROOT / "CITATION.cff")
    assert citation["version"] == robustvit.__version__
    assert citation["license"] == "MIT"
    paper = citation["preferred-citation"]
    assert [one["family-names"] for one in paper["authors"]] == ["Chefer", "Schwartz", "Wolf"]
    assert paper["title"] in (ROOT / "README.md").read_text(encoding="utf-8")


def test_changelog_is_dated_newest_first():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    releases = [re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d{2}-\d{2})", one) for one in headings[1:]]
    assert all(releases), headings
    versions = [tuple(map(int, one.groups()[:3])) for one in releases]
    dates = [date.fromisoformat(one[4]) for one in releases]
    assert versions == sorted(versions, reverse=True)
    assert dates == sorted(dates, reverse=True)
    assert ".".join(map(str, versions[0])) == robustvit.__version__
    assert str(dates[0]) == str(read(ROOT / "CITATION.cff")["date-released"])


def test_every_command_is_described_with_its_json():
    from robustvit.cli.main import COMMANDS

    page = (ROOT / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")
    missing = [name for name in COMMANDS if f"`{name}`" not in page]
    assert missing == []


@pytest.mark.parametrize(
    "name", ["SECURITY.md", "CONTRIBUTING.md", "docs/reference/command-line.md", ".github/pull_request_template.md"]
)
def test_pages_lead_somewhere(name):
    path = ROOT / name
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target
