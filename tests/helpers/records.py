"""Records of results that nobody measured."""

from __future__ import annotations

from dataclasses import replace

from robustvit.common.intervals import Interval
from robustvit.evaluation.records.record import Record

WEIGHTS = "0123456789abcdef" * 4


def make_record(
    set="imagenet-a", protocol="paper", weights=WEIGHTS, card="vit-b", method="original", **changes
) -> Record:
    numbers = {"top1": Interval(0.16, 0.15, 0.17, 7500), "top5": Interval(0.37, 0.36, 0.38, 7500)}
    model = {"source": "vit-b", "weights": weights, "card": card, "method": method, "classes": 1000}
    record = Record(
        set, protocol, model, {"input_size": [224, 224]}, 7500, 7500, True, [], numbers,
        {"ant": Interval(0.5, 0.4, 0.6, 9)}, {}, {}, {"torch": "2"}, ["robustvit", "evaluate"],
        "2026-11-24T12:00:00+00:00",
    )  # fmt: skip
    return replace(record, **changes)
