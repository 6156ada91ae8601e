"""How often a search of the weights' share in two rounds finds what trying all ten shares finds.

    python -m benchmarks.recipes.share_steps

Reads the newest record of recipes, whose cells have the accuracies of the validation photos at all ten shares; measures
nothing. Writes a dated record.
"""

from __future__ import annotations

from statistics import mean
from typing import Any

from benchmarks.dated import RESULTS, parser_of, write_dated
from benchmarks.page_tables import newest, table
from robustvit.training.interpolation import CHOSEN_BY, choose_share

MAX_DROP = 2.0


def replay(tried: list[dict[str, float]]) -> dict[str, Any]:
    """Choose the share as a run does, and by trying all ten, from the accuracies at all of them."""
    rows = {round(row["share"], 1): row for row in tried}

    def total(share: float) -> float:
        return 100 * sum(rows[share][name] for name in CHOSEN_BY)

    least = rows[0.0]["ordinary"] - MAX_DROP / 100 - 1e-9
    allowed = [share for share in sorted(rows) if share > 0 and rows[share]["ordinary"] >= least]
    whole = max(allowed, key=total, default=0.1)
    found, asked = choose_share(rows.__getitem__, MAX_DROP)
    return {"of_ten": whole, "found": found, "shares_tried": len(asked) - 1, "lost": total(whole) - total(found)}


def main() -> None:
    """Replay every cell and write the record."""
    given = parser_of(__doc__).parse_args()
    path, record = newest(RESULTS, "recipes")
    cells = {name: replay(cell["tried"]) for name, cell in record["cells"].items() if len(cell.get("tried", [])) == 11}
    same = sum(one["of_ten"] == one["found"] for one in cells.values())
    rows = [
        [name, f"{one['of_ten']:g}", f"{one['found']:g}", str(one["shares_tried"]), f"{one['lost']:.1f}"]
        for name, one in cells.items()
    ]
    page = (
        "# Choosing the share of the weights in two rounds\n\n"
        f"From the validation accuracies in [{path.stem}]({path.stem}.md): every second share, then the two beside the "
        f"best, against all ten. The same share in {same} of {len(cells)} runs, with "
        f"{mean(one['shares_tried'] for one in cells.values()):.1f} shares tried; the sum of both accuracies that is "
        f"given up is {mean(one['lost'] for one in cells.values()):.2f} points on average.\n\n"
        + table(["run", "best of ten", "found", "tried", "points given up"], rows)
        + "\n"
    )
    write_dated("share_steps", {"from": path.name, "cells": cells}, page, given.out)


if __name__ == "__main__":
    main()
