"""Intervals of an earlier record of the study as intervals are computed now; nothing is trained.

python -m benchmarks.study.intervals

The record holds no values by photo, but the bootstrap's interval tells their variance: its half width is 1.96 standard
errors. With the mean and the number of photos that is all that the formulas take. Intervals of the bootstrap are
kept as ``over_photos_bootstrap``. What shared backgrounds add is not in it: donors were not recorded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from scipy import stats

from benchmarks.page_tables import RESULTS, newest
from benchmarks.study.table import ABOUT, as_markdown, is_share
from robustvit.common.files import write_json, write_text

_Z = float(stats.norm.ppf(0.975))


def widened(found: dict[str, Any], share: bool) -> dict[str, Any]:
    """One measure with ``over_photos`` as ``paired_difference`` gives it, from mean, count and bootstrap interval."""
    if "over_photos_bootstrap" in found:
        return found
    low, high = found["over_photos"]
    # One photo helped and one harmed are added.
    now = as_now(found["change"] / 100, low / 100, high / 100, found["photos"], (1.0, -1.0) if share else ())
    return found | {"over_photos": [100 * end for end in now], "over_photos_bootstrap": [low, high]}


def as_now(mean: float, low: float, high: float, count: int, added: Sequence[float]) -> tuple[float, float]:
    """The interval that ``robustvit.common.intervals`` gives, from that of a bootstrap; Student's t where nothing is
    added.

    Args:
        mean: over ``count`` photos.
        low: lower end of the bootstrap's interval.
        high: upper end.
        count: number of photos.
        added: answers added to the photos.
    """
    error = (high - low) / 2 / _Z
    if not added:
        reach = float(stats.t.ppf(0.975, count - 1)) * error * math.sqrt(count / (count - 1))
        return mean - reach, mean + reach
    total = count + len(added)
    middle = (count * mean + sum(added)) / total
    squares = (count * error) ** 2 + count * (mean - middle) ** 2 + sum((one - middle) ** 2 for one in added)
    reach = _Z * math.sqrt(squares) / total
    return middle - reach, middle + reach


def main() -> None:
    """Rewrite the newest record of the study and its tables."""
    path, record = newest(RESULTS, "study")
    for groups in record["testbeds"].values():
        for arms in groups.values():
            for found in arms.values():
                measures = found["measures"]
                found["measures"] = {name: widened(one, is_share(name)) for name, one in measures.items()}
    record["about"] = ABOUT
    write_json(record, path)
    write_text(as_markdown(record), path.with_suffix(".md"))


if __name__ == "__main__":
    main()
