"""How often the intervals hold and how often a model that costs too much is accepted, by simulation.

python -m benchmarks.study.verdict_rates --out benchmarks/results/verdict_rates-DATE.json

Three questions, each for 20, 50, 150 and 600 photos:

- coverage of the 95 % interval of a change of ordinary accuracy, now (Bonett and Price) and before (a bootstrap);
- how often a model is accepted that truly loses 4 points where 2 are allowed and truly gains on other backgrounds, now
  (by intervals) and before (by the estimate);
- coverage and false gains on swapped backgrounds where 40 % of the donors flip the answers of all their guests, over
  photos and donors (now) and over photos alone.

Nothing is trained and no photo is read.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.dated import parser_of
from robustvit.common.files import write_json, write_text
from robustvit.common.intervals import (
    ClusteredAnswers,
    Interval,
    crossed_difference,
    paired_difference,
    paired_interval,
)
from robustvit.common.outcomes import OUTCOMES, outcome_of
from robustvit.common.provenance import versions

COUNTS = (20, 50, 150, 600)
CHANGES = (-0.10, -0.05, -0.02, 0.0, 0.02, 0.05, 0.10)
LOSS = {"helped": 0.005, "harmed": 0.045}  # of ordinary accuracy: 4 points
GAIN = {"helped": 0.35, "harmed": 0.05}  # on other backgrounds: 30 points
RESAMPLES = 999


def bootstrapped(draw: np.random.Generator, helped: int, harmed: int, count: int) -> tuple[float, float]:
    """The percentile bootstrap of a mean of -1, 0 and 1, which needs the counts only."""
    counts = draw.multinomial(count, (helped / count, harmed / count, 1 - (helped + harmed) / count), RESAMPLES)
    low, high = np.quantile((counts[:, 0] - counts[:, 1]) / count, (0.025, 0.975))
    return float(low), float(high)


def coverage(draw: np.random.Generator, repeats: int) -> list[dict[str, Any]]:
    """Share of simulated tests whose interval holds the true change; two more points turn both ways."""
    rows = []
    for count in COUNTS:
        for change in CHANGES:
            turned = abs(change) + 0.02
            odds = ((turned + change) / 2, (turned - change) / 2, 1 - turned)
            now, before = [], []
            for up, down, _ in draw.multinomial(count, odds, repeats).tolist():
                one = paired_interval(up, down, count)
                low, high = bootstrapped(draw, up, down, count)
                now.append(one.low <= change <= one.high)
                before.append(low - 1e-12 <= change <= high + 1e-12)
            rows.append({"photos": count, "change": change, "now": np.mean(now), "bootstrap": np.mean(before)})
    return rows


def acceptance(draw: np.random.Generator, repeats: int) -> list[dict[str, Any]]:
    """Outcomes for a model that loses 4 points where 2 are allowed and gains 30."""
    rows = []
    for count in COUNTS:
        tally, before = dict.fromkeys(OUTCOMES, 0), 0
        for _ in range(repeats):
            (up, down, _), (helped, harmed, _) = (
                draw.multinomial(count, (*one.values(), 1 - sum(one.values()))).tolist() for one in (LOSS, GAIN)
            )
            gain = paired_interval(helped, harmed, count)
            tally[outcome_of(gain, paired_interval(up, down, count), 2.0)] += 1
            before += bootstrapped(draw, helped, harmed, count)[0] > 0 and down - up <= 0.02 * count + 1e-9
        rows.append({"photos": count, "by the estimate": before / repeats} | {k: v / repeats for k, v in tally.items()})
    return rows


def shared(draw: np.random.Generator, repeats: int) -> list[dict[str, Any]]:
    """Two backgrounds for each photo out of as many donors; 40 % of these flip all their guests, to either side."""
    rows = []
    for count in COUNTS:
        found: dict[str, list[Interval]] = {"now": [], "photos alone": []}
        for _ in range(repeats):
            photos, donors = np.repeat(np.arange(count), 2), draw.integers(0, count, 2 * count)
            flips = draw.choice([1, -1, 0], count, p=(0.2, 0.2, 0.6))[donors]
            same = draw.random(2 * count) < 0.6
            before, after = (np.where(flips == 0, same, flips == side) for side in (-1, 1))
            found["now"].append(
                crossed_difference(ClusteredAnswers(before, photos, donors), ClusteredAnswers(after, photos, donors))
            )
            means = [side.reshape(count, 2).mean(axis=1) for side in (before, after)]
            found["photos alone"].append(paired_difference(*means, shares=True))
        row: dict[str, Any] = {"photos": count}
        for name, intervals in found.items():
            row[f"coverage, {name}"] = np.mean([one.low <= 0 <= one.high for one in intervals])
            row[f"false gains, {name}"] = np.mean([one.low > 0 for one in intervals])
        rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as Markdown, shares in percent."""
    lines = [list(rows[0]), ["---:"] * len(rows[0])]
    for row in rows:
        points = {"change": f"{100 * row['change']:+.0f}"} if "change" in row else {}
        lines.append([str(v) if k == "photos" else points.get(k, f"{100 * v:.1f}") for k, v in row.items()])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Simulate and write both files."""
    parser = parser_of(__doc__, out=False)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    draw = np.random.default_rng(given.seed)
    parts = {"coverage": coverage, "acceptance": acceptance, "shared": shared}
    found = {name: [{k: float(v) if k != "photos" else v for k, v in row.items()} for row in part(draw, given.repeats)]
             for name, part in parts.items()}  # fmt: skip
    command = f"python -m benchmarks.study.verdict_rates --repeats {given.repeats} --seed {given.seed}"
    machine = f"{platform.machine()}, {platform.system()}"
    write_json({"command": command, "versions": versions(), "machine": machine, **found}, given.out)
    text = f"""# Coverage of the intervals, and models accepted that cost too much

`{command}`, {given.repeats:,} simulated tests for each row, in percent.

## Change of ordinary accuracy: coverage of the 95 % interval

{table(found["coverage"])}

`change` is the true one, in points.

## Ordinary accuracy truly falls by 4 points, 2 are allowed, the gain is real

{table(found["acceptance"])}

`by the estimate`: accepted as before. The other columns are the outcomes now; only `better` is accepted.

## Swapped backgrounds, 40 % of the donors flip all their guests, no true gain

{table(found["shared"])}
"""
    write_text(text, given.out.with_suffix(".md"))


if __name__ == "__main__":
    main()
