"""The command ``evaluate --on``: load the models, evaluate them set by set, and record each result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from robustvit.common.devices import make_accelerator
from robustvit.common.errors import UserError
from robustvit.common.option_groups import RunningOptions, SetOptions
from robustvit.common.output_paths import check_own_folder
from robustvit.common.photo_options import MeasuredPhotos
from robustvit.common.progress import warn
from robustvit.common.run_folder import RunFolder
from robustvit.common.wording import list_names
from robustvit.data.trained_photos import UNKNOWN, photos_behind
from robustvit.evaluation.on_sets.loop import SetSettings
from robustvit.evaluation.on_sets.recording import SetModel, evaluate_set, make_set_model
from robustvit.evaluation.on_sets.segmentation_set import SEGMENTATION_SETS, check_segmentation, evaluate_segmentation
from robustvit.evaluation.on_sets.summary import Sets
from robustvit.evaluation.records.record import Record
from robustvit.evaluation.sets import Benchmark, check_head, find_benchmarks
from robustvit.evaluation.sets.streaming import hub_of
from robustvit.models.baseline import load_original
from robustvit.models.classifier import Classifier
from robustvit.models.load import load_given
from robustvit.models.options import ComparedModels

_Call = Callable[[], tuple[Record, bool]]


def evaluate_on(
    names: Sequence[str] | str,
    models: ComparedModels,
    sets: SetOptions,
    running: RunningOptions,
    *,
    own: MeasuredPhotos,
    method: str = "gae",
) -> Sets:
    """Evaluate a model, and a baseline if one is named, on sets.

    ``own`` photos and the relevance ``method`` are for the segmentation test.
    """
    wanted = list_names(names) or [str(names)]
    segmentation = [name for name in wanted if name in SEGMENTATION_SETS]
    others = [name for name in wanted if name not in segmentation]
    chosen = find_benchmarks(others, SEGMENTATION_SETS) if others else []
    setup = make_set_settings(sets, running, bool(chosen) or "imagenet-segmentation" in wanted)
    if "segmentation" not in segmentation and own.given:
        raise UserError(
            f"expected no --{own.given.replace('_', '-')} with sets: --images and its options belong to "
            "--on segmentation"
        )
    candidate, other = load_set_models(models, sets, setup.accelerator.device)
    classifiers = [one.classifier for one in (candidate, other) if one is not None]
    _check_benchmarks(chosen, setup, classifiers)
    own = own.or_else(candidate.classifier.pixels)
    for name in segmentation:
        check_segmentation(name, setup, own, method, classifiers)
    calls: dict[str, _Call] = {one.name: partial(evaluate_set, one, candidate, setup, other) for one in chosen}
    trained = UNKNOWN if own.images is None else photos_behind(models.model, models.baseline, models.checkpoint)
    maps = partial(evaluate_segmentation, own=own, method=method, trained=trained)
    calls |= {name: partial(maps, name, candidate, setup, other) for name in segmentation}
    return _run_all(calls)


def _check_benchmarks(chosen: Sequence[Benchmark], setup: SetSettings, models: Sequence[Classifier]) -> None:
    """Refuse sets that are missing or do not fit the models, before hours are spent on other sets."""
    for benchmark in chosen:
        for model in models:
            check_head(benchmark, model.num_classes)
        if setup.root is not None:
            benchmark.locate(setup.root)
        else:
            hub_of(benchmark)


def _run_all(calls: dict[str, _Call]) -> Sets:
    """Evaluate all sets; a set that fails does not stop the others."""
    done: list[tuple[Record, bool]] = []
    failed: list[str] = []
    for name, call in calls.items():
        try:
            done.append(call())
        except UserError as error:
            if len(calls) == 1:
                raise
            failed.append(f"{name}: {error}")
            warn(failed[-1])
    if not done:
        raise UserError(f"no set could be evaluated: {failed[0]}")
    return Sets([record for record, _ in done], sum(reused for _, reused in done), tuple(failed))


def load_set_models(models: ComparedModels, sets: SetOptions, device: torch.device) -> tuple[SetModel, SetModel | None]:
    """Load the model and the baseline of ``evaluate_on`` onto the device."""
    if sets.protocol == "paper":
        models = replace(models, normalization="paper")
    seen = seen_labels(sets.seen, models.model)
    candidate = make_set_model(load_given(models).to(device), models.model, seen, models.checkpoint)
    return candidate, _load_baseline(models, seen, device)


def make_set_settings(sets: SetOptions, running: RunningOptions, needs_root: bool = True) -> SetSettings:
    """Check the source of the sets and the folder of results, and make the accelerator; nothing is written yet."""
    if sets.stream and sets.root is not None:
        raise UserError("expected --root or --stream, got both: sets come from a folder or from the hub")
    if not sets.stream and sets.root is None and needs_root:
        raise UserError("expected --root FOLDER with the sets in it, or --stream to take them from the hub")
    records = Path(sets.records)
    check_own_folder(records, own=True, option="--records")
    accelerator = make_accelerator(running.precision, device=running.device)
    root, precision = None if sets.root is None else Path(sets.root), running.precision
    return SetSettings(root, records, sets.protocol, precision, accelerator, running.batch_size, running.workers)


def seen_labels(run: str | None, model: str) -> frozenset[int]:
    """Return the classes that a run, or the model if it is a run, was finetuned on; empty if not known."""
    if not isinstance(model, (str, Path)):
        raise UserError(
            f"expected a model by name or folder, which its record names, got a {type(model).__name__}: save it with "
            "robustvit.models.save.save_model, and name the folder"
        )
    folder = RunFolder(model if run is None else run)
    if run is None and not folder.is_run:
        return frozenset()
    return folder.photos.trained_labels()


def _load_baseline(models: ComparedModels, seen: frozenset[int], device: torch.device) -> SetModel | None:
    if models.baseline is None:
        return None
    if models.baseline != "original":
        loaded = load_given(replace(models, model=models.baseline, checkpoint=None))
        return make_set_model(loaded.to(device), models.baseline, seen)
    original = load_original(models.model)
    if models.normalization == "paper":
        original = _as_in_the_paper(original)
    config = RunFolder(models.model).config()
    return make_set_model(original.to(device), str(config["model"] or config["recipe"]), seen, config["checkpoint"])


def _as_in_the_paper(classifier: Classifier) -> Classifier:
    found = Classifier(
        classifier.network,
        preprocessing=classifier.preprocessing.normalized("paper"),
        class_names=classifier.class_names,
        source=classifier.source,
        kind=classifier.kind,
    )
    found.head_kind = classifier.head_kind
    return found.eval()
