"""Finetune a model so that its relevance lies on the object, and report honestly whether that helped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robustvit.common.command_options import command, settings_of
from robustvit.common.errors import expect_at_least
from robustvit.common.frames import FrameRow, Tabular
from robustvit.training.options import (
    GuidanceOptions,
    ScheduleOptions,
    StartOptions,
    TrainingPhotos,
    TrainingRun,
    VerdictOptions,
)

if TYPE_CHECKING:
    from robustvit.common.verdict_files import Verdict
    from robustvit.evaluation.class_numbers import ClassNumbers
    from robustvit.evaluation.group_report import GroupReport


@dataclass(frozen=True)
class Finetuned(Tabular):
    """The result of a finetuning run.

    Attributes:
        folder: of the run.
        verdict: on the finetuned model.
        groups: measures by group of photos, if groups are known.
        by_class: the guided model's numbers of each class of the test photos, with the changes.
    """

    folder: Path
    verdict: Verdict
    groups: GroupReport | None = None
    by_class: ClassNumbers | None = None

    def frame_rows(self) -> Iterator[FrameRow]:
        """The verdict's rows."""
        yield from self.verdict.frame_rows()

    def __str__(self) -> str:
        from robustvit.common.outcomes import next_step
        from robustvit.common.run_folder import RunFolder

        lines = [
            self.verdict.sentence,
            *self.verdict.notes,
            *([] if self.groups is None else [str(self.groups)]),
            f"guidance: {self.verdict.guidance}",
            f"photos: {', '.join(RunFolder(self.folder).photos.by_use().values())}",
            f"run: {self.folder}   model: {self.folder / 'best'}",
            f"next: {next_step(self.verdict.outcome)}",
        ]
        return "\n".join(lines)


@command(first=("images", "masks", "model", "recipe", "out", "judging"))
def finetune(
    *,
    photos: TrainingPhotos,
    out: str,
    start: StartOptions,
    guiding: GuidanceOptions,
    schedule: ScheduleOptions,
    judging: VerdictOptions,
    running: TrainingRun,
    resume: bool = False,
) -> Finetuned:
    """Finetune an image classifier so that its relevance lies on the object.

    Writes a run folder: settings, selection, metrics, resumable state, best/ and last/ as models of their library,
    panels, and the verdict, measured before and after on the test photos.

    Args:
        out: run folder to write; must be new.
        seed: fixes selection, order, augmentation and swaps.
        at_inference: rivals without training, for the verdict to compare with: the original model shown the object
            alone, as found by its own relevance: crop (to the object), mask (the rest is black), blur (the rest is
            blurred), or several; none. Default: crop, on 50 photos, and on all if it is ahead there.
        resume: continue the run in out, with as many processes as it had.

    Returns:
        The run folder and its verdict.

    Raises:
        UserError: anything wrong with what was given; nothing is written then. The disk is full; what was saved is
            kept.
        Stopped: SIGTERM, SIGHUP or Ctrl-C ended the run, and it can be resumed.

    Example:
        robustvit finetune --model vit_base_patch16_224.augreg_in21k_ft_in1k --images photos/train
        --masks masks/train --out runs/mine
    """
    options = settings_of(finetune, photos, start, guiding, schedule, judging, running, out=out, resume=resume)
    from robustvit.data.photo import expect_photos_of

    expect_photos_of(options)
    from robustvit.common.run_folder import RunFolder
    from robustvit.common.signals import name_stopped_run
    from robustvit.training.preparation import prepare_run
    from robustvit.training.run import GuidedRun

    folder = RunFolder(out)
    folder.check_free(resume)
    expect_at_least(0, panels=judging.panels)
    ready = prepare_run(options, folder, start, running)
    ready.accelerator.wait_for_everyone()  # every process must see that the folder is free before one writes to it
    with folder.lock(resume, ready.accelerator.is_main_process), name_stopped_run(folder.path):
        ready.begin()
        run = GuidedRun(ready, judging, photos.mask_format)
        verdict = run.finish(ready.guide, judging.panels)
        return Finetuned(folder.path, verdict, run.groups, run.by_class)
