"""Evaluation of a reproduction's models under the paper's protocol: each model on each set once, in one folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from functools import cache, cached_property
from typing import Any

from robustvit.common.errors import UserError
from robustvit.common.option_groups import RunningOptions, SetOptions
from robustvit.common.options import Protocol
from robustvit.common.run_folder import RunFolder
from robustvit.common.wording import counted
from robustvit.evaluation.on_sets.command import set_place
from robustvit.evaluation.on_sets.recording import SetModel, SetPlace, evaluate_set
from robustvit.evaluation.on_sets.segmentation_test import evaluate_segmentation
from robustvit.evaluation.on_sets.segmented_photos import MAT_IMAGES, MatFile, find_mat
from robustvit.evaluation.records.described import describe_model
from robustvit.evaluation.records.record import Record, read_records
from robustvit.evaluation.records.setting import RunSetting
from robustvit.evaluation.sets import BENCHMARKS
from robustvit.evaluation.sets.class_tables import imagenet_wnids
from robustvit.experiments.paper.place import ReproductionPlace
from robustvit.experiments.paper.plan import Plan, Run, item_runs
from robustvit.models.load import load_model

SEGMENTATION = "imagenet-segmentation"
PROTOCOL: Protocol = "paper"

Known = dict[tuple[str, str], Record]


def images_of_set(name: str) -> int:
    """Images that a whole set has."""
    return MAT_IMAGES if name == SEGMENTATION else BENCHMARKS[name].images


def set_on_disk(place: ReproductionPlace, name: str) -> int:
    """Images of a set that are there."""
    if name == SEGMENTATION:
        return len(MatFile(find_mat(place.data)))
    return len(BENCHMARKS[name].read(place.data, PROTOCOL).samples)


def known_records(place: ReproductionPlace) -> Known:
    """Results recorded, by model and set. Models of the same weights share them, each under its own name."""
    found = read_records(place.records) if place.records.is_dir() and any(place.records.glob("*.json")) else []
    by_weights = {(str(one.model["weights"]), one.set): one for one in found if one.protocol == PROTOCOL}
    sets = {one.set for one in found}
    return {
        (name, of): replace(by_weights[weights, of], model=by_weights[weights, of].model | {"source": name})
        for name, weights in place.known_weights().items()
        for of in sets
        if (weights, of) in by_weights
    }


class Evaluator:
    """Evaluates models on sets, and keeps what is loaded.

    Args:
        place: where everything lies.
        plan: what is needed.
    """

    def __init__(self, place: ReproductionPlace, plan: Plan) -> None:
        self.place, self.plan = place, plan
        self.on_disk = cache(lambda name: set_on_disk(place, name))
        self._loaded: dict[Run, SetModel] = {}

    @cached_property
    def sets(self) -> SetPlace:
        """Where the sets are, as their evaluation wants it."""
        own = self.place
        sets = SetOptions(root=str(own.data), protocol=PROTOCOL, records=str(own.records))
        return set_place(sets, RunningOptions(batch_size=own.batch_size, workers=own.workers, device=own.device))

    def missing(self, run: Run, known: Known) -> list[str]:
        """Sets that a model is still to be evaluated on, in the plan's order."""
        return [name for name in self.plan.sets if not self._done(known.get((self.place.named(run), name)), name)]

    def _done(self, record: Record | None, name: str) -> bool:
        return record is not None and (record.complete or record.samples >= self.on_disk(name))

    def evaluate(self, runs: Iterable[Run]) -> int:
        """Evaluate what is missing; returns how many results were added."""
        known, added = known_records(self.place), 0
        for run in runs:
            if todo := self.missing(run, known):
                self.place.remember_weights(run, self.model(run).weights)
                known = known_records(self.place)
                todo = self.missing(run, known)
            for name in todo:
                self._evaluate(run, name)
                added += 1
            if run.trained:
                self._loaded.pop(run, None)
        return added

    def _evaluate(self, run: Run, name: str) -> None:
        model = self.model(run)
        if name == SEGMENTATION:
            evaluate_segmentation(name, model, self.sets)
            return
        baseline = self.model(self.plan.original(run)) if run.trained else None
        evaluate_set(BENCHMARKS[name], model, self.sets, baseline)

    def model(self, run: Run) -> SetModel:
        """A model, loaded once, that records name by the plan's card and method."""
        if run not in self._loaded:
            self._loaded[run] = self._load(run)
        return self._loaded[run]

    def _load(self, run: Run) -> SetModel:
        if run.trained:
            source = str(self.place.run_folder(run))
            classifier = load_model(source, normalization="paper")
            seen = RunFolder(source).trained_labels()
        else:
            source = self.place.source(run.card)
            classifier = load_model(source, **self.place.loading(run.card))
            seen = self._first_classes(run) if self.plan.sets else frozenset()
        about = describe_model(classifier, source, checkpoint=None if run.trained else self.place.weights(run.card))
        about |= self._said_of(run) | {"source": self.place.named(run)}
        return SetModel(classifier.to(self.sets.loop.accelerator.device), about, seen)

    def _said_of(self, run: Run) -> dict[str, Any]:
        """What records of a run say besides its weights, so that a table can choose by it."""
        scale = self.place.scale
        usual = (run.classes, run.samples) == (scale.classes, scale.samples)
        setting = {"setting": asdict(RunSetting(run.seed, run.classes, run.samples, usual))} if run.trained else {}
        return {"card": run.card, "method": run.method} | setting

    def _first_classes(self, run: Run) -> frozenset[int]:
        """The classes of seed 0, which the original is reported on apart, as in the paper's Tables 10 and 11."""
        index = {wnid: label for label, wnid in enumerate(imagenet_wnids())}
        return frozenset(index[wnid] for wnid in self.place.imagenet_s.split(run)[0])

    def check_sets(self) -> None:
        """Refuse to begin where a set is missing."""
        lacking: list[str] = []
        for name in [*self.plan.sets, *self.plan.images]:
            try:
                self.on_disk(name)
            except UserError as error:
                lacking.append(name if lacking else f"{name} ({error})")
        if lacking:
            number = counted(len(lacking), "set")
            raise UserError(f"{number} missing: {', '.join(lacking)}; --dry-run says where to get each")

    def with_earlier(self) -> Evaluator:
        """An evaluator of the whole item as far as this folder has it: this call's runs, and those of earlier calls.

        Where the item averages over models (figure 4), a model counts once it was evaluated on every set.
        """
        known = set(known_records(self.place))

        def there(run: Run) -> bool:
            found = [(self.place.named(run), name) in known for name in self.plan.sets]
            return (any if self.plan.show == "table" else all)(found) and not (
                run.tokencut and self.place.has_older_masks
            )

        runs = [run for run in item_runs(self.plan.what, self.place.scale) if run in self.plan.runs or there(run)]
        if self.plan.show != "table":  # both models of a card, or neither
            cards = {run.card for run in runs if run.trained}
            runs = [run for run in runs if run.card in cards]
        return Evaluator(self.place, replace(self.plan, runs=tuple(runs)))

    def records_of(self, runs: Sequence[Run]) -> list[Record]:
        """What is recorded of some models on the plan's sets."""
        known = known_records(self.place)
        found = []
        for run in runs:
            who = self._said_of(run)
            mine = [known[key] for name in self.plan.sets if (key := (self.place.named(run), name)) in known]
            found += [replace(record, model=record.model | who) for record in mine]
        return found
