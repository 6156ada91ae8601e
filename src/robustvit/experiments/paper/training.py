"""The runs that a table or figure needs: lists of ImageNet-S, masks where they are to be found, and finetuning."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robustvit.common.errors import UserError
from robustvit.common.files import write_text
from robustvit.common.progress import warn
from robustvit.common.run_folder import RunFolder
from robustvit.common.wording import counted
from robustvit.data.manifest import MANIFEST, read_manifest
from robustvit.experiments.paper.imagenet_s import Lists, Pair, write_list
from robustvit.experiments.paper.place import ReproductionPlace
from robustvit.experiments.paper.plan import METHOD_OPTIONS, Run
from robustvit.experiments.trials import run_trial, state_of


def train_runs(place: ReproductionPlace, runs: Sequence[Run]) -> tuple[int, dict[Run, str]]:
    """Finetune what is not finished; what was killed goes on.

    Returns:
        How many runs were made, and what went wrong with others, a line each.
    """
    made, failed = 0, {}
    for run in runs:
        folder = place.run_folder(run)
        if not run.trained or state_of(folder) == "finished":
            continue
        place.remember_weights(run, None)  # of a run of that name that was removed
        options = options_of_run(place, run, _listed(place, run))
        if RunFolder(folder).is_run and RunFolder(folder).config().get("test_images") is None:
            del options["test_images"]  # a run of an older version goes on as it was begun
        if error := run_trial(options, folder):
            failed[run] = error
            warn(f"failed {run.name}: {error}")
            continue
        made += 1
        _drop_state(RunFolder(folder))
    return made, failed


def options_of_run(place: ReproductionPlace, run: Run, lists: tuple[Path, Path]) -> dict[str, Any]:
    """Options of ``finetune``: the recipe's, the paper's epochs and batch, the method's, and the scale's.

    Args:
        place: where everything lies.
        run: the run.
        lists: files of the photos to train on, and of those that choose the epoch.
    """
    options = {
        "recipe": run.card,
        "model": place.source(run.card) if place.tiny else None,
        "checkpoint": place.weights(run.card),
        "images": str(lists[0]),
        "val_images": str(lists[1]),
        "test_images": str(lists[1]),  # the paper chooses the epoch by all of them, and is judged on other sets
        "mask_format": "soft" if run.tokencut else "imagenet-s",
        "samples_per_class": run.samples,
        "epochs": place.scale.epochs,
        "batch_size": 8,
        "seed": run.seed,
        "device": place.device,
        "workers": place.workers,
    }
    return options | place.scale.options | METHOD_OPTIONS[run.method]


def _drop_state(folder: RunFolder) -> None:
    """A finished run needs neither its last epoch nor what it would be resumed from: 15 GB of a large model."""
    (folder.path / "state.pt").unlink(missing_ok=True)
    shutil.rmtree(folder.last, ignore_errors=True)


def _listed(place: ReproductionPlace, run: Run) -> tuple[Path, Path]:
    """The two lists of a run; with the masks, where those were found, so that the run's record names their origin."""
    if run.tokencut:
        folder = _masks_folder(place)
        lists = _with_found_masks(place, run, folder)
    else:
        folder, lists = place.out / "lists", place.imagenet_s.lists(run)
    name = f"seed{run.seed}-{run.classes}x{run.samples}"
    paths = folder / f"{name}-train.csv", folder / f"{name}-validation.csv"
    write_list(lists.train, paths[0])
    write_list(lists.validation, paths[1])
    return paths


def _masks_folder(place: ReproductionPlace) -> Path:
    """Masks of all of ImageNet-S's photos as RobustViT's authors cut them; only the missing ones are made."""
    from robustvit.masks.make import make_masks

    folder, whole = place.found_masks, place.found_masks.with_suffix(".done")
    if not (whole.is_file() and (folder / MANIFEST).is_file()):  # a call that goes on writes the manifest first
        own = dict(place.scale.masks) | ({"model": place.source(_cards(place)[0])} if place.tiny else {})
        photos = str(place.imagenet_s.photos)
        made = make_masks(photos, out=str(folder), protocol="paper", workers=place.workers, device=place.device, **own)
        write_text("", whole)
        for reason, number in made.skipped.items():
            warn(f"TokenCut: {counted(number, 'photo')} skipped, {reason}; {folder / MANIFEST} names them")
    return folder


def _cards(place: ReproductionPlace) -> list[str]:
    return sorted(path.name for path in (place.out / "stand-ins").iterdir())


def _with_found_masks(place: ReproductionPlace, run: Run, folder: Path) -> Lists:
    """As in the authors' code, a class gives its first photos that were not skipped, fewer where it has fewer."""
    by_class: dict[str, list[Pair]] = {}
    for record in sorted(read_manifest(folder / MANIFEST), key=lambda one: one.image.name):
        if record.mask is not None and record.label:
            by_class.setdefault(record.label, []).append((record.image, record.mask))

    chosen, others = place.imagenet_s.split(run)

    def first(classes: Sequence[str], count: int) -> list[tuple[Path, Path, str]]:
        return [(*pair, wnid) for wnid in classes for pair in by_class.get(wnid, [])[:count]]

    lists = Lists(first(chosen, run.samples), first(others, 1))
    if not lists.train or not lists.validation:
        raise UserError(f"TokenCut found no usable mask in {place.imagenet_s.photos}: see {folder / MANIFEST}")
    wanted = run.samples * len(chosen) + len(others)
    if (lacking := wanted - len(lists.train) - len(lists.validation)) > 0:
        warn(f"{run.name}: {counted(lacking, 'photo')} fewer than {wanted:,}, as their classes have no more masks")
    return lists
