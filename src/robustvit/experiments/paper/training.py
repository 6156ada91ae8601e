"""Finetune the runs of a table or figure: lists of ImageNet-S, masks of TokenCut, and training."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robustvit.common.errors import UserError
from robustvit.common.files import write_text
from robustvit.common.progress import warn
from robustvit.common.run_folder import RunFolder
from robustvit.common.wording import pluralize
from robustvit.data.manifest import MANIFEST, read_manifest
from robustvit.experiments.paper.imagenet_s import Lists, PhotoAndMask, write_list
from robustvit.experiments.paper.plan import METHOD_OPTIONS, Run
from robustvit.experiments.paper.workspace import Workspace
from robustvit.experiments.trials import run_trial, state_of


def train_runs(workspace: Workspace, runs: Sequence[Run]) -> tuple[int, dict[Run, str]]:
    """Finetune runs that are not finished, resuming those that were killed.

    Returns:
        The number of runs finished, and the errors of failed runs, one line each.
    """
    made, failed = 0, {}
    for run in runs:
        folder = workspace.run_folder(run)
        if not run.trained or state_of(folder) == "finished":
            continue
        workspace.remember_weights(run, None)  # of an earlier run with that name
        options = options_of_run(workspace, run, _write_lists(workspace, run))
        if RunFolder(folder).is_run and RunFolder(folder).config().get("test_images") is None:
            del options["test_images"]  # resume a run of an older version as it was started
        if error := run_trial(options, folder):
            failed[run] = error
            warn(f"failed {run.name}: {error}")
            continue
        made += 1
        _drop_state(RunFolder(folder))
    return made, failed


def options_of_run(workspace: Workspace, run: Run, lists: tuple[Path, Path]) -> dict[str, Any]:
    """Return the options of ``finetune``: recipe, epochs and batch size of the paper, method, and scale.

    ``lists`` are CSV files of the training photos, and of those that choose the epoch.
    """
    options = {
        "recipe": run.card,
        "model": workspace.source(run.card) if workspace.tiny else None,
        "checkpoint": workspace.weights(run.card),
        "images": str(lists[0]),
        "val_images": str(lists[1]),
        "test_images": str(lists[1]),  # the paper chooses the epoch by all of them, and is evaluated on other sets
        "mask_format": "soft" if run.tokencut else "imagenet-s",
        "samples_per_class": run.samples,
        "epochs": workspace.scale.epochs,
        "batch_size": 8,
        "seed": run.seed,
        "device": workspace.device,
        "workers": workspace.workers,
    }
    return options | workspace.scale.options | METHOD_OPTIONS[run.method]


def _drop_state(folder: RunFolder) -> None:
    """Remove the last epoch and the resume state of a finished run: 15 GB for a large model."""
    (folder.path / "state.pt").unlink(missing_ok=True)
    shutil.rmtree(folder.last, ignore_errors=True)


def _write_lists(workspace: Workspace, run: Run) -> tuple[Path, Path]:
    """Write the two lists of a run; next to masks of TokenCut, so that the run records their origin."""
    if run.tokencut:
        folder = _make_masks_folder(workspace)
        lists = _list_found_masks(workspace, run, folder)
    else:
        folder, lists = workspace.out / "lists", workspace.imagenet_s.lists(run)
    name = f"seed{run.seed}-{run.classes}x{run.samples}"
    paths = folder / f"{name}-train.csv", folder / f"{name}-validation.csv"
    write_list(lists.train, paths[0])
    write_list(lists.validation, paths[1])
    return paths


def _make_masks_folder(workspace: Workspace) -> Path:
    """Make missing masks of ImageNet-S, cut as RobustViT's authors do; returns their folder."""
    from robustvit.masks.make import make_masks

    folder, done = workspace.found_masks, workspace.found_masks.with_suffix(".done")
    if not (done.is_file() and (folder / MANIFEST).is_file()):  # a resumed call writes the manifest first
        options = workspace.scale.masks | {"workers": workspace.workers, "device": workspace.device}
        if workspace.tiny:
            options["model"] = workspace.source(min(path.name for path in (workspace.out / "stand-ins").iterdir()))
        made = make_masks(str(workspace.imagenet_s.photos), out=str(folder), protocol="paper", **options)
        write_text("", done)
        for reason, number in made.skipped.items():
            warn(f"TokenCut: {pluralize(number, 'photo')} skipped, {reason}; {folder / MANIFEST} names them")
    return folder


def _list_found_masks(workspace: Workspace, run: Run, folder: Path) -> Lists:
    """As in the authors' code, take the first photos of a class that were not skipped, fewer if it has fewer."""
    by_class: dict[str, list[PhotoAndMask]] = {}
    for record in sorted(read_manifest(folder / MANIFEST), key=lambda one: one.image.name):
        if record.mask is not None and record.label:
            by_class.setdefault(record.label, []).append((record.image, record.mask))

    chosen, others = workspace.imagenet_s.split(run)

    def first(classes: Sequence[str], count: int) -> list[tuple[Path, Path, str]]:
        return [(*pair, wnid) for wnid in classes for pair in by_class.get(wnid, [])[:count]]

    lists = Lists(first(chosen, run.samples), first(others, 1))
    if not lists.train or not lists.validation:
        raise UserError(f"TokenCut made no usable mask in {workspace.imagenet_s.photos}: see {folder / MANIFEST}")
    wanted = run.samples * len(chosen) + len(others)
    if (lacking := wanted - len(lists.train) - len(lists.validation)) > 0:
        warn(f"{run.name}: {pluralize(lacking, 'photo')} fewer than {wanted:,}: their classes have no more masks")
    return lists
