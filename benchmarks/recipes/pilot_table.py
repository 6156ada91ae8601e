"""The record of the pilots, and its table for docs/explanation/study.md: each against the recipe as it is.

    python -m benchmarks.recipes.pilot_table [--work runs/pilots]

Writes ``pilots-DATE.json``, with every answer, and ``pilots-DATE.md``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.dated import parser_of, write_dated
from benchmarks.page_tables import table
from benchmarks.recipes.page import cell
from benchmarks.recipes.pilot_changes import BASE, ORDERS, PILOTS, PLAIN, SOUP
from robustvit.common.intervals import ClusteredAnswers, Interval, crossed_difference, for_several
from robustvit.common.provenance import versions
from robustvit.common.wording import pluralize

TESTS = {"ordinary": "ordinary", "mixed-other": "mixed-other", "unseen": "unseen backgrounds"}
SHARES = {"1": "as trained", "0.6": "at a share of 0.6"}
COLUMNS = {(share, test): f"{title}, {said}" for share, said in SHARES.items() for test, title in TESTS.items()}
SAME = (PLAIN, *ORDERS)
SAYS = {name: pilot.says for name, pilot in PILOTS.items() if name not in SAME} | {
    SOUP: "mean of the weights of the three runs (soup)"
}
ABOUT = (
    "One change at a time in the recommended recipe (10 drawn masks a class, 112 px, bfloat16), judged on 100 "
    "validation photos: as they are, each on 5 backgrounds of other classes, and each on 5 photos of COCO without "
    "animals. Changes in points against the mean of two or three runs of the recipe that differ in the order of the "
    "photos, crops and swaps alone. 95 % intervals cover photos, backgrounds and the spread between such runs, not "
    "other base models; bold where they exclude zero. Shares of the trained weights are fixed. Every change has one "
    "setting."
)
Column = tuple[str, str]  # share of the trained weights, and what was measured
Cells = list[dict[str, Any]]


@dataclass(frozen=True)
class Pilots:
    """A record's cells and pairs.

    Attributes:
        cells: by pilot and base model.
        pairs: photo and background of every answer, by test.
    """

    cells: dict[str, Any]
    pairs: dict[str, list[tuple[int, int]]]

    @property
    def seeds(self) -> list[int]:
        """Base models on which the recipe was run in more than one order."""
        found = sorted({int(name.rsplit("-", 1)[1]) for name in self.cells})
        return [seed for seed in found if all(f"{name}-{seed}" in self.cells for name in SAME[:2])]

    @property
    def same(self) -> list[str]:
        """Runs of the recipe, which differ in the order alone."""
        return [name for name in SAME if self.of(name)]

    def of(self, name: str) -> Cells:
        """Cells of a pilot, by base model; none if it did not run on all of them."""
        found = [self.cells.get(f"{name}-{seed}") for seed in self.seeds]
        return [one for one in found if one] if all(found) else []

    @property
    def names(self) -> list[str]:
        """Pilots that ran on all base models."""
        return [name for name in SAYS if self.of(name)]

    def answers(self, cells: Iterable[dict[str, Any]], column: Column) -> ClusteredAnswers:
        """Answers of some models to one test; those of all models to one object belong together."""
        found = [[int(one) for one in answered(cell, column)] for cell in cells]
        photos, donors = zip(*self.pairs[column[1]] * len(found), strict=True)
        return ClusteredAnswers(list(chain(*found)), photos, donors)

    def spread(self, column: Column) -> tuple[float, int]:
        """Standard deviation of accuracy between runs of the recipe on one base model, and its degrees of freedom."""
        accuracies = np.array([[accuracy([cell], column) for cell in self.of(name)] for name in self.same])
        freedom = (accuracies.shape[0] - 1) * accuracies.shape[1]
        return float(np.sqrt(accuracies.var(axis=0, ddof=1).mean())), freedom

    def change(self, own: Cells, column: Column) -> Interval:
        """How far a pilot is from the mean of the recipe's runs on the same base models, with a 95 % interval.

        Two parts of its variance are added: that over photos and backgrounds, and that between runs, which is taken to
        be the same for every pilot, and has Student's t.
        """
        plain = chain(*(self.of(name) for name in self.same))
        found = crossed_difference(self.answers(plain, column), self.answers(own, column))
        deviation, freedom = self.spread(column)
        of_runs = stats.t.ppf(0.975, freedom) * deviation * np.sqrt((1 + 1 / len(self.same)) / len(own))
        middle, reach = (found.low + found.high) / 2, float(np.hypot(found.half_width, of_runs))
        return Interval(found.mean, middle - reach, middle + reach, found.count)

    def changes(self) -> dict[str, list[Interval]]:
        """Changes by pilot, column by column."""
        return {name: [self.change(self.of(name), column) for column in COLUMNS] for name in self.names}


def answered(cell: dict[str, Any], column: Column) -> str:
    """Right and wrong answers of a model."""
    return str(cell["answers"][column[0]][column[1]])


def accuracy(cells: Cells, column: Column) -> float:
    """Mean accuracy of some models."""
    found = [answered(one, column) for one in cells]
    return float(np.mean([one.count("1") / len(one) for one in found]))


def pilots_of(record: dict[str, Any]) -> Pilots:
    """What a record holds."""
    return Pilots(
        record["cells"], {test: [(photo, at) for photo, at in pairs] for test, pairs in record["pairs"].items()}
    )


def noise(pilots: Pilots) -> str:
    """How far runs of the recipe are apart, how many changes were looked at, and how many chance would show."""
    spreads = [f"{100 * pilots.spread(column)[0]:.1f} ({title})" for column, title in COLUMNS.items()]
    found = list(chain(*pilots.changes().values()))
    together = [for_several(one, len(found)) for one in found]
    alone, jointly = (sum(map(excludes_zero, some)) for some in (found, together))
    return (
        f"{pluralize(len(pilots.names), 'change')} on {pluralize(len(pilots.seeds), 'base model')}. Runs of the recipe "
        f"that differ in the order alone ({len(pilots.same)} on each base model) differ by this many points (standard "
        f"deviation): {', '.join(spreads)}. Of the {len(found)} numbers in the table, {alone} exclude zero by "
        f"themselves, where chance alone would let about {len(found) / 20:.1f}; {jointly} do so with all taken "
        "together (Bonferroni)."
    )


def tables(record: dict[str, Any]) -> dict[str, str]:
    """The table, and how noisy it is, by the names of their markers."""
    pilots = pilots_of(record)
    same = list(chain(*(pilots.of(name) for name in pilots.same)))
    base = [f"{100 * accuracy(pilots.of(BASE), ('1', test)):.1f}" for test in TESTS]
    rows = [["base models, %", *base, *[""] * len(TESTS)]]
    rows.append(["the recipe, %", *(f"{100 * accuracy(same, column):.1f}" for column in COLUMNS)])
    rows += [[SAYS[name], *map(cell, found)] for name, found in pilots.changes().items()]
    return {"pilots": table(["what is changed", *COLUMNS.values()], rows), "pilots, noise": noise(pilots)}


def excludes_zero(change: Interval) -> bool:
    """Whether a change is told from none."""
    return change.low > 0 or change.high < 0


def as_markdown(record: dict[str, Any]) -> str:
    """The table to read, the spread of the runs, and what chance would do."""
    pilots = pilots_of(record)

    def seconds(*names: str) -> float:
        return float(np.mean([one["cpu_seconds"] for name in names for one in pilots.of(name)]))

    times = [f"{name} {seconds(name) / seconds(*pilots.same):.1f}" for name in pilots.names if name != SOUP]
    lines = [
        f"# Pilots, {record['date']}", f"`{record['command']}`", ABOUT,
        f"Base models: {', '.join(map(str, pilots.seeds))}. Runs of the recipe on each: {len(pilots.same)}.",
        tables(record)["pilots"],
        noise(pilots),
        f"Processor time of a run, as a multiple of the recipe's: {', '.join(times)}.",
        "Versions: " + ", ".join(f"{name} {value}" for name, value in record["versions"].items()),
    ]  # fmt: skip
    return "\n\n".join(lines) + "\n"


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--work", type=Path, default=Path("runs/pilots"))
    args = parser.parse_args()
    places = sorted((args.work / "results").glob("*.json"))
    record = {
        "date": date.today().isoformat(),
        "command": "python -m benchmarks.recipes.pilots; python -m benchmarks.recipes.pilot_table",
        "about": ABOUT,
        "versions": versions(),
        "pairs": json.loads((args.work / "pairs.json").read_text(encoding="utf-8")),
        "cells": {place.stem: json.loads(place.read_text(encoding="utf-8")) for place in places},
    }
    write_dated("pilots", record, as_markdown(record), args.out)


if __name__ == "__main__":
    main()
