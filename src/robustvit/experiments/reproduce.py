"""Reproduce the tables and figures of the paper from the same photos and sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from robustvit.common.command_options import command
from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.files import expect_folder
from robustvit.common.frames import FrameRow, Tabular
from robustvit.common.option_groups import RunningOptions
from robustvit.common.options import MaskOrigin, ReproductionSize
from robustvit.common.wording import list_names, pluralize

if TYPE_CHECKING:
    from robustvit.experiments.paper.evaluating import Evaluator
    from robustvit.experiments.paper.plan import ReproductionPlan
    from robustvit.experiments.paper.workspace import Workspace


@dataclass(frozen=True)
class Reproduction(Tabular):
    """The outcome of a reproduction.

    Attributes:
        folder: output folder.
        files: tables and figures.
        trained: number of runs finetuned by this call.
        evaluated: number of results added by this call.
        failed: failed runs, one line each.
        plan: what would be done, in a dry run.
    """

    folder: Path
    files: list[Path] = field(default_factory=list)
    trained: int = 0
    evaluated: int = 0
    failed: list[str] = field(default_factory=list)
    plan: list[str] = field(default_factory=list)

    def frame_rows(self) -> Iterator[FrameRow]:
        """A row for each table and figure, then for each run that failed."""
        yield from ({"file": file, "error": ""} for file in self.files)
        yield from ({"file": "", "error": line} for line in self.failed)

    @property
    def exit_code(self) -> int:
        """1 if a run failed, else 0."""
        return int(bool(self.failed))

    def __str__(self) -> str:
        if self.plan:
            return "\n".join(self.plan)
        lines = [
            f"{pluralize(self.trained, 'run')} finetuned, {pluralize(self.evaluated, 'result')} added",
            *(f"failed: {one}" for one in self.failed),
        ]
        return "\n".join([*lines, *map(str, self.files)])


@command(leave_out=("precision", "seed"))
def reproduce(
    what: str,
    *,
    root: str | None = None,
    out: str = "reproduction",
    models: list[str] | str | None = None,
    masks: MaskOrigin = "human",
    scale: ReproductionSize = "paper",
    checkpoint: str | None = None,
    dry_run: bool = False,
    running: RunningOptions,
) -> Reproduction:
    """Reproduce a table or figure of the paper: finetune and evaluate what is missing, and compare with the paper.

    Items are table1 to table4, table8 to table12, figure1 to figure4, figure6, figure7, appendix-a and appendix-j.
    Models are finetuned on ImageNet-S with their recipes and evaluated under the paper's protocol. Finished runs and
    recorded results are reused, so a call that was killed can be repeated.

    Args:
        what: table or figure.
        root: folder with ImageNet-S and the evaluation sets.
        out: output folder; new, or that of an earlier reproduction. All items share its runs and records.
        models: models of the paper (vit-b,deit-b); default: all models of the item.
        masks: human (those of ImageNet-S) or tokencut (the rows of tables 1 and 2 trained on unsupervised masks).
        scale: paper, or tiny (the same steps with a small model and drawn scenes, in minutes, without a download).
        checkpoint: weights for vit-l, which timm no longer provides.
        dry_run: show what would be done, what is missing and how long it would take on this machine, without writing
            anything.

    Returns:
        The files; printing it gives a list, or the plan.

    Raises:
        UserError: the item is unknown, or data or weights are missing. Nothing is finetuned then.

    Example:
        robustvit reproduce table1 --root DATA --models vit-b --dry-run
    """
    from robustvit.experiments.paper.outlook import describe_outlook
    from robustvit.experiments.paper.plan import SCALES, make_plan
    from robustvit.experiments.paper.workspace import Workspace

    for option, value, choices in (("scale", scale, tuple(SCALES)), ("masks", masks, ("human", "tokencut"))):
        expect_one_of(f"--{option}", value, choices)
    plan = make_plan(what, SCALES[scale], models=list_names(models) or None, masks=masks)
    folder = Path(out)
    data = _find_data(root, folder, scale)
    workspace = Workspace(folder, data, SCALES[scale], checkpoint, running.device, running.batch_size, running.workers)
    workspace.check(plan, dry_run)
    if dry_run:
        return Reproduction(folder, plan=describe_outlook(workspace, plan))
    return _run(workspace, plan)


def _find_data(root: str | None, folder: Path, scale: str) -> Path:
    if scale == "tiny":
        if root is not None:
            raise UserError("--scale tiny draws its own scenes and takes no --root: leave one of them out")
        return folder / "data"
    if root is None:
        raise UserError("expected --root FOLDER with ImageNet-S and the sets in it; or try the path with --scale tiny")
    return expect_folder(root, "sets as --root")


def _run(workspace: Workspace, plan: ReproductionPlan) -> Reproduction:
    from robustvit.experiments.paper.evaluating import Evaluator
    from robustvit.experiments.paper.show import show
    from robustvit.experiments.paper.tiny import write_stand_in, write_tiny_sets
    from robustvit.experiments.paper.training import train_runs

    evaluator = Evaluator(workspace, plan)
    if workspace.tiny:
        workspace.start(plan)
        write_tiny_sets(workspace.data)
        for run in plan.runs:
            write_stand_in(run.card, workspace.out / "stand-ins" / run.card)
    else:
        _check_data(workspace, plan, evaluator)  # reports missing data before anything is written
        workspace.start(plan)
    trained, failed = train_runs(workspace, plan.runs)
    runs = [run for run in plan.runs if run not in failed]
    added = evaluator.evaluate(runs)
    lines = [f"{run.name}: {error}" for run, error in failed.items()]
    files = [] if failed and plan.show != "table" else show(evaluator)
    return Reproduction(workspace.out, files, trained, added, lines)


def _check_data(workspace: Workspace, plan: ReproductionPlan, evaluator: Evaluator) -> None:
    if any(run.trained for run in plan.runs) or plan.sets:
        for run in plan.runs:
            workspace.imagenet_s.lists(run)
    evaluator.check_sets()
