"""Run an audit: hold photos in memory, measure each model step by step, write page and record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from robustvit.audits.audit_data import AuditData, ModelAudit
from robustvit.audits.audited_photo import AuditedPhoto
from robustvit.audits.background_kinds import BackgroundKinds, background_features, find_backgrounds, group_photos
from robustvit.audits.budget import settle_budget
from robustvit.audits.companions import Companion, judge_companions, read_companions
from robustvit.audits.measures import PhotoSettings, audit_photos, fit_photos
from robustvit.audits.memory import Memory
from robustvit.audits.options import AuditRequest
from robustvit.audits.pictures import choose_worst
from robustvit.audits.placements import ShiftedAnswers, choose_pastings, measure_placements, shift_values
from robustvit.audits.properties import PropertyAudit, audit_properties, photo_properties
from robustvit.audits.region import Region
from robustvit.audits.regions import Asked, RegionSettings, find_regions
from robustvit.audits.shortcuts import name_shortcuts
from robustvit.audits.spending import Spending
from robustvit.common.errors import UserError, printable
from robustvit.common.progress import tell, warn
from robustvit.common.provenance import versions
from robustvit.data.cached_photos import CachedPhotos
from robustvit.data.class_matching import doubt_order
from robustvit.data.objects_seen import describe_looked, look_at
from robustvit.data.photo import Photo
from robustvit.data.seen_photos import hold_photos
from robustvit.data.several_labels import NO_LABEL
from robustvit.evaluation.deciding_metric import metric_for
from robustvit.evaluation.groups import report_groups
from robustvit.evaluation.insertions import answers_to, insertions
from robustvit.evaluation.measuring import MeasureSettings
from robustvit.evaluation.rival_results import RivalBar, RivalResults, ask_about_objects
from robustvit.evaluation.rivals import RivalPlan, fewer_swaps
from robustvit.explanation.features import check_features
from robustvit.models.classifier import Classifier, Preprocessing

_SIDES = ("model", "baseline")


ONLY_ONE_CLASS = (
    "Kinds of background, other shortcuts, moved objects, regions beside the object and showing the object alone "
    "are measured for one class a photo, so this audit of several labels leaves them out."
)


class AuditRun:
    """An audit of one or two models on photos.

    Args:
        request: options of the audit.
        models: the model and, if there is one, the baseline, on one device.
        grouper: backbone that tells backgrounds apart.
        photos: with masks and labels.
        notes: for the reader; a line is added for each thing that could not be done.
        backgrounds: files to place objects on; empty to use the photos' backgrounds.
        memory: answers of an audit that was stopped, and of this one.
    """

    def __init__(
        self,
        request: AuditRequest,
        models: Sequence[Classifier],
        grouper: Classifier,
        photos: Sequence[Photo],
        notes: list[str],
        backgrounds: Sequence[Path],
        memory: Memory | None = None,
    ) -> None:
        self.request, self.models, self.grouper, self.notes = request, list(models), grouper, notes
        self.photos, self.backgrounds = list(photos), list(backgrounds)
        self.budget, self.memory = settle_budget(request.auditing), memory or Memory()
        networks = dict(zip(_SIDES, (one.network for one in self.models), strict=False))
        if grouper.network not in networks.values():
            networks["groups"] = grouper.network
        self.spending = Spending(networks, self.memory, len(self.photos))
        self._held: dict[Preprocessing, CachedPhotos] = {}
        for model in self.models:
            self.held(model)
        held = self.held(self.models[0])
        objects = request.auditing.objects
        self.companions = {} if objects is None else read_companions(objects, str(request.photos.images), held)
        for note in describe_looked(look_at(held), held.preprocessing):
            notes.append(note)
            warn(note)

    @property
    def device(self) -> torch.device:
        """Where the models are."""
        return self.models[0].mean.device

    @property
    def names(self) -> list[str]:
        """The class of each photo, or all of them, printable."""
        if self.several:
            name_of = self.models[0].name_of
            shown = [" + ".join(map(name_of, photo.labels or ())) for photo in self.photos]
            return [printable(one or NO_LABEL) for one in shown]
        return [printable(str(photo.class_name)) for photo in self.photos]

    @property
    def several(self) -> bool:
        """Whether photos have several labels."""
        return self.models[0].head_kind == "multi-label"

    def held(self, model: Classifier) -> CachedPhotos:
        """Return the photos as a model sees them; models with the same preprocessing share them."""
        own = model.preprocessing
        if own not in self._held:
            self._held[own] = hold_photos(self.photos, self.models[0], own, mask_format=self.request.photos.mask_format)
            self._held[own].read(self.request.running.workers)
        return self._held[own]

    def measure_first(self) -> AuditData:
        """Measure what the verdict needs, and say it."""
        with self.spending.step("kinds of background"):  # first: its pictures are also those without the object
            kinds = None if self.several else self._find_backgrounds()
        with self.spending.step("verdict"):
            found = [self._audit(model) for model in self.models]
        plain = [one.plain for one in found[0]]
        labels = dict(enumerate(self.models[0].class_names))
        if self.several:
            self.notes.append(ONLY_ONE_CLASS)
        else:
            classes, truth = [photo.class_name for photo in self.photos], [one.label for one in plain]
            self.notes += doubt_order(classes, truth, [one.predicted for one in plain], self.models[0])
            labels |= {int(photo.label): name for photo, name in zip(self.photos, self.names, strict=True)
                       if photo.label is not None}  # fmt: skip
        metric = metric_for(self.models[0].head_kind, self.request.auditing.metric)
        sides = [ModelAudit(one.source, photos, {}, metric) for one, photos in zip(self.models, found, strict=True)]
        right = [[one.values["ordinary"] for one in side.photos] for side in sides]
        data = AuditData(
            model=sides[0],
            baseline=sides[1] if len(sides) > 1 else None,
            images=str(self.request.photos.images),
            files=[photo.image for photo in self.photos],
            masks=[photo.mask for photo in self.photos],
            names=self.names,
            labels=labels,
            backgrounds=kinds,
            groups=[] if kinds is None else group_photos(kinds, self.names, *right),
            by_group=report_groups(plain, [one.plain for one in found[1]] if len(found) > 1 else None),
            worst=choose_worst(found[0], self.request.auditing.worst),
            notes=self.notes,
            settings=self.settings(),
            versions=versions(),
            spent=self.spending.record(),
        )
        for side, one in data.sides.items():
            tell(f"{side}: {one.verdict.reliance}. {one.verdict.sentence}")
        return data

    def measure_rest(self, data: AuditData) -> AuditData:
        """Measure what the model looks at, other shortcuts and moved objects, and say what is found."""
        said: list[str] = []
        if self.several:
            return replace(data, spent=self.spending.record())

        def tell_new(now: AuditData) -> AuditData:
            for line in name_shortcuts(now):
                if line not in said:
                    said.append(line)
                    tell(line)
            return now

        with self.spending.step("other shortcuts"):
            data = replace(
                data,
                answers=self._insert(data.sides),
                properties=self._find_properties(),
                companions=self._judge_companions(data.sides),
            )
        tell_new(data)
        with self.spending.step("position, size and rotation"):
            data = self._place(data)
        with self.spending.step("regions beside the object"):
            data = replace(data, regions=self._find_regions(data.sides))
        with self.spending.step("without training"):
            data = replace(data, at_inference=self._ask_about_objects(list(data.sides.values())))
        return tell_new(replace(data, spent=self.spending.record()))

    def settings(self) -> dict[str, object]:
        """Return the options of the call, and the numbers that the budget settled."""
        settled = {"tries": self.budget.tries, "shifted": self.budget.shifted}
        return {name: _plain(value) for name, value in (dict(self.request.settings) | settled).items()}

    def _audit(self, model: Classifier) -> list[AuditedPhoto]:
        request, running = self.request, self.request.running
        settings = PhotoSettings(
            swaps=request.judging.swaps, tries=self.budget.tries, variants=self.budget.variants, seed=running.seed,
            method=request.maps.relevance, batch_size=running.batch_size, asking=self.memory,
        )  # fmt: skip
        return audit_photos(model, self.held(model), settings, device=self.device)

    def _ask_about_objects(self, found: Sequence[ModelAudit]) -> RivalResults | None:
        """Measure what trains nothing: the baseline, or else the model, shown the objects alone."""
        inference, running = self.request.inference, self.request.running
        asked = list(self.budget.rivals) if inference.at_inference is None else inference.at_inference
        plan = RivalPlan.of(asked, inference.object_by, self.request.maps.relevance)
        sides = [fewer_swaps([one.plain for one in side.photos], ("mixed-other",), 1) for side in found]
        bar = RivalBar("the baseline", ("the model", sides[0])) if len(sides) > 1 else RivalBar()
        model = self.models[len(sides) - 1]
        settings = MeasureSettings(batch_size=running.batch_size, asking=self.memory)
        return ask_about_objects(model, self.held(model), sides[-1], plan, settings, bar)

    def _insert(self, sides: Mapping[str, ModelAudit]) -> dict[str, dict[str, list[int]]]:
        """Return the answers of each model with other shortcuts put in."""
        files = [] if self.request.auditing.insert is None else [self.request.auditing.insert]
        found = {}
        for (side, audited), model in zip(sides.items(), self.models, strict=True):
            size = model.preprocessing.input_size
            changes = insertions(
                size, files, self.request.auditing.text, artefacts=self.budget.artefacts, whole=self.budget.whole
            )
            plain = [one.plain.predicted for one in audited.photos]
            batch_size = self.request.running.batch_size
            found[side] = {"": plain} | answers_to(model, self.held(model), changes, batch_size, self.memory)
        return found

    def _alike(self, sides: Mapping[str, ModelAudit]) -> list[Asked]:
        """Return the model and, if it takes photos as the model does, the baseline, with their answers."""
        own = self.models[0].preprocessing
        return [
            Asked(model, [(one.plain.predicted, one.plain.probability) for one in side.photos])
            for side, model in zip(sides.values(), self.models, strict=True)
            if model.preprocessing == own
        ]

    def _find_regions(self, sides: Mapping[str, ModelAudit]) -> list[Region]:
        """Group what the model looks at beside the objects; a note says why where it cannot be told."""
        if not self.request.auditing.regions:
            return []
        running, auditing = self.request.running, self.request.auditing
        asked, *others = self._alike(sides)
        settings = RegionSettings(
            method=self.request.maps.relevance, most=auditing.regions, seed=running.seed,
            batch_size=running.batch_size, passes=self._passes_left(), anywhere=auditing.without_masks,
            asking=self.memory,
        )  # fmt: skip
        try:
            return find_regions(asked.model, self.held(asked.model), self.names, asked.answers, settings, *others)
        except UserError as error:
            self.notes.append(f"What the model looks at beside the objects is not shown: {error}.")
            return []

    def _judge_companions(self, sides: Mapping[str, ModelAudit]) -> list[Companion]:
        """Blur the objects that annotations name beside the classes' own."""
        if not self.companions:
            return []
        alike = self._alike(sides)
        predicted = [[said for said, _ in one.answers] for one in alike]
        return judge_companions(
            [one.model for one in alike], self.held(alike[0].model), self.companions, predicted,
            batch_size=self.request.running.batch_size, asking=self.memory,
        )  # fmt: skip

    def _passes_left(self) -> int | None:
        """Return how many passes blurring may take; finding regions takes one a photo, and one more without masks."""
        count, limits = len(self.photos), []
        if self.budget.region_passes is not None:
            limits.append(int(self.budget.region_passes * count))
        if self.budget.passes is not None:
            finding = 1 + self.request.auditing.without_masks
            limits.append((self.budget.passes - finding) * count - self.spending.passes("model"))
        return max(0, min(limits)) if limits else None

    def _find_properties(self) -> PropertyAudit | None:
        values = [photo_properties(photo.image, photo.pixels) for photo in self.photos]
        return audit_properties(np.array(values), self.names, self.request.running.seed)

    def _place(self, data: AuditData) -> AuditData:
        """Add the answers for moved objects."""
        shifts = self._measure_placements([photo.label for photo in data.model.photos])
        sides = []
        for side, answers in zip(data.sides.values(), shifts, strict=True):
            for index, values in shift_values(answers).items():
                side.photos[index].values |= values
                side.photos[index].placed_on = answers[index].background
            sides.append(replace(side, shifts=answers))
        return replace(data, model=sides[0], baseline=sides[1] if len(sides) > 1 else None)

    def _measure_placements(self, labels: list[int]) -> list[ShiftedAnswers]:
        held, running = self.held(self.models[0]), self.request.running
        able, usable = fit_photos(held)
        pastings = choose_pastings(labels, able, usable, self.budget.shifted, running.seed, self.backgrounds)
        return measure_placements(
            self.models, held, pastings, batch_size=running.batch_size, workers=running.workers, device=self.device,
            asking=self.memory,
        )  # fmt: skip

    def _find_backgrounds(self) -> BackgroundKinds | None:
        grouping, running = self.request.grouping, self.request.running
        try:
            check_features(self.grouper, grouping.group_feature, grouping.group_block)
        except UserError as error:
            self.notes.append(
                f"No groups by background: {error}. Name a backbone that tells backgrounds apart with --group-model."
            )
            return None
        features = background_features(
            self.grouper, self.held(self.grouper), feature=grouping.group_feature, block=grouping.group_block,
            batch_size=running.batch_size, device=self.device, asking=self.memory,
        )  # fmt: skip
        return find_backgrounds(features, count=grouping.groups, seed=running.seed)


def _plain(value: object) -> object:
    """Convert an option to a JSON value; models given from Python become the name of their class."""
    return value if value is None or isinstance(value, (str, int, float, list)) else type(value).__name__
