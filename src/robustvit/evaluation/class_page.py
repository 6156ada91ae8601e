"""The part of a page that shows the numbers of each class: in the report of a run and in an audit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from robustvit.common.pages import page_template
from robustvit.evaluation.class_numbers import CALIBRATION, MOST_CLASSES, metric_meaning, metric_title


def render_class_numbers(numbers: Mapping[str, Any], side: str, against: str, file: str) -> Markup:
    """Return the numbers of each class as HTML.

    Args:
        numbers: of ``class_numbers``, as they are written to a file.
        side: whose they are, such as "after".
        against: what the changes are against, such as "original".
        file: name of the file that holds them all.
    """
    classes = numbers["classes"]
    rows = classes
    if len(classes) > MOST_CLASSES:
        rows = sorted(classes, key=lambda row: (row["recall"]["mean"], -row["photos"], row["name"]))[:MOST_CLASSES]
    page = page_template(__package__, "class_numbers.html.j2")
    text = page.render(
        numbers=numbers,
        rows=rows,
        hidden=len(classes) - len(rows),
        photos=sum(row["photos"] for row in classes),
        ranked=any(row.get("average_precision") for row in classes),
        other=any(row[-1] for row in numbers["matrix"] or []),
        titles={name: metric_title(name) for name in numbers["metrics"]},
        meanings={name: metric_meaning(name) for name in numbers["metrics"]},
        calibration=CALIBRATION,
        side=side,
        whose="guided model" if side == "after" else side,
        against=against,
        file=file,
    )
    return Markup(text)  # the template has escaped every value
