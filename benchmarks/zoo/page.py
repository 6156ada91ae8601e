"""The page of all models and methods, docs/reference/zoo.md, and the table of README.md, from the newest records.

    python -m benchmarks.zoo.page

Reads benchmarks/results (study, recipes, step, zoo_families, zoo_faithfulness) and docs/reference/models.md; measures
nothing. Whatever arms and groups of masks the study has are shown. tests/project/test_zoo.py fails if a record is
newer than the page.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.page_tables import RESULTS, ROOT, change, newest, table
from benchmarks.recipes.page import readme_table
from benchmarks.study.arms import ABLATIONS, ARMS, METHODS, RATES, TITLES
from benchmarks.zoo.words import CITED, FAITHFUL, GUIDANCE, PAGE, README, RELEVANCE, VARIANTS
from robustvit.common.files import write_text

TESTBEDS = {"embedded": "embedded scenes", "photos": "real photos"}
STEPS = ("first order", "second order", "gradmask", "swap-augmentation", "swap-relevance", "relevance map")
Arms = dict[str, Any]


def costs(results: Path) -> dict[str, tuple[str, dict[str, float]]]:
    """By model and input, the record's name and the ratio of each kind of step to a plain one; the newest of each."""
    found = {}
    for path in sorted(results.glob("step-*.json"), key=lambda path: path.stem[-10:]):
        record = json.loads(path.read_text(encoding="utf-8"))
        ratios = {name: row["ratio"] for name, row in record["steps"].items() if row.get("ratio")}
        if shape := re.search(r"-(\d+)x(\d+)-20", path.name):
            if ratios:
                found[f"{record['model']}, {shape[2]} px, batch {shape[1]}"] = path.stem, ratios
        else:
            for tokens, row in record["growth"].items():
                found[f"{record['model']}, {tokens} patches"] = path.stem, {"first order": row["ratio"]}
    return found


def spread(measured: dict[str, tuple[str, dict[str, float]]], step: str) -> str:
    """The lowest and highest ratio of a kind of step over all records."""
    ratios = sorted(ratios[step] for _, ratios in measured.values() if step in ratios)
    if not ratios:
        return "not measured"
    low, high = f"{ratios[0]:.1f}", f"{ratios[-1]:.1f}"
    return low if low == high else f"{low} to {high}"


def main_groups(study: dict[str, Any]) -> dict[str, tuple[str, Arms]]:
    """For each testbed the kind and number of masks with which most methods were run."""
    found = {}
    for testbed, groups in study["testbeds"].items():
        sizes = {name: (len(METHODS.keys() & arms), "drawn" in name, len(arms)) for name, arms in groups.items()}
        name = max(groups, key=sizes.__getitem__)
        found[testbed] = name, groups[name]
    return found


def titled(arm: str) -> str:
    return TITLES.get(arm, VARIANTS.get(arm, arm))


def measured_rows(groups: dict[str, tuple[str, Arms]], arms: list[str]) -> list[list[str]]:
    """A row for the base model and one for each method: ordinary accuracy and random backgrounds on every testbed."""
    base = ["base model"]
    for _, found in groups.values():
        measures = next(iter(found.values()))["measures"]
        base += [f"{measures[name]['before']:.1f}" for name in ("ordinary", "mixed-rand")]
    rows = [base]
    for arm in arms:
        cells = [titled(arm)]
        for _, found in groups.values():
            measures = found[arm]["measures"] if arm in found else None
            cells += [change(measures, name) for name in ("ordinary", "mixed-rand")]
        rows.append(cells)
    return rows


def measured_table(groups: dict[str, tuple[str, Arms]], arms: list[str]) -> str:
    heads = [""]
    for testbed, (name, found) in groups.items():
        seeds = len(next(iter(found.values()))["seeds"])
        what = TESTBEDS.get(testbed, testbed)
        heads += [f"{what}, {name}, {seeds} seeds: ordinary", "random backgrounds"]
    return table(heads, measured_rows(groups, arms))


def variants(study: dict[str, Any]) -> str:
    """All other arms, such as ablations and other rates, for every testbed that has some."""
    parts = []
    for testbed, (name, arms) in main_groups(study).items():
        known = [arm for arm in (*ABLATIONS, *RATES) if arm in arms]
        if others := known + [arm for arm in arms if arm not in ARMS]:
            heads = [f"{TESTBEDS.get(testbed, testbed)}, {name}", "ordinary", "random backgrounds", "mIoU of the map"]
            shown = [arm for arm in ("attention",) if arm in arms] + others
            rows = [[titled(arm), *(change(arms[arm]["measures"], m) for m in ("ordinary", "mixed-rand", "miou"))]
                    for arm in shown]  # fmt: skip
            parts.append(table(heads, rows))
    return "\n\n".join(parts) or "None was run for this record."


def methods_table(measured: dict[str, tuple[str, dict[str, float]]]) -> str:
    rows = []
    for arm, (option, what, step, when) in GUIDANCE.items():
        cost = "1" if step == "plain step" else spread(measured, step) if step else "not measured: the head alone"
        rows.append([f"**{titled(arm)}**<br>{option}", what, cost, when])
    return table(["method", "what it is", "cost of a step", "when to use it"], rows)


def costs_table(measured: dict[str, tuple[str, dict[str, float]]]) -> str:
    rows = []
    for shape, (name, ratios) in measured.items():
        link = f"[{shape}](../../benchmarks/results/{name}.md)"
        rows.append([link, *(f"{ratios[step]:.2f}" if step in ratios else "" for step in STEPS)])
    guided = ["guided, first order", "guided, second order", "input gradient"]
    swaps = ["background swaps", "background swaps and relevance", "map / plain forward"]
    return table(["model", *guided, *swaps], rows)


def relevance_table(families: dict[str, dict[str, str]], faithful: dict[str, Any]) -> str:
    rows = []
    for name, (what, source) in RELEVANCE.items():
        good = sum(found[name] == "guides" for found in families.values())
        score = faithful["scores"].get(name)
        areas = [*_areas(score), _with_random_weights(faithful.get("sanity"), name)]
        rows.append([f"`{name}`", what, f"{good} of {len(families)}", *areas, source])
    heads = ["`--relevance`", "what it is", "works for", "deletion ↓", "insertion ↑", "random weights ↓", "source"]
    if not faithful["scores"]:
        return table([*heads[:3], heads[-1]], [[*row[:3], row[-1]] for row in rows])
    return table(heads, [*rows, ["random maps", "the control", "", *_areas(faithful["scores"].get("random")), "", ""]])


def _areas(score: dict[str, Any] | None) -> list[str]:
    if score is None:
        return ["", ""]
    areas = (score["deletion"], score["insertion"])
    return [f"{area['mean']:.2f}<br>[{area['low']:.2f}, {area['high']:.2f}]" for area in areas]


def _with_random_weights(sanity: dict[str, Any] | None, method: str) -> str:
    """How much of a map stays when all weights are shuffled: its rank correlation with the new map."""
    if sanity is None or method not in sanity["similarity"]:
        return ""
    last = sanity["similarity"][method][-1]
    return f"{last['mean']:+.2f}<br>[{last['low']:+.2f}, {last['high']:+.2f}]".replace("-", "−")


def models_table(families: dict[str, dict[str, str]], models: str) -> str:
    """A row for each family of docs/reference/models.md, and for those that attention does not explain."""
    rows, name = [], ""
    listed = [[cell.strip() for cell in line.split("|")[1:-1]] for line in models.splitlines() if line.startswith("|")]
    for source, family, readout in listed[2:]:
        name = source or name
        found = families.get(family)
        rows.append([family, name if source else "", readout.removesuffix(", see below"), _works(found)])
    known = {row[0] for row in rows}
    rows += [[family, "", "no attention over all patches", _works(found)]
             for family, found in families.items() if family not in known]  # fmt: skip
    return table(["family", "`--model`", "logits read from", "maps and guidance by"], rows)


def _works(found: dict[str, str] | None) -> str:
    if found is None:
        return "not measured"
    good = [name for name, outcome in found.items() if outcome == "guides"]
    lacking = [name for name in found if name not in good]
    if not lacking:
        return "all"
    return "all but " + ", ".join(lacking) if len(lacking) < len(good) else ", ".join(good)


def page(root: Path = ROOT, results: Path = RESULTS) -> str:
    """The text of docs/reference/zoo.md."""
    study_path, study = newest(results, "study")
    families_path, families = newest(results, "zoo_families")
    recorded = any(results.glob("zoo_faithfulness-20*.json"))
    faithful_path, faithful = newest(results, "zoo_faithfulness") if recorded else (Path("none"), {"scores": {}})
    measured, groups = costs(results), main_groups(study)
    extra = [name for groups in study["testbeds"].values() for name in groups]
    return PAGE.format(
        study=study_path.stem,
        families=families_path.stem,
        faithful=FAITHFUL.format(name=faithful_path.stem, photos=faithful["photos"]) if recorded else "",
        methods=methods_table(measured),
        measured=measured_table(groups, list(METHODS)),
        settings=", ".join(f"*{name}*" for name in dict.fromkeys(extra)),
        variants=variants(study),
        costs=costs_table(measured),
        relevance=relevance_table(families["families"], faithful),
        models=models_table(
            families["families"], (root / "docs" / "reference" / "models.md").read_text(encoding="utf-8")
        ),
    )


def readme(text: str, results: Path = RESULTS) -> str:
    """README.md with its table made anew."""
    path, recipes = newest(results, "recipes")
    shown = README.format(table=readme_table(recipes), recipes=path.stem)
    return CITED.sub(lambda found: found[1] + "\n" + shown + "\n" + found[2], text)


def main() -> None:
    write_text(page(), ROOT / "docs" / "reference" / "zoo.md")
    place = ROOT / "README.md"
    write_text(readme(place.read_text(encoding="utf-8")), place)


if __name__ == "__main__":
    main()
