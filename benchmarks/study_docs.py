"""The tables of docs/study.md, put between its markers from the newest record of the study.

    python benchmarks/study_docs.py

A marker is a comment, ``<!-- NAME -->`` ... ``<!-- end -->``; what lies between is replaced.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from robustvit.files import write_text
from study_arms import ABLATIONS, METHODS, RATES, TITLES

ROOT = Path(__file__).parent.parent
COLUMNS = {"ordinary": "ordinary", "mixed-rand": "mixed-rand", "shift only-fg": "object alone",
           "shift only-bg-t": "background alone ↓", "miou": "mIoU of the map"}  # fmt: skip
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


def shown(measure: dict[str, Any]) -> str:
    """A change over its interval over photos; bold where that leaves out zero."""
    low, high = measure["over_photos"]
    change = f"{measure['change']:+.1f}"
    return f"{f'**{change}**' if low > 0 or high < 0 else change}<br>[{low:+.1f}, {high:+.1f}]".replace("-", "−")


def across(groups: Groups, measure: str, tally: bool = False) -> list[str]:
    """One measure of all methods in all settings."""
    titles = sorted(groups, key=order)
    base = [next(iter(groups[title].values()))["measures"][measure]["before"] for title in titles]
    lines = [
        "| | " + " | ".join(titles) + (" | runs that gain |" if tally else " |"),
        "|---" * (len(titles) + 1 + tally) + "|",
        "| base model | " + " | ".join(f"{value:.1f}" for value in base) + (" | |" if tally else " |"),
    ]
    for arm in METHODS:
        measures = [groups[title][arm]["measures"][measure] if arm in groups[title] else None for title in titles]
        gains = [gain for found in measures if found for gain in found["by_seed"]]
        cells = [shown(found) if found else "not run" for found in measures]
        cells += [f"{sum(gain > 0 for gain in gains)} of {len(gains)}"] * tally
        lines.append(f"| {TITLES[arm]} | " + " | ".join(cells) + " |")
    return lines


def within(arms: dict[str, Any], chosen: dict[str, Any]) -> list[str]:
    """All measures of some arms in one setting."""
    lines = [
        "| | " + " | ".join(COLUMNS.values()) + " | runs that gain on mixed-rand |",
        "|---" * (len(COLUMNS) + 2) + "|",
    ]
    for arm in (arm for arm in chosen if arm in arms):
        measures = arms[arm]["measures"]
        gains = measures["mixed-rand"]["by_seed"]
        cells = " | ".join(shown(measures[name]) for name in COLUMNS)
        lines.append(f"| {TITLES.get(arm, arm)} | {cells} | {sum(gain > 0 for gain in gains)} of {len(gains)} |")
    return lines


def tables(record: dict[str, Any]) -> dict[str, list[str]]:
    """Every table of the page by the name of its marker."""
    groups = settings(record)
    embedded, photos = groups["embedded: 20 drawn masks"], groups["photos: 10 drawn masks"]
    attention = {"attention": METHODS["attention"]}
    return {
        "mixed-rand": across(groups, "mixed-rand", tally=True),
        "ordinary": across(groups, "ordinary"),
        "embedded": within(embedded, METHODS),
        "photos": within(photos, METHODS),
        "embedded ablations": within(embedded, attention | ABLATIONS),
        "photos ablations": within(photos, attention | ABLATIONS),
        "photos rates": within(
            photos, {arm: METHODS[arm] for arm in METHODS if f"{arm} at " in " ".join(RATES)} | RATES
        ),
    }


def main() -> None:
    newest = max((ROOT / "benchmarks" / "results").glob("study-*.json"))
    page = ROOT / "docs" / "study.md"
    text = page.read_text(encoding="utf-8")
    for name, lines in tables(json.loads(newest.read_text(encoding="utf-8"))).items():
        between = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = between.sub(lambda found, lines=lines: found[1] + "\n" + "\n".join(lines) + "\n\n" + found[2], text)
    write_text(text, page)


if __name__ == "__main__":
    main()
