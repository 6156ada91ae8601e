"""Intervals of the audit's example as intervals are computed now, from its stored means, counts and widths.

python -m benchmarks.audit_intervals benchmarks/results/audit-voc-animals-2026-11-24.json --out FILE.json

The record holds no values by photo; see ``study_intervals.py`` for what is done without them. What shared backgrounds
add is not in it. Intervals of answers of one model are Wilson's already and stay.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.study.intervals import as_now
from robustvit.common.files import read_json, write_json

_MEANS = ("mixed-same", "mixed-rand", "turned", "position", "size", "rotation")  # shares of answers of one model
_NO_SHARES = ("energy", "uniform", "miou")
_FOR_MEAN, _FOR_DIFFERENCE = (0.0, 0.0, 1.0, 1.0), (1.0, -1.0)


def bootstrapped(record: dict[str, Any]) -> Iterator[tuple[dict[str, Any], tuple[float, ...]]]:
    """Every interval of the record that a bootstrap made, with the answers that are added to it now."""
    tables = [record["measures"], *record["classes"].values()]
    for name, found in ((name, found) for table in tables for name, found in table.items()):
        added = () if name in _NO_SHARES else _FOR_DIFFERENCE
        yield found["difference"], added
        if name in (*_MEANS, *_NO_SHARES, "gap"):
            for side in ("model", "baseline"):
                yield found[side], _FOR_MEAN if name in _MEANS else added
    for row in (*record["shifts"], *record["groups"], *record["backgrounds"]["usual"].values()):
        yield row["difference"], _FOR_DIFFERENCE
    for found in record["chance"].values():
        for side in found.values():
            yield side["excess"], _FOR_DIFFERENCE


def main() -> None:
    """Write the record with other intervals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    record = read_json(given.record)
    for found, added in bootstrapped(record):
        if found["count"] > 1:
            found["low"], found["high"] = as_now(found["mean"], found["low"], found["high"], found["count"], added)
    for words in ("verdict", "change"):  # sentences with the intervals of then
        del record[words]
    record["left_out_here"] += "; verdict, change: sentences of an older version"
    record["intervals"] = f"python {' '.join(sys.argv)}"
    write_json(record, given.out)


if __name__ == "__main__":
    main()
