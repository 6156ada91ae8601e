"""Run an audit: hold photos in memory, measure each model, write page and record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from robustvit.audits.groups import Backgrounds, background_features, find_backgrounds, group_photos
from robustvit.audits.insertions import answers_to, insertions
from robustvit.audits.measures import audit_photos, fit_photos
from robustvit.audits.options import AuditRequest
from robustvit.audits.page import render_audit, shown_groups
from robustvit.audits.pictures import AuditPicture, choose_worst, draw_crops, draw_worst, thumbnails
from robustvit.audits.placements import ShiftedAnswers, choose_pastings, measure_placements, shift_values
from robustvit.audits.properties import PropertyAudit, audit_properties, photo_properties
from robustvit.audits.record import AuditData, ModelAudit, audit_record
from robustvit.audits.regions import Region, find_regions
from robustvit.audits.shortcuts import shortcut_record
from robustvit.common.errors import UserError, printable
from robustvit.common.files import write_json, write_text
from robustvit.common.progress import warn
from robustvit.common.provenance import versions
from robustvit.data.cached_photos import CachedPhotos
from robustvit.data.labels import doubt_order
from robustvit.data.objects_seen import describe_looked, look_at
from robustvit.data.photo import Photo
from robustvit.evaluation.measure import PhotoMeasure
from robustvit.explanation.features import check_features
from robustvit.models.classifier import Classifier, Preprocessing


class AuditRun:
    """An audit of one or two models on photos.

    Args:
        request: options of the audit.
        models: the model and, if there is one, the baseline, on one device.
        grouper: backbone that tells backgrounds apart.
        photos: with masks and labels.
        notes: for the reader; a line is added for each thing that could not be done.
        backgrounds: files to place objects on; empty to use the photos' backgrounds.
    """

    def __init__(
        self,
        request: AuditRequest,
        models: Sequence[Classifier],
        grouper: Classifier,
        photos: Sequence[Photo],
        notes: list[str],
        backgrounds: Sequence[Path],
    ) -> None:
        self.request, self.models, self.grouper, self.notes = request, list(models), grouper, notes
        self.photos, self.backgrounds = list(photos), list(backgrounds)
        self._held: dict[Preprocessing, CachedPhotos] = {}
        for model in self.models:
            self.held(model)
        held = self.held(self.models[0])
        for note in describe_looked(look_at(held), held.preprocessing):
            notes.append(note)
            warn(note)

    @property
    def device(self) -> torch.device:
        """Where the models are."""
        return self.models[0].mean.device

    def held(self, model: Classifier) -> CachedPhotos:
        """Return the photos as a model sees them; models with the same preprocessing share them."""
        own = model.preprocessing
        if own not in self._held:
            self._held[own] = CachedPhotos(self.photos, own, mask_format=self.request.photos.mask_format)
            self._held[own].read(self.request.running.workers)
        return self._held[own]

    def measure(self) -> AuditData:
        """Measure the models and find the groups."""
        found = self._measure_models()
        self._doubt_order([one.plain for one in found[0].photos])
        kinds = self._find_backgrounds()
        names = [printable(str(photo.class_name)) for photo in self.photos]
        labels = dict(enumerate(self.models[0].class_names))
        labels |= {
            int(photo.label): name for photo, name in zip(self.photos, names, strict=True) if photo.label is not None
        }
        right = [[one.values["ordinary"] for one in side.photos] for side in found]
        before = right[1] if len(right) > 1 else None
        return AuditData(
            model=found[0],
            baseline=found[1] if len(found) > 1 else None,
            images=str(self.request.photos.images),
            files=[photo.image for photo in self.photos],
            masks=[photo.mask for photo in self.photos],
            names=names,
            labels=labels,
            backgrounds=kinds,
            groups=[] if kinds is None else group_photos(kinds, names, right[0], before),
            worst=choose_worst(found[0].photos, self.request.auditing.worst),
            notes=self.notes,
            settings={name: _plain(value) for name, value in self.request.settings.items()},
            versions=versions(),
            answers=self._insert(found),
            regions=self._find_regions(names, found[0]),
            properties=self._find_properties(names),
        )

    def _insert(self, found: Sequence[ModelAudit]) -> dict[str, dict[str, list[int]]]:
        """Return the answers of each model with other shortcuts put in."""
        files = [] if self.request.auditing.insert is None else [self.request.auditing.insert]
        return {
            side: {"": [one.plain.predicted for one in audited.photos]}
            | answers_to(
                model,
                self.held(model),
                insertions(model.preprocessing.input_size, files),
                self.request.running.batch_size,
            )
            for side, model, audited in zip(("model", "baseline"), self.models, found, strict=False)
        }

    def _find_regions(self, names: Sequence[str], found: ModelAudit) -> list[Region]:
        """Group what the model looks at beside the objects; a note says why where it cannot be told."""
        if not self.request.auditing.regions:
            return []
        model, running = self.models[0], self.request.running
        answers = [(one.plain.predicted, one.plain.probability) for one in found.photos]
        try:
            return find_regions(
                model, self.held(model), names, answers, method=self.request.maps.relevance,
                most=self.request.auditing.regions, seed=running.seed, batch_size=running.batch_size,
            )  # fmt: skip
        except UserError as error:
            self.notes.append(f"What the model looks at beside the objects is not shown: {error}.")
            return []

    def _find_properties(self, names: Sequence[str]) -> PropertyAudit | None:
        values = [photo_properties(photo.image, photo.pixels) for photo in self.photos]
        return audit_properties(np.array(values), names, self.request.running.seed)

    def _doubt_order(self, answered: Sequence[PhotoMeasure]) -> None:
        """Add a note if the answers fit another order of the classes far better."""
        classes, labels = [photo.class_name for photo in self.photos], [one.label for one in answered]
        self.notes += doubt_order(classes, labels, [one.predicted for one in answered], self.models[0])

    def write(self, data: AuditData, page: Path, record_file: Path) -> None:
        """Draw the pictures, then write the record and the page that shows it."""
        record = audit_record(data) | shortcut_record(data)
        kinds = record["backgrounds"]["kinds"] if record["backgrounds"] else []
        groups = [*shown_groups(record, True), *shown_groups(record, False)]
        small = [index for row in [*kinds, *groups] for index in row["typical"]]
        tiles = {
            side: self._draw_worst(model, data.sides[side], data.worst)
            for side, model in zip(data.sides, self.models, strict=True)
        }
        crops = [draw_crops(self.held(self.models[0]), self.models[0], region.shown) for region in data.regions]
        text = render_audit(record, tiles, thumbnails(self.held(self.models[0]), small), record_file.name, crops)
        page.parent.mkdir(parents=True, exist_ok=True)
        write_json(record, record_file)
        write_text(text, page)

    def _measure_models(self) -> list[ModelAudit]:
        request, running = self.request, self.request.running
        audited = [
            audit_photos(
                model, self.held(model), method=request.maps.relevance, device=self.device,
                swaps=request.judging.swaps, tries=request.auditing.tries, seed=running.seed,
                batch_size=running.batch_size,
            )
            for model in self.models
        ]  # fmt: skip
        shifts = self._measure_placements([photo.label for photo in audited[0]])
        for photos, answers in zip(audited, shifts, strict=True):
            for index, values in shift_values(answers).items():
                photos[index].values |= values
                photos[index].placed_on = answers[index].background
        return [
            ModelAudit(model.source, photos, answers)
            for model, photos, answers in zip(self.models, audited, shifts, strict=True)
        ]

    def _measure_placements(self, labels: list[int]) -> list[ShiftedAnswers]:
        held = self.held(self.models[0])
        able, usable = fit_photos(held)
        pastings = choose_pastings(
            labels, able, usable, self.request.auditing.shifted, self.request.running.seed, self.backgrounds
        )
        return measure_placements(
            self.models,
            held,
            pastings,
            batch_size=self.request.running.batch_size,
            workers=self.request.running.workers,
            device=self.device,
        )

    def _find_backgrounds(self) -> Backgrounds | None:
        feature, block = self.request.grouping.group_feature, self.request.grouping.group_block
        try:
            check_features(self.grouper, feature, block)
        except UserError as error:
            self.notes.append(
                f"No groups by background: {error}. Name a backbone that tells backgrounds apart with --group-model."
            )
            return None
        features = background_features(
            self.grouper,
            self.held(self.grouper),
            feature=feature,
            block=block,
            batch_size=self.request.running.batch_size,
            device=self.device,
        )
        return find_backgrounds(features, count=self.request.grouping.groups, seed=self.request.running.seed)

    def _draw_worst(self, model: Classifier, side: ModelAudit, worst: Sequence[int]) -> list[list[AuditPicture]]:
        return draw_worst(
            self.held(model),
            model,
            side.photos,
            worst,
            method=self.request.maps.relevance,
            batch_size=self.request.running.batch_size,
            device=self.device,
        )


def _plain(value: object) -> object:
    """Convert an option to a JSON value; models given from Python become the name of their class."""
    return value if value is None or isinstance(value, (str, int, float, list)) else type(value).__name__
