"""Where the time of a default ``finetune`` goes: CPU seconds by stage, and their ratio to the training steps.

    python -m benchmarks.speed.finetune_stages --model my_vit --data voc-animals [--epochs 20] [--label before]
        [--out FOLDER]

DATA holds ``train`` and ``test``, each with ``images`` and ``masks`` in class folders. The run takes ten photos per
class to train on, twenty to validate and all of ``test`` to judge. CPU seconds of the process are counted, since other
programs may share the machine; the ratios within one run compare two versions. Writes a dated file.
"""

from __future__ import annotations

import functools
import importlib
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


def main() -> None:
    """Run ``finetune`` once and write its stages."""
    parser = parser_of(__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--recipe", default="own")
    parser.add_argument("--label", default="now", help="of this version of the package, in the file's name")
    given = parser.parse_args()
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
    steps, total = stages.seconds["training steps"], stages.seconds.total()
    found = {
        "label": given.label,
        "cpu_seconds": dict(stages.seconds) | {"total": total},
        "ratio_to_training_steps": {name: value / steps for name, value in stages.seconds.items()}
        | {"total": total / steps},
        "wall_seconds": time.monotonic() - start,
        "gains": gains,
        "interpolation": interpolation,
        "versions": versions(),
    }
    rows = [*sorted(stages.seconds.items(), key=lambda item: -item[1]), ("total", total)]
    lines = [f"| {name} | {value:.1f} | {value / steps:.2f} |" for name, value in rows]
    text = "\n".join(["| stage | CPU seconds | / training steps |", "|---|---:|---:|", *lines]) + "\n"
    write_dated(f"finetune_stages-{given.label}", found, text, given.out)


if __name__ == "__main__":
    main()
