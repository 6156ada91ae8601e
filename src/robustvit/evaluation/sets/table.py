"""The table of benchmark sets: their facts from ``sets.yaml``, with the code that reads and scores them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib.resources import files
from typing import Any

import yaml

from robustvit.common.errors import UserError, did_you_mean
from robustvit.common.options import Protocol
from robustvit.evaluation.sets.answers import AllClasses, Answers, MemberMaxima, MemberMeans, OwnHead, SubsetAnswers
from robustvit.evaluation.sets.benchmark import Benchmark, Hub, Reader
from robustvit.evaluation.sets.class_tables import imagenet_subset, member_classes
from robustvit.evaluation.sets.grouped_layouts import (
    CHEXPERT,
    IWILDCAM_CLASSES,
    METASHIFT,
    WATERBIRDS,
    read_chexpert,
    read_iwildcam,
    read_metashift,
    read_si_score,
    read_waterbirds,
)
from robustvit.evaluation.sets.layouts import read_cue_conflict, read_imagenet_9, read_number_folders, read_wnid_folders
from robustvit.evaluation.sets.objectnet import crop_border, read_objectnet

READERS: dict[str, Reader] = {
    "imagenet": read_wnid_folders,
    "imagenet-a": partial(read_wnid_folders, subset="a"),
    "imagenet-r": partial(read_wnid_folders, subset="r"),
    "imagenet-v2": read_number_folders,
    "objectnet": read_objectnet,
    "si-score/location": partial(read_si_score, factor="location"),
    "si-score/rotation": partial(read_si_score, factor="rotation"),
    "si-score/size": partial(read_si_score, factor="size"),
    "imagenet-9": read_imagenet_9,
    "waterbirds": read_waterbirds,
    "iwildcam": read_iwildcam,
    "metashift": read_metashift,
    "chexpert": read_chexpert,
    "cue-conflict": read_cue_conflict,
}
ANSWERS: dict[str, Callable[[], Answers]] = {
    "imagenet": AllClasses,
    "imagenet-a": lambda: SubsetAnswers(imagenet_subset("a")),
    "imagenet-r": lambda: SubsetAnswers(imagenet_subset("r")),
    "imagenet-9": lambda: MemberMaxima(member_classes("imagenet_9")),
    "waterbirds": lambda: OwnHead(WATERBIRDS),
    "iwildcam": lambda: OwnHead([str(label) for label in range(IWILDCAM_CLASSES)]),
    "metashift": lambda: OwnHead(METASHIFT),
    "chexpert": lambda: OwnHead(CHEXPERT),
    "cue-conflict": lambda: MemberMeans(member_classes("cue_conflict")),
}
_PREPARED = {"objectnet": crop_border}


def _read_table() -> dict[str, Benchmark]:
    text = (files("robustvit.evaluation.sets") / "sets.yaml").read_text(encoding="utf-8")
    benchmarks = {}
    for name, facts in yaml.safe_load(text).items():
        for variant, own in facts.pop("variants", {"": {}}).items():
            full = f"{name}/{variant}" if variant else name
            benchmarks[full] = _make_benchmark(
                full, {key: _fill(value, variant) for key, value in (facts | own).items()}
            )
    return benchmarks


def _fill(value: Any, variant: str) -> Any:
    if isinstance(value, list):
        return tuple(_fill(one, variant) for one in value)
    return value.replace("{variant}", variant) if isinstance(value, str) else value


def _make_benchmark(name: str, facts: dict[str, Any]) -> Benchmark:
    facts.setdefault("classes", 1000)
    facts.setdefault("folder", name)
    hub, answers = facts.pop("hub", None), _by_protocol(facts.pop("answers", "imagenet"))
    return Benchmark(
        name,
        reader=READERS[facts.pop("reader", "imagenet")],
        scoring={protocol: ANSWERS[one] for protocol, one in answers.items()},
        summary=_by_protocol(facts.pop("summary", "accuracy")),
        hub=hub and Hub(**hub),
        prepare=_PREPARED.get(name),
        **facts,
    )


def _by_protocol(value: Any) -> dict[Protocol, Any]:
    return value if isinstance(value, dict) else {"paper": value, "standard": value}


BENCHMARKS: dict[str, Benchmark] = _read_table()
SHORT_NAMES: dict[str, tuple[str, ...]] = {
    "imagenet-v2": ("imagenet-v2/matched-frequency",),
    "si-score": tuple(name for name in BENCHMARKS if name.startswith("si-score/")),
    "imagenet-9": tuple(name for name in BENCHMARKS if name.startswith("imagenet-9/")),
}


def find_benchmarks(names: str | Sequence[str], besides: Sequence[str] = ()) -> list[Benchmark]:
    """Return the named sets, each once; ``names`` is a list, or a text with commas or spaces between.

    ``imagenet-v2`` is matched-frequency, ``si-score`` all three parts, ``imagenet-9`` all variants. ``besides`` are
    further names that the caller knows, which are suggested where a name is unknown.
    """
    wanted = names.replace(",", " ").split() if isinstance(names, str) else list(names)
    parts = {part for whole in SHORT_NAMES.values() for part in whole}
    known = ", ".join(sorted([*SHORT_NAMES, *(name for name in BENCHMARKS if name not in parts), *besides]))
    if not wanted:
        raise UserError(f"expected the name of a benchmark set, got none: name one or more of {known}")
    chosen: dict[str, Benchmark] = {}
    for name in wanted:
        for full in SHORT_NAMES.get(name, (name,)):
            if full not in BENCHMARKS:
                hint = did_you_mean(name, dict.fromkeys([*SHORT_NAMES, *BENCHMARKS, *besides]), count=3)
                raise UserError(f"unknown benchmark set {name!r}: {f'{hint} expected one of {known}'.strip()}")
            chosen[full] = BENCHMARKS[full]
    return list(chosen.values())
