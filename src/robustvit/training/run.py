"""A guided run: measure, finetune, measure again, decide, draw."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import asdict, replace

import torch
from accelerate import Accelerator

from robustvit.common.files import write_json
from robustvit.common.options import MaskFormat
from robustvit.common.outcomes import MIN_PHOTOS
from robustvit.common.progress import warn
from robustvit.common.run_folder import RunFolder
from robustvit.common.verdict import Comparison, Verdict, write_verdict
from robustvit.data.backgrounds import given_backgrounds
from robustvit.data.datasets import MaskedPhotos
from robustvit.data.gather import RunPhotos
from robustvit.data.photo import Photo
from robustvit.data.seen_photos import see_photos
from robustvit.evaluation.class_numbers import ClassNumbers, class_numbers, say_sizes
from robustvit.evaluation.compare import compare, decide, deciding_measure
from robustvit.evaluation.doubted_order import doubt_answers
from robustvit.evaluation.groups import GroupReport, report_groups
from robustvit.evaluation.label_measures import measure_model
from robustvit.evaluation.measure import MeasureSettings, PhotoMeasure, measure, read_measures, write_measures
from robustvit.evaluation.measured_intervals import measure_interval, measure_name
from robustvit.evaluation.rival_results import RivalBar, ask_about_objects, write_rivals
from robustvit.evaluation.rivals import RivalPlan, fewer_swaps
from robustvit.evaluation.traded import describe_trade, other_costs
from robustvit.guidance.last_layer import DeepFeatureReweighting
from robustvit.guidance.method import Guidance
from robustvit.models.classifier import Classifier
from robustvit.models.save import restore_weights, save_model
from robustvit.training.choice import no_choice
from robustvit.training.head_fitting import fit_run
from robustvit.training.head_photos import photos_to_fit
from robustvit.training.interpolation import CHOSEN_BY, choose_share, describe_share, interpolate_weights
from robustvit.training.loop import robust_score, train
from robustvit.training.mistakes import describe_mistakes, find_mistakes, repeat_mistakes
from robustvit.training.options import VerdictOptions
from robustvit.training.originals import measure_once
from robustvit.training.panels import choose_panels, draw_panels
from robustvit.training.schedule import Schedule
from robustvit.training.tracking import track_outcome

RIVALS = "crop,blur"  # that train nothing, and are measured unless others are asked for


def with_predictions(classifier: Classifier, device: torch.device, photos: Sequence[Photo]) -> list[Photo]:
    """Label photos by the model's predictions."""
    bare = MaskedPhotos([replace(photo, mask=None) for photo in photos], classifier.preprocessing)
    measures = measure(classifier.to(device), bare, MeasureSettings(swaps=0, maps=False), device=device)
    return [replace(photo, label=found.predicted) for photo, found in zip(photos, measures, strict=True)]


class GuidedRun:
    """One finetuning run, from the first measurement to the verdict.

    Args:
        folder: gets everything that the run writes.
        classifier: changed in place.
        gathered: its photos.
        schedule: how long and how fast.
        accelerator: device, precision, processes and trackers.
        judging: swapped backgrounds per photo and kind, and other backgrounds.
        mask_format: see ``read_mask``.
        method: relevance method for measuring and drawing.

    Attributes:
        groups: measures by group, once they are known; None without groups.
    """

    def __init__(
        self,
        folder: RunFolder,
        classifier: Classifier,
        gathered: RunPhotos,
        schedule: Schedule,
        accelerator: Accelerator,
        judging: VerdictOptions,
        mask_format: MaskFormat,
        method: str = "gae",
    ) -> None:
        self.folder, self.classifier, self.gathered = folder, classifier, gathered
        self.schedule, self.accelerator, self.judging, self.method = schedule, accelerator, judging, method
        self.training = see_photos(gathered.train, classifier, augment=True, mask_format=mask_format)
        self.validation, self.held_out = gathered.read["validation"], gathered.read["verdict"]
        self._validated: list[PhotoMeasure] = []  # the original on the validation photos, once it is measured
        self.original = copy.deepcopy(classifier).cpu()
        self.groups: GroupReport | None = None
        self.by_class: ClassNumbers | None = None  # set when the run has ended
        classifier.to(accelerator.device)

    def measure(
        self, photos: MaskedPhotos, verdict: bool = True, model: Classifier | None = None
    ) -> list[PhotoMeasure]:
        """Measure the current classifier, or another model: everything for the verdict, or what chooses weights."""
        settings, device = self._settings(verdict), self.accelerator.device
        return measure_model(model or self.classifier, photos, settings, device=device, accelerator=self.accelerator)

    def _settings(self, verdict: bool) -> MeasureSettings:
        return MeasureSettings(
            self.judging.swaps,
            self.schedule.seed,
            ("mixed-same", "mixed-other") if verdict else ("mixed-other",),
            given_backgrounds(self.judging.backgrounds) if verdict else None,
            maps=verdict,
            method=self.method,
            batch_size=min(32, 4 * self.schedule.batch_size),  # a batch of maps takes as much memory as a step
            workers=self.schedule.workers,
        )

    def _measure_once(self, photos: MaskedPhotos, verdict: bool = True) -> list[PhotoMeasure]:
        """Measure the original, before it is trained; trials of a sweep take what another one measured."""
        alone = self.accelerator.num_processes == 1
        return measure_once(
            self.folder.originals if alone else None,
            self.classifier,
            photos,
            self._settings(verdict),
            self.gathered.prints,
            lambda: self.measure(photos, verdict),
        )

    def finish(self, guidance: Guidance, panels: int) -> Verdict:
        """Measure, train, measure again, decide and draw."""
        before = self._measure_original()
        sizes = [photo.class_name for photo in self.gathered.verdict if photo.labels is None]
        notes = [*self.gathered.notes, *self._doubt_order(before), *say_sizes(sizes, self.schedule.metric)]
        if isinstance(guidance, DeepFeatureReweighting):
            notes.append(self._fit(guidance))
        else:
            notes += self._repeat_mistakes()
            self._train(guidance)
        if self.schedule.weight_interpolation != 1:
            notes.append(self._interpolate())
        restore_weights(self.classifier, self.folder.best)
        after = self.measure(self.held_out)
        if _pictures(before) != _pictures(after):
            before = self._measure_again(notes)
        comparisons = compare(before, after, self.schedule.metric)
        trained_on = getattr(guidance, "trained_on", ())
        notes += self._describe_trade(before, after, comparisons, trained_on)
        decided = decide(
            comparisons,
            max_drop=self.schedule.max_drop,
            notes=notes,
            trained_on=trained_on,
            metric=self.schedule.metric,
        )
        verdict = replace(decided, guidance=getattr(guidance, "title", None))
        self.groups = report_groups(after, before, self.gathered.groups)
        verdict = self._ask_without_training(verdict, before, after)
        if self.accelerator.is_main_process:
            self._write_outcome(before, after, verdict, panels)
        track_outcome(self.accelerator, self.folder, verdict)
        self.accelerator.wait_for_everyone()
        self.accelerator.end_training()
        return verdict

    def _describe_trade(
        self,
        before: list[PhotoMeasure],
        after: list[PhotoMeasure],
        comparisons: Sequence[Comparison],
        trained_on: Sequence[str],
    ) -> list[str]:
        """Return lines on other shortcuts that cost the guided model more than the original."""
        counted = sum(one.label is not None for one in before)
        if counted < MIN_PHOTOS or self.classifier.head_kind == "multi-label":  # answers are one class a photo
            return []
        size = min(32, 4 * self.schedule.batch_size)
        original = self.original.to(self.accelerator.device)
        risen = other_costs(original, self.classifier, self.held_out, (before, after), size)
        self.original.cpu()
        by_name = {one.measure: one.difference for one in comparisons}
        decisive = deciding_measure(by_name, trained_on)
        return describe_trade(risen, None if decisive is None else by_name[decisive])

    def _doubt_order(self, before: list[PhotoMeasure]) -> list[str]:
        """Return a line if the original's answers fit another order of the classes far better."""
        classes = {str(photo.image): photo.class_name for photo in self.gathered.verdict}
        return doubt_answers([classes.get(one.image) for one in before], before, self.original)

    def _fit(self, guidance: DeepFeatureReweighting) -> str:
        """Give the classifier a new head and return a note for the verdict."""
        photos = photos_to_fit(self.gathered, self.classifier.num_classes, guidance.balance)
        plain = MaskedPhotos(photos, self.classifier.preprocessing, mask_format=self.held_out.mask_format)
        return fit_run(
            self.classifier,
            plain,
            balance=guidance.balance,
            schedule=self.schedule,
            accelerator=self.accelerator,
            folder=self.folder,
        )

    def _interpolate(self) -> str:
        """Make ``best/`` a model between the original and the kept epoch, and return a note for the verdict.

        The kept epoch moves to ``finetuned/`` first, so that a run that is killed here can be resumed.
        """
        folder, network = self.folder, self.classifier.network
        if self.accelerator.is_main_process and not folder.finetuned.exists():
            os.replace(folder.best, folder.finetuned)
        self.accelerator.wait_for_everyone()
        restore_weights(self.classifier, folder.finetuned)
        finetuned = {name: weight.cpu().clone() for name, weight in network.state_dict().items()}
        original = self.original.network.state_dict()

        names = [measure_name(self.schedule.metric, kind) for kind in CHOSEN_BY]

        def accuracies(share: float) -> dict[str, float]:
            if share == 0 and self._validated:
                found = self._validated
            else:
                network.load_state_dict(interpolate_weights(original, finetuned, share))
                found = self.measure(self.validation, verdict=False)
            return {name: value.mean for name in names if (value := measure_interval(found, name))}

        asked, tried = self.schedule.weight_interpolation, list[dict[str, float]]()
        if asked == "auto":
            share, tried = choose_share(accuracies, self.schedule.max_drop, names)
        else:
            share = float(asked)
        network.load_state_dict(interpolate_weights(original, finetuned, share))
        if self.accelerator.is_main_process:
            save_model(self.classifier, folder.best)
            write_json({"share": share, "tried": tried}, folder.interpolation)
        self.accelerator.wait_for_everyone()
        return describe_share(share, tried)

    def _repeat_mistakes(self) -> list[str]:
        """Find the mistakes of a first model, repeat them in training, and return notes for the verdict."""
        if self.schedule.group_method != "jtt":
            return []
        wrong = find_mistakes(
            self.classifier, self.training, self.validation, self.schedule, self.accelerator, self.folder
        )
        photos = self.gathered.train
        self.training = see_photos(
            repeat_mistakes(photos, wrong, self.schedule.jtt_times),
            self.classifier,
            augment=True,
            mask_format=self.training.mask_format,
        )
        return [describe_mistakes(photos, wrong, self.schedule)]

    def _train(self, guidance: Guidance) -> None:
        """Train, epoch by epoch."""
        if self.schedule.chooses_by_swaps:
            self._validated = self._measure_validation()
        train(
            self.classifier,
            self.training,
            self.validation,
            guidance=guidance,
            schedule=self.schedule,
            accelerator=self.accelerator,
            folder=self.folder,
            robust_score=lambda: robust_score(
                self._validated,
                self.measure(self.validation, verdict=False),
                self.schedule.max_drop,
                self.schedule.metric,
            ),
        )

    def _measure_validation(self) -> list[PhotoMeasure]:
        """Measure the accuracies of the original on the photos that choose the epoch."""
        found = self._measure_once(self.validation, verdict=False)
        if not any("mixed-other" in result.values for result in found):
            raise no_choice(self.gathered.validation)
        return found

    def _ask_without_training(self, verdict: Verdict, before: list[PhotoMeasure], after: list[PhotoMeasure]) -> Verdict:
        """Measure the original asked about the object alone; the verdict names one that beats the kept model."""
        plan = RivalPlan.of(self.judging.at_inference or RIVALS, "relevance", self.method)
        measure = deciding_measure([one.measure for one in verdict.comparisons], verdict.trained_on)
        if measure is None:
            return verdict
        plain, guided = (fewer_swaps(one, (measure,), 1) for one in (before, after))
        kept = ("the original", plain) if verdict.accepted is False else ("the guided model", guided)
        bar = RivalBar("the original", kept, self.schedule.max_drop, verdict.trained_on)
        original = self.original.to(self.accelerator.device)
        found = ask_about_objects(original, self.held_out, plain, plan, self._settings(True), bar, self.accelerator)
        self.original.cpu()
        if found is None:
            return verdict
        if self.accelerator.is_main_process:
            write_rivals(found, self.folder.at_inference)
        return replace(verdict, notes=(*verdict.notes, found.winner)) if found.winner else verdict

    def _write_outcome(
        self, before: list[PhotoMeasure], after: list[PhotoMeasure], verdict: Verdict, panels: int
    ) -> None:
        """Write pictures and measures, then the verdict of the run, which marks it as finished."""
        chosen = choose_panels(before, after, panels)
        guided = self.classifier.cpu().eval()
        draw_panels(chosen, self.held_out, self.original, guided, self.folder.panels, self.method)
        write_measures(after, self.folder.after)
        if self.groups is not None:
            write_json({"training": dict(self.gathered.groups)} | asdict(self.groups), self.folder.groups)
        self.by_class = class_numbers(after, self.classifier.name_of, before)
        if self.by_class is not None:
            write_json(asdict(self.by_class), self.folder.by_class)
        write_verdict(verdict, self.folder.best / "verdict.json")
        write_verdict(verdict, self.folder.verdict)

    def _measure_original(self) -> list[PhotoMeasure]:
        """Measure the original model, or read its measures from the folder of a resumed run."""
        if self.folder.before.is_file():
            return read_measures(self.folder.before)
        before = self._measure_once(self.held_out)
        if self.accelerator.is_main_process:
            write_measures(before, self.folder.before)
        return before

    def _measure_again(self, notes: list[str]) -> list[PhotoMeasure]:
        """Measure the original on the current backgrounds; the measures in the folder are those of an older version."""
        chosen = "" if self.schedule.select == "loss" else " Earlier epochs were chosen on the other backgrounds."
        notes.append(
            "The run was started with an older version, which drew other backgrounds: the original was measured again."
            + chosen
        )
        warn(notes[-1])
        before = self.measure(self.held_out, model=self.original.to(self.accelerator.device))
        self.original.cpu()
        if self.accelerator.is_main_process:
            write_measures(before, self.folder.before)
        return before


def _pictures(results: Sequence[PhotoMeasure]) -> list[list[tuple[str, int]]]:
    """Return the swapped backgrounds that each photo was measured on."""
    return [[(swap.kind, swap.donor) for swap in result.swapped] for result in results]
