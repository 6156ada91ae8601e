"""The demo: the whole workflow on an embedded benchmark, in minutes and without a download."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustvit.common.frames import FrameRow, Tabular

if TYPE_CHECKING:
    from robustvit.common.verdict_files import Verdict

# Chosen in benchmarks/results/demo_search-2026-11-30.md.
SETTINGS: dict[str, Any] = {
    "recipe": "recommended",
    "lr": 1e-4,
    "epochs": 10,
    "max_drop": 1.0,
    "swaps": 2,
}
TRAIN_PER_CLASS, VALIDATION_PER_CLASS, TEST_PER_CLASS, SHIFTED_PER_CLASS = 20, 14, 24, 16


@dataclass(frozen=True)
class Demonstration(Tabular):
    """The outcome of the demo: the run, its verdict and its report."""

    run: Path
    verdict: Verdict
    report: Path

    def frame_rows(self) -> Iterator[FrameRow]:
        """The verdict's rows."""
        yield from self.verdict.frame_rows()

    def __str__(self) -> str:
        return f"{self.verdict.sentence}\nreport: {self.report}"


def demo(*, out: str = "runs/demo", seed: int = 0) -> Demonstration:
    """Run the whole workflow on an embedded benchmark: finetune, measure on shifted scenes, write the report.

    The scenes show symbols on photographic textures. In training each class had its own texture, and the small model
    that comes with the package has learned to look at it. Nothing is downloaded.

    Args:
        out: output folder; new, or that of a demo to resume.
        seed: random seed of the selection of scenes, their order, augmentation and backgrounds.

    Returns:
        The run, its verdict and its report; printing it gives the verdict.

    Raises:
        UserError: out contains something else.

    Example:
        robustvit demo --out runs/demo
    """
    from robustvit.common.files import explain_full_disk
    from robustvit.common.output_paths import check_own_folder
    from robustvit.common.progress import saying_once
    from robustvit.common.run_folder import RunFolder
    from robustvit.sharing.report import report
    from robustvit.training.finetune import finetune

    folder = Path(out)
    started = check_own_folder(folder, RunFolder(folder / "run").is_run, command="demo")
    data, model = folder / "data", folder / "base"
    with explain_full_disk(folder), as_file(files("robustvit.data.embedded") / "model") as shipped:
        write_scenes(data)
        shutil.copytree(shipped, model, dirs_exist_ok=True)
    parts = {"": "train", "val_": "validation", "test_": "test"}
    photos: dict[str, Any] = {
        f"{prefix}{kind}": str(data / part / kind) for prefix, part in parts.items() for kind in ("images", "masks")
    }
    base = f"local-dir:{model}"
    run = finetune(model=base, **photos, out=str(folder / "run"), seed=seed, resume=started, **SETTINGS)
    judged = f"{folder / 'run' / 'best'}: {run.verdict.sentence}"  # loading the model warns of the result shown here
    with saying_once(judged):
        if not (folder / "run" / "shifts.json").is_file():
            compare_on_shifts(base, folder / "run", data, seed)
        page = report(str(folder / "run"), out=str(folder / "report.html"))
    return Demonstration(folder / "run", run.verdict, page)


def write_scenes(folder: Path) -> None:
    """Write the embedded benchmark: scenes for training, validation and test, and the shifted tests."""
    from robustvit.data.embedded.scenes import SHIFTS, write_split

    write_split(folder / "train", TRAIN_PER_CLASS, seed=1, part="train")
    write_split(folder / "validation", VALIDATION_PER_CLASS, seed=2, part="train")
    write_split(folder / "test", TEST_PER_CLASS, seed=3, part="test")
    write_split(folder / "swapped", SHIFTED_PER_CLASS, seed=4, part="test", swapped=True)
    for number, (name, change) in enumerate(SHIFTS.items()):
        write_split(folder / name, SHIFTED_PER_CLASS, seed=5 + number, part="test", swapped=True, **change)


def compare_on_shifts(base: str, run: Path, data: Path, seed: int) -> None:
    """Compare both models on the shifted tests, and write the comparison to the run folder for the report."""
    from dataclasses import asdict, replace

    from robustvit.common.files import write_json
    from robustvit.data.embedded.scenes import SHIFTS
    from robustvit.evaluation.evaluate import evaluate
    from robustvit.evaluation.result import Evaluation

    comparisons = []
    for name in ("swapped", *SHIFTS):
        result = evaluate(model=str(run), baseline=base, images=str(data / name / "images"), seed=seed)
        compared = result.verdict.of("ordinary") if isinstance(result, Evaluation) and result.verdict else None
        if compared is not None:
            comparisons.append(asdict(replace(compared, measure=name)))
    write_json(comparisons, run / "shifts.json")
