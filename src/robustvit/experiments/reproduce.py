"""The paper's tables and figures, made again from the photos and the sets that they were made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from robustvit.common.command_options import command
from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.files import expect_folder
from robustvit.common.option_groups import RunningOptions
from robustvit.common.options import FoundMasks, ReproductionSize
from robustvit.common.wording import counted


@dataclass(frozen=True)
class Reproduction:
    """What a reproduction came to.

    Attributes:
        folder: that holds it.
        files: tables and pictures.
        trained: runs made in this call.
        evaluated: results added in this call.
        failed: runs that failed, a line each.
        plan: what would be done, in a dry run.
    """

    folder: Path
    files: list[Path] = field(default_factory=list)
    trained: int = 0
    evaluated: int = 0
    failed: list[str] = field(default_factory=list)
    plan: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """1 where a run failed, else 0."""
        return int(bool(self.failed))

    def __str__(self) -> str:
        if self.plan:
            return "\n".join(self.plan)
        lines = [
            f"{counted(self.trained, 'run')} made, {counted(self.evaluated, 'result')} added",
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
    masks: FoundMasks = "human",
    scale: ReproductionSize = "paper",
    checkpoint: str | None = None,
    dry_run: bool = False,
    running: RunningOptions,
) -> Reproduction:
    """Make a table or figure of the paper again: finetune what is missing, evaluate it, and put it beside the paper's.

    table1 to table4, table8 to table12, figure1 to figure4, figure6, figure7, appendix-a and appendix-j. Models are
    finetuned on ImageNet-S with the recipes of their cards, evaluated under the paper's protocol into one folder of
    records, and shown. What was finetuned or recorded is never done again, and a killed call goes on.

    Args:
        what: the table or figure.
        root: folder that holds ImageNet-S and the sets.
        out: folder to write, new or that of an earlier reproduction; all items share their runs and records in it.
        models: cards to do it for (vit-b,deit-b); all that the item has when left out.
        masks: human (ImageNet-S's) or tokencut: the rows of tables 1 and 2 that are trained on masks found without
            annotation.
        scale: paper, or tiny: the same path on a small model and drawn scenes, in minutes, without a download.
        checkpoint: weights for vit-l, which timm has no more.
        dry_run: say what would be done, what is missing and how long it would take on this machine; write nothing.

    Returns:
        The files; printing it gives a list, or the plan.

    Raises:
        UserError: an unknown item (the nearest is suggested), data or weights that are missing; no run is made then.

    Example:
        robustvit reproduce table1 --root DATA --models vit-b --dry-run
    """
    from robustvit.experiments.paper.outlook import outlook
    from robustvit.experiments.paper.place import ReproductionPlace
    from robustvit.experiments.paper.plan import make_plan
    from robustvit.experiments.paper.scales import SCALES

    for option, value, choices in (("scale", scale, tuple(SCALES)), ("masks", masks, ("human", "tokencut"))):
        expect_one_of(f"--{option}", value, choices)
    chosen = [name.strip() for name in models.split(",")] if isinstance(models, str) else models
    plan = make_plan(what, SCALES[scale], models=chosen, masks=masks)
    folder = Path(out)
    data = _data(root, folder, scale)
    place = ReproductionPlace(
        folder, data, SCALES[scale], checkpoint, running.device, running.batch_size, running.workers
    )
    place.check(plan, dry_run)
    if dry_run:
        return Reproduction(folder, plan=outlook(place, plan))
    return _made(place, plan)


def _data(root: str | None, folder: Path, scale: str) -> Path:
    if scale == "tiny":
        if root is not None:
            raise UserError("expected no --root beside --scale tiny, which draws its own scenes: leave one of them out")
        return folder / "data"
    if root is None:
        raise UserError("expected --root FOLDER with ImageNet-S and the sets in it; or try the path with --scale tiny")
    return expect_folder(root, "sets as --root")


def _made(place, plan) -> Reproduction:
    from robustvit.experiments.paper.evaluating import Evaluator
    from robustvit.experiments.paper.showing import show
    from robustvit.experiments.paper.training import train_runs

    evaluator = Evaluator(place, plan)
    if not place.tiny:  # what is missing must be known before anything is written
        _check_data(place, plan, evaluator)
    place.start(plan)
    if place.tiny:
        _draw_data(place, plan)
    trained, failed = train_runs(place, plan.runs)
    runs = [run for run in plan.runs if run not in failed]
    added = evaluator.evaluate(runs)
    lines = [f"{run.name}: {error}" for run, error in failed.items()]
    files = [] if failed and plan.show != "table" else show(evaluator)
    return Reproduction(place.out, files, trained, added, lines)


def _check_data(place, plan, evaluator) -> None:
    if any(run.trained for run in plan.runs) or plan.sets:
        for run in plan.runs:
            place.imagenet_s.lists(run)
    evaluator.check_sets()


def _draw_data(place, plan) -> None:
    from robustvit.experiments.paper.stand_in import write_stand_in
    from robustvit.experiments.paper.tiny_sets import write_tiny_sets

    write_tiny_sets(place.data)
    for run in plan.runs:
        write_stand_in(run.card, place.out / "stand-ins" / run.card)
