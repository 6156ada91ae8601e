"""Where the time of a default ``finetune`` goes: pictures that the networks answer and CPU seconds, by stage.

    python -m benchmarks.speed.finetune_stages --model my_vit --data voc-animals --label before --out runs
    python -m benchmarks.speed.finetune_stages --table runs/finetune_stages-before-DATE.json ...

DATA holds ``train`` and ``test``, each with ``images`` and ``masks`` in class folders. The run takes ten photos per
class to train on, twenty to validate and all of ``test`` to judge. The pictures that go through the networks are the
same on any machine; those that a gradient follows take about two (a map) or four times as long (a step). CPU seconds of
the process are counted beside them, since other programs may share the machine. ``PYTHONPATH`` names the version to
measure. Writes dated files.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import itertools
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.dated import parser_of, write_dated

STARTED = time.process_time()
# Functions by the stage that they are counted in; what a function calls of another stage is counted there.
STAGES: dict[str, tuple[str, ...]] = {
    "model": ("training.preparation:load_start", "training.preparation:check_model"),
    "photos: listed, compared, checked": ("training.preparation:gather_run",),
    "original on the test photos": ("training.run:GuidedRun._measure_original",),
    "original on the validation photos": ("training.run:GuidedRun._measure_validation",),
    "training steps": ("training.steps:TrainingSteps.run_epoch",),
    "validation losses": ("training.loop:_validate",),
    "saved models and states": ("training.loop:_keep", "training.state:TrainingState.save"),
    "weights between the two models": ("training.run:interpolate_run",),
    "guided model on the test photos": ("training.run:GuidedRun.finish",),
    "other shortcuts, both models": ("training.outcome:RunOutcome._describe_trade",),
    "original asked about the object alone": ("training.outcome:RunOutcome.ask_without_training",),
    "pictures and measures": ("training.outcome:RunOutcome.write",),
}


class Stages:
    """Counts CPU seconds, and pictures that networks answer, by stage; nested stages are not counted twice."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.pictures: Counter[str] = Counter()  # that went through a network
        self.followed: Counter[str] = Counter()  # of these, with a gradient to come
        self._stack: list[str] = ["imports and options"]
        self._since = STARTED

    def switch(self) -> None:
        """Count what passed since the last switch for the current stage."""
        now = time.process_time()
        self.seconds[self._stack[-1]] += now - self._since
        self._since = now

    def counted(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose time counts for a stage."""

        @functools.wraps(function)
        def call(*arguments: Any, **keywords: Any) -> Any:
            self.switch()
            self._stack.append(stage)
            try:
                return function(*arguments, **keywords)
            finally:
                self.switch()
                self._stack.pop()

        return call

    def count_pictures(self, module: Any, given: tuple[Any, ...]) -> None:
        """Count the batch of a classifier, before it is answered."""
        import torch

        from robustvit.models.classifier import Classifier

        if isinstance(module, Classifier):
            self.pictures[self._stack[-1]] += len(given[0])
            self.followed[self._stack[-1]] += len(given[0]) * torch.is_grad_enabled()

    def install(self) -> None:
        """Count the functions of ``STAGES``, and what classifiers answer, from now on."""
        from torch.nn.modules.module import register_module_forward_pre_hook

        register_module_forward_pre_hook(self.count_pictures)
        for stage, names in STAGES.items():
            for name in names:
                module, _, path = name.partition(":")
                owner = importlib.import_module(f"robustvit.{module}")
                *parents, last = path.split(".")
                for parent in parents:
                    owner = getattr(owner, parent)
                setattr(owner, last, self.counted(stage, getattr(owner, last)))


def run_once(given: argparse.Namespace) -> dict[str, Any]:
    """Run ``finetune`` once; its stages, and what must be the same in every version."""
    stages = Stages()
    stages.install()
    from robustvit import finetune
    from robustvit.common.provenance import versions

    train, test = given.data / "train", given.data / "test"
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        run = finetune(
            model=given.model, recipe=given.recipe, epochs=given.epochs, device="cpu", out=f"{place}/run",
            images=str(train / "images"), masks=str(train / "masks"),
            test_images=str(test / "images"), test_masks=str(test / "masks"),
        )  # fmt: skip
        gains = {one.measure: one.difference.mean for one in run.verdict.comparisons}
        interpolation = (Path(place) / "run" / "interpolation.json").read_text(encoding="utf-8")
    stages.switch()
    return {
        "label": given.label,
        "epochs": given.epochs,
        "photos": {use: len(list((given.data / use / "images").rglob("*.*"))) for use in ("train", "test")},
        "cpu_seconds": dict(stages.seconds) | {"total": stages.seconds.total()},
        "pictures": dict(stages.pictures) | {"total": stages.pictures.total()},
        "followed": dict(stages.followed) | {"total": stages.followed.total()},
        "wall_seconds": time.monotonic() - start,
        "gains": gains,
        "interpolation": interpolation,
        "versions": versions(),
    }


def measure_reading(given: argparse.Namespace, photos: int = 100) -> dict[str, Any]:
    """CPU seconds of one measurement that chooses weights, with photos read anew and with photos kept, by turns."""
    from robustvit import load_model
    from robustvit.data.cached_photos import CachedPhotos
    from robustvit.data.class_matching import match_labels
    from robustvit.data.datasets import MaskedPhotos
    from robustvit.data.find_photos import find_photos
    from robustvit.evaluation.measure import measure
    from robustvit.evaluation.measuring import MeasureSettings

    model = load_model(given.model)
    found = find_photos(given.data / "test" / "images", given.data / "test" / "masks")
    found = match_labels(found, model.num_classes, model.class_names)
    each = photos // len({photo.label for photo in found})
    chosen = [photo for label in range(model.num_classes) for photo in [p for p in found if p.label == label][:each]]
    kinds = {"read anew": MaskedPhotos, "kept": CachedPhotos}
    data = {name: kind(chosen, model.preprocessing) for name, kind in kinds.items()}
    settings = MeasureSettings(2, 0, ("mixed-other",), maps=False)
    seconds: dict[str, list[float]] = {name: [] for name in data}
    answers = {}
    for name in [*data, *data, *data][1:]:  # the first of those that are kept are read
        start = time.process_time()
        answers[name] = measure(model, data[name], settings)
        seconds[name].append(time.process_time() - start)
    assert answers["read anew"] == answers["kept"]
    best = {name: min(values) for name, values in seconds.items()}
    return {"photos": len(chosen), "cpu_seconds": best, "ratio": best["read anew"] / best["kept"]}


def pictures_table(records: list[dict[str, Any]]) -> str:
    """Pictures by stage, and in brackets how many of them a gradient follows."""
    names = [*sorted(set().union(*(one["pictures"] for one in records)) - {"total"}), "total"]
    header = ["pictures through networks (with a gradient)", *(one["label"] for one in records)]
    rows = [
        [name, *(f"{one['pictures'].get(name, 0):,} ({one['followed'].get(name, 0):,})" for one in records)]
        for name in names
    ]
    same = "the same" if all(one["gains"] == records[0]["gains"] for one in records) else "not the same"
    return (
        "".join(f"| {' | '.join(line)} |\n" for line in [header, ["---", *["---:"] * len(records)], *rows])
        + f"\nCounted with a small model, which takes as many as any. Its changes of all measures are {same}."
        "\n\n"
    )


def page(records: list[dict[str, Any]], reading: list[dict[str, Any]], counts: list[dict[str, Any]]) -> str:
    """A table of the stages, in multiples of the training steps of the same run, and one of pictures."""
    ratios = [
        {name: value / one["cpu_seconds"]["training steps"] for name, value in one["cpu_seconds"].items()}
        for one in records
    ]
    names = [*sorted(set().union(*ratios) - {"total"}, key=lambda name: -ratios[0].get(name, 0.0)), "total"]
    rows = [[name, *(f"{one.get(name, 0.0):.2f}" for one in ratios)] for name in names]
    header = ["CPU time, training steps = 1", *(one["label"] for one in records)]
    lines = [header, ["---", *["---:"] * len(records)], *rows]
    same = all(
        one["gains"] == other["gains"]
        for one, other in itertools.combinations(records, 2)
        if one["photos"] == other["photos"]
    )
    answer = "the same to the last digit" if same else "not the same"
    return (
        "# Where the time of a finetuning run goes\n\n"
        + (pictures_table(counts) if counts else "")
        + "".join(f"| {' | '.join(line)} |\n" for line in lines)
        + "\nThe guided model's stage also measures, since November 2026, what other shortcuts cost both models, and "
        "in the last columns the original on crops of the object. CPU time says nothing of waiting for the disk.\n"
        + "".join(
            f"\n{one['label']}: {one['cpu_seconds']['total']:.0f} CPU s in all, of which training steps take "
            f"{one['cpu_seconds']['training steps']:.0f}.\n"
            for one in records
        )
        + f"\nThe changes of all measures in runs of the same photos are {answer}.\n"
        + "".join(
            f"\nOne measurement that chooses weights, of {one['photos']} photos on two backgrounds each: reading them "
            f"anew takes {one['ratio']:.2f} times the CPU time of photos that are kept; the answers are the same.\n"
            for one in reading
        )
    )


def main() -> None:
    """Run ``finetune`` once and write its stages, or put several such records into a table."""
    parser = parser_of(__doc__)
    parser.add_argument("--model")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--recipe", default="own")
    parser.add_argument("--label", default="now", help="of this version of the package, in the file's name")
    parser.add_argument("--table", type=Path, nargs="+", help="records to put into one, instead of a run")
    parser.add_argument("--counts", type=Path, nargs="+", default=[], help="with --table: runs whose pictures count")
    parser.add_argument(
        "--reading", action="store_true", help="measure what reading photos once saves, instead of a run"
    )
    given = parser.parse_args()
    if given.table:
        found = [json.loads(path.read_text(encoding="utf-8")) for path in given.table]
        runs, reading = ([one for one in found if ("label" in one) == whole] for whole in (True, False))
        counts = [json.loads(path.read_text(encoding="utf-8")) for path in given.counts]
        record = {"runs": runs, "reading": reading, "counts": counts}
        write_dated("finetune_stages", record, page(runs, reading, counts), given.out)
    elif given.reading:
        write_dated("finetune_reading", measure_reading(given), out=given.out)
    else:
        write_dated(f"finetune_stages-{given.label}", run_once(given), out=given.out)


if __name__ == "__main__":
    main()
