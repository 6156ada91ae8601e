"""How much processor time the tests take, by room, by module and by test, with what their subprocesses took.

    python -m benchmarks.speed.suite --before benchmarks/results/suite-2026-11-30.json

Runs the quick tests, as ``make test`` does, but in one process, and asks the system before and after each test for the
processor time of the process and of those it started and waited for. Processor time depends little on what else the
machine does, unlike the time on the clock. A test's time holds that of what it is the first to set up: models and
photos that a module or all tests share, and imports.

Every test is written as a line to ``--lines`` once it is measured. Given again, the file is read too, but for modules
that are measured anew: so a suite can be measured in parts (``--only tests/masks``), or some modules of it again.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections import defaultdict
from collections.abc import Generator
from datetime import date
from pathlib import Path
from typing import Any, TextIO

import pytest

from benchmarks.dated import parser_of, write_dated
from robustvit.common.provenance import versions

SHOWN = 30


class ProcessorClock:
    """A plugin of pytest that writes the processor seconds of each test, its own and those of its subprocesses."""

    def __init__(self, lines: TextIO) -> None:
        self.lines = lines
        self.seconds: dict[str, tuple[float, float]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Measure a test with what is set up for it and torn down after it."""
        before = os.times()
        try:
            return (yield)
        finally:
            after = os.times()
            own = after.user + after.system - before.user - before.system
            children = after.children_user + after.children_system - before.children_user - before.children_system
            self.seconds[item.nodeid] = round(own, 3), round(children, 3)
            line = {"test": item.nodeid, "own": round(own, 3), "children": round(children, 3)}
            self.lines.write(json.dumps(line) + "\n")
            self.lines.flush()


def module_of(test: str) -> str:
    return test.partition("::")[0]


def read_lines(path: Path) -> dict[str, tuple[float, float]]:
    """Return the seconds of each test, its own and those of its subprocesses; the newest line of a test counts."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        one = json.loads(line)
        if "test" in one:
            found[one["test"]] = (one["own"], one["children"])
    return found


def summed(tests: dict[str, tuple[float, float]], parts: int) -> dict[str, dict[str, Any]]:
    """Return tests, seconds and seconds of subprocesses by the first parts of a path in ``tests``, largest first."""
    found: defaultdict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0.0])
    for name, (own, children) in tests.items():
        place = "/".join(module_of(name).split("/")[1 : 1 + parts])
        for at, value in enumerate((1, own + children, children)):
            found[place][at] += value
    rows = sorted(found.items(), key=lambda row: -row[1][1])
    return {
        name: {"tests": int(count), "seconds": round(all_, 1), "in_subprocesses": round(children, 1)}
        for name, (count, all_, children) in rows
    }


def as_markdown(record: dict[str, Any], before: dict[str, Any] | None) -> str:
    """Return the record as a page."""
    earlier = {} if before is None else before["rooms"]
    lines = [f"# Processor time of the tests, {record['date']}", "", f"`{record['command']}` on {record['machine']}; "]
    lines += [f"{record['tests']:,} tests, {record['seconds']:.0f} s of one core, {record['in_subprocesses']:.0f} s of "
              "them in subprocesses.", ""]  # fmt: skip
    if before is not None:
        lines += [f"Before: {before['tests']:,} tests, {before['seconds']:.0f} s. {before['about']}".rstrip(), ""]
    if record["about"]:
        lines += [record["about"], ""]
    headings = ["room", "tests", "seconds", "in subprocesses"] + ["before: tests", "before: seconds"] * bool(before)
    lines += [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
    for name, row in record["rooms"].items():
        old = earlier.get(name, {"tests": "", "seconds": ""})
        cells = [name, *row.values(), *[old["tests"], old["seconds"]] * bool(before)]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    for title, rows in (("module", record["modules"]), ("test", record["slowest"])):
        lines += ["", f"| {title} | seconds |", "|---|---|"]
        lines += [f"| `{name}` | {row['seconds'] if isinstance(row, dict) else row} |" for name, row in rows.items()]
    return "\n".join(lines) + "\n"


def time_tests(only: list[str], slow: bool, path: Path) -> dict[str, tuple[float, float]]:
    """Run tests, and return the seconds of all tests that the lines of a file know: of these, and of earlier calls."""
    tests = read_lines(path)
    if not only:
        return tests
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "slow" if slow else "not slow"]
    with path.open("a", encoding="utf-8") as lines:
        clock = ProcessorClock(lines)
        code = pytest.main([*options, *only], plugins=[clock])
    if code:
        sys.exit(f"the tests ended with {code}: fix them first")
    again = {module_of(name) for name in clock.seconds}
    return {name: one for name, one in tests.items() if module_of(name) not in again} | clock.seconds


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--lines", type=Path, default=Path("runs/suite.jsonl"), help="file with a line for each test")
    parser.add_argument(
        "--only", nargs="*", default=["tests"], help="folders or files to run; none: lines alone are read"
    )
    parser.add_argument("--slow", action="store_true", help="the tests of make test-slow instead")
    parser.add_argument("--about", default="", help="a sentence for the record")
    parser.add_argument("--before", type=lambda place: json.loads(Path(place).read_text(encoding="utf-8")))
    args = parser.parse_args()
    args.lines.parent.mkdir(parents=True, exist_ok=True)
    tests = time_tests(args.only, args.slow, args.lines)
    slowest = sorted(tests.items(), key=lambda one: -sum(one[1]))[:SHOWN]
    record = {
        "date": date.today().isoformat(),
        "command": "python -m benchmarks.speed.suite" + " --slow" * args.slow,
        "about": args.about,
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "versions": versions(),
        "tests": len(tests),
        "seconds": round(sum(map(sum, tests.values())), 1),
        "in_subprocesses": round(sum(children for _, children in tests.values()), 1),
        "rooms": summed(tests, 1),
        "modules": dict(list(summed(tests, 2).items())[:SHOWN]),
        "slowest": {name: round(sum(seconds), 2) for name, seconds in slowest},
    }
    write_dated("suite", record, as_markdown(record, args.before), args.out)


if __name__ == "__main__":
    main()
