"""The tables of docs/explanation/study.md, put between its markers from newest records: recipes, pilots, study.

    python -m benchmarks.study.docs

A marker is a comment, ``<!-- NAME -->`` ... ``<!-- end -->``; what lies between is replaced.
"""

from __future__ import annotations

import re
from typing import Any

from benchmarks.page_tables import RESULTS, ROOT, change, newest, table
from benchmarks.recipes.page import tables as recipe_tables
from benchmarks.recipes.pilot_table import tables as pilot_tables
from benchmarks.study.arms import ABLATIONS, METHODS, TITLES
from robustvit.common.files import write_text

Groups = dict[str, dict[str, Any]]  # by the title of the column, then by arm


def settings(record: dict[str, Any]) -> Groups:
    """All groups of runs in which methods were compared, by a title for a column."""
    found = {}
    for testbed, groups in record["testbeds"].items():
        for name, arms in groups.items():
            found[f"{testbed}: {name.removesuffix(' a class')}"] = arms
    return found


def order(title: str) -> tuple[bool, bool, int]:
    """Embedded first, then drawn masks before found ones, few before many."""
    number = int(next(word for word in title.split() if word.isdigit()))
    return title.startswith("photos"), "TokenCut" in title, number


def tally(measures: list[dict[str, Any]]) -> str:
    """In how many of all runs accuracy rose."""
    gains = [gain for found in measures for gain in found["by_seed"]]
    return f"{sum(gain > 0 for gain in gains)} of {len(gains)}"


def across(groups: Groups, measure: str, chosen: dict[str, Any] = METHODS, counted: bool = False) -> str:
    """One measure of some arms in all settings in which most of them were run."""
    most = len(chosen) / 2
    titles = sorted((title for title in groups if sum(arm in groups[title] for arm in chosen) > most), key=order)
    before = [next(iter(groups[title].values()))["measures"][measure]["before"] for title in titles]
    rows = [["base model", *[""] * counted, *(f"{value:.1f}" for value in before)]]
    for arm in chosen:
        found = [groups[title][arm]["measures"] if arm in groups[title] else None for title in titles]
        run = [measures[measure] for measures in found if measures]
        rows.append([TITLES.get(arm, arm), *[tally(run)] * counted, *(change(measures, measure) for measures in found)])
    return table(["", *["runs that gain"] * counted, *titles], rows)


def tables(record: dict[str, Any]) -> dict[str, str]:
    """Tables of the study by the name of their markers."""
    groups = settings(record)
    attention = {"attention": METHODS["attention"]}
    return {
        "mixed-rand": across(groups, "mixed-rand", counted=True),
        "mixed-rand ablations": across(groups, "mixed-rand", attention | ABLATIONS, counted=True),
    }


def filled(text: str) -> str:
    """The page with its tables made anew."""
    found = tables(newest(RESULTS, "study")[1]) | recipe_tables(newest(RESULTS, "recipes")[1])
    if any(RESULTS.glob("pilots-20*.json")):
        found |= pilot_tables(newest(RESULTS, "pilots")[1])
    for name, content in found.items():
        between = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = between.sub(lambda found, content=content: f"{found[1]}\n{content}\n\n{found[2]}", text)
    return text


def main() -> None:
    page = ROOT / "docs" / "explanation" / "study.md"
    write_text(filled(page.read_text(encoding="utf-8")), page)


if __name__ == "__main__":
    main()
