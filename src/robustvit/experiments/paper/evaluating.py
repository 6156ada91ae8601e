"""Evaluate the models of a reproduction under the paper's protocol, once on each set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from functools import cache, cached_property
from typing import Any

from robustvit.common.errors import UserError
from robustvit.common.option_groups import RunningOptions, SetOptions
from robustvit.common.options import Protocol
from robustvit.common.run_folder import RunFolder
from robustvit.common.wording import pluralize
from robustvit.evaluation.on_sets.command import make_set_settings
from robustvit.evaluation.on_sets.loop import SetSettings
from robustvit.evaluation.on_sets.recording import SetModel, evaluate_set
from robustvit.evaluation.on_sets.segmentation_set import evaluate_segmentation
from robustvit.evaluation.on_sets.segmented_photos import MAT_IMAGES, MatFile, find_mat
from robustvit.evaluation.records.described import RunSetting, describe_model
from robustvit.evaluation.records.record import Record, read_records
from robustvit.evaluation.sets import BENCHMARKS
from robustvit.evaluation.sets.class_tables import imagenet_wnids
from robustvit.experiments.paper.plan import ReproductionPlan, Run, item_runs
from robustvit.experiments.paper.workspace import Workspace
from robustvit.models.load import load_model

SEGMENTATION = "imagenet-segmentation"
PROTOCOL: Protocol = "paper"

Known = dict[tuple[str, str], Record]


def images_of_set(name: str) -> int:
    """Return the number of images of a complete set."""
    return MAT_IMAGES if name == SEGMENTATION else BENCHMARKS[name].images


def set_on_disk(workspace: Workspace, name: str) -> int:
    """Return the number of images of a set on disk."""
    if name == SEGMENTATION:
        return len(MatFile(find_mat(workspace.data)))
    return len(BENCHMARKS[name].read(workspace.data, PROTOCOL).samples)


def known_records(workspace: Workspace) -> Known:
    """Return recorded results by model and set. Models with the same weights share them, each under its name."""
    records = read_records(workspace.records) if any(workspace.records.glob("*.json")) else []
    by_weights = {
        (str(record.model["weights"]), record.set): record for record in records if record.protocol == PROTOCOL
    }
    return {
        (name, of): replace(record, model=record.model | {"source": name})
        for name, weights in workspace.known_weights().items()
        for (known, of), record in by_weights.items()
        if known == weights
    }


class Evaluator:
    """Evaluates the models of a plan on its sets, and keeps loaded models."""

    def __init__(self, workspace: Workspace, plan: ReproductionPlan) -> None:
        self.workspace, self.plan = workspace, plan
        self.on_disk = cache(lambda name: set_on_disk(workspace, name))
        self._loaded: dict[Run, SetModel] = {}

    @cached_property
    def sets(self) -> SetSettings:
        """Folders and options for the evaluation of sets."""
        space = self.workspace
        sets = SetOptions(root=str(space.data), protocol=PROTOCOL, records=str(space.records))
        return make_set_settings(
            sets, RunningOptions(batch_size=space.batch_size, workers=space.workers, device=space.device)
        )

    def missing(self, run: Run, known: Known) -> list[str]:
        """Return the sets that a model has not been evaluated on, in the order of the plan."""
        return [
            name for name in self.plan.sets if not self._is_done(known.get((self.workspace.name_of(run), name)), name)
        ]

    def _is_done(self, record: Record | None, name: str) -> bool:
        return record is not None and (record.complete or record.samples >= self.on_disk(name))

    def evaluate(self, runs: Iterable[Run]) -> int:
        """Evaluate what is missing; returns the number of results added."""
        known, added = known_records(self.workspace), 0
        for run in runs:
            if todo := self.missing(run, known):
                self.workspace.remember_weights(run, self.model(run).weights)
                known = known_records(self.workspace)
                todo = self.missing(run, known)
            for name in todo:
                if name == SEGMENTATION:
                    evaluate_segmentation(name, self.model(run), self.sets)
                else:
                    baseline = self.model(self.plan.original(run)) if run.trained else None
                    evaluate_set(BENCHMARKS[name], self.model(run), self.sets, baseline)
                added += 1
            if run.trained:
                self._loaded.pop(run, None)
        return added

    def model(self, run: Run) -> SetModel:
        """Load a model once; records name it by card and method."""
        if run not in self._loaded:
            self._loaded[run] = self._load(run)
        return self._loaded[run]

    def _load(self, run: Run) -> SetModel:
        if run.trained:
            source = str(self.workspace.run_folder(run))
            classifier = load_model(source, normalization="paper")
            seen = RunFolder(source).photos.trained_labels()
        else:
            source = self.workspace.source(run.card)
            classifier = load_model(source, **self.workspace.loading(run.card))
            seen = self._find_first_classes(run) if self.plan.sets else frozenset()
        about = describe_model(classifier, source, checkpoint=None if run.trained else self.workspace.weights(run.card))
        about |= self._describe_run(run) | {"source": self.workspace.name_of(run)}
        return SetModel(classifier.to(self.sets.accelerator.device), about, seen)

    def _describe_run(self, run: Run) -> dict[str, Any]:
        """Return what records say of a run besides its weights; tables select by it."""
        scale = self.workspace.scale
        usual = (run.classes, run.samples) == (scale.classes, scale.samples)
        setting = {"setting": asdict(RunSetting(run.seed, run.classes, run.samples, usual))} if run.trained else {}
        return {"card": run.card, "method": run.method} | setting

    def _find_first_classes(self, run: Run) -> frozenset[int]:
        """Return the classes of seed 0, reported separately for the original, as in the paper's Tables 10 and 11."""
        index = {wnid: label for label, wnid in enumerate(imagenet_wnids())}
        return frozenset(index[wnid] for wnid in self.workspace.imagenet_s.split(run)[0])

    def check_sets(self) -> None:
        """Raise if a set is missing."""
        lacking: list[str] = []
        for name in [*self.plan.sets, *self.plan.images]:
            try:
                self.on_disk(name)
            except UserError as error:
                lacking.append(name if lacking else f"{name} ({error})")
        if lacking:
            number = pluralize(len(lacking), "set")
            raise UserError(f"{number} missing: {', '.join(lacking)}; --dry-run shows where to get them")

    def with_earlier(self) -> Evaluator:
        """Return an evaluator of the item that includes the runs of earlier calls.

        If the item averages over models (figure 4), a model counts only if it was evaluated on every set.
        """
        known = set(known_records(self.workspace))

        def there(run: Run) -> bool:
            recorded = [(self.workspace.name_of(run), name) in known for name in self.plan.sets]
            return (any if self.plan.show == "table" else all)(recorded) and not (
                run.tokencut and self.workspace.has_older_masks
            )

        runs = [run for run in item_runs(self.plan.what, self.workspace.scale) if run in self.plan.runs or there(run)]
        if self.plan.show != "table":  # both models of a card, or neither
            cards = {run.card for run in runs if run.trained}
            runs = [run for run in runs if run.card in cards]
        return Evaluator(self.workspace, replace(self.plan, runs=tuple(runs)))

    def records_of(self, runs: Sequence[Run]) -> list[Record]:
        """Return the records of some models on the sets of the plan."""
        known = known_records(self.workspace)
        found = []
        for run in runs:
            who = self._describe_run(run)
            mine = [known[key] for name in self.plan.sets if (key := (self.workspace.name_of(run), name)) in known]
            found += [replace(record, model=record.model | who) for record in mine]
        return found
