"""Where the time of a default ``finetune`` goes: CPU seconds by stage, and their ratio to the training steps.

    python -m benchmarks.speed.finetune_stages --model my_vit --data voc-animals --label before --out runs
    python -m benchmarks.speed.finetune_stages --table runs/finetune_stages-before-DATE.json ...

DATA holds ``train`` and ``test``, each with ``images`` and ``masks`` in class folders. The run takes ten photos per
class to train on, twenty to validate and all of ``test`` to judge. CPU seconds of the process are counted, since other
programs may share the machine; the ratios within one run compare two versions. ``PYTHONPATH`` names the version that is
measured. Writes dated files.
"""

from __future__ import annotations

import argparse
import functools
import importlib
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
    "weights between the two models": ("training.run:GuidedRun._interpolate",),
    "guided model on the test photos": ("training.run:GuidedRun.finish",),
    "pictures and measures": ("training.run:GuidedRun._write_outcome",),
}


class Stages:
    """Counts CPU seconds by stage; nested stages are not counted twice."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
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

    def install(self) -> None:
        """Count the functions of ``STAGES`` from now on."""
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
        "cpu_seconds": dict(stages.seconds) | {"total": stages.seconds.total()},
        "wall_seconds": time.monotonic() - start,
        "gains": gains,
        "interpolation": interpolation,
        "versions": versions(),
    }


def page(records: list[dict[str, Any]]) -> str:
    """A table of the stages, in multiples of the training steps of the same run."""
    ratios = [
        {name: value / one["cpu_seconds"]["training steps"] for name, value in one["cpu_seconds"].items()}
        for one in records
    ]
    names = [*sorted(set().union(*ratios) - {"total"}, key=lambda name: -ratios[0].get(name, 0.0)), "total"]
    rows = [[name, *(f"{one.get(name, 0.0):.2f}" for one in ratios)] for name in names]
    header = ["CPU time, training steps = 1", *(one["label"] for one in records)]
    lines = [header, ["---", *["---:"] * len(records)], *rows]
    same = all(one["gains"] == records[0]["gains"] for one in records[1:])
    answer = "the same to the last digit" if same else "not the same"
    return (
        "# Where the time of a finetuning run goes\n\n"
        + "".join(f"| {' | '.join(line)} |\n" for line in lines)
        + f"\nThe changes of all measures of the versions are {answer}.\n"
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
    given = parser.parse_args()
    if given.table:
        records = [json.loads(path.read_text(encoding="utf-8")) for path in given.table]
        write_dated("finetune_stages", {"runs": records}, page(records), given.out)
    else:
        write_dated(f"finetune_stages-{given.label}", run_once(given), out=given.out)


if __name__ == "__main__":
    main()
