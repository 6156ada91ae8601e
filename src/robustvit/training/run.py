"""A guided run: measure, finetune, measure again, decide, draw."""

from __future__ import annotations

from collections.abc import Sequence

from robustvit.common.options import MaskFormat
from robustvit.common.progress import warn
from robustvit.common.verdict_files import Verdict
from robustvit.data.backgrounds import given_backgrounds
from robustvit.data.cached_photos import see_photos
from robustvit.data.datasets import MaskedPhotos
from robustvit.evaluation.class_notes import doubt_answers
from robustvit.evaluation.class_numbers import ClassNumbers
from robustvit.evaluation.deciding_metric import say_sizes
from robustvit.evaluation.group_report import GroupReport
from robustvit.evaluation.measure import measure
from robustvit.evaluation.measuring import MeasureSettings
from robustvit.evaluation.photo_measures import PhotoMeasure, read_measures, write_measures
from robustvit.guidance.last_layer import DeepFeatureReweighting
from robustvit.guidance.method import Guidance
from robustvit.models.classifier import Classifier
from robustvit.models.save import restore_weights
from robustvit.training.epoch_choice import check_measured, explain_no_choice, robust_score
from robustvit.training.head_data import photos_to_fit
from robustvit.training.head_fitting import fit_run
from robustvit.training.interpolation import interpolate_run
from robustvit.training.loop import train
from robustvit.training.mistakes import describe_mistakes, find_mistakes, repeat_mistakes
from robustvit.training.options import VerdictOptions
from robustvit.training.originals import measure_once
from robustvit.training.outcome import RunOutcome
from robustvit.training.preparation import PreparedRun
from robustvit.training.tracking import track_outcome


class GuidedRun:
    """A finetuning run, from the first measurement to the verdict; the model is changed in place.

    Attributes:
        groups: measures by group, once they are known; None without groups.
        by_class: numbers of each class, once they are known; None without classes.
    """

    def __init__(self, ready: PreparedRun, judging: VerdictOptions, mask_format: MaskFormat) -> None:
        gathered, classifier, accelerator = ready.gathered, ready.classifier, ready.accelerator
        self.folder, self.classifier, self.gathered = ready.settled.folder, classifier, gathered
        self.schedule, self.accelerator, self.judging, self.method = (
            ready.settled.plan_for(classifier),
            accelerator,
            judging,
            ready.method,
        )
        self.training = see_photos(gathered.train, classifier, augment=True, mask_format=mask_format)
        self.validation, self.held_out = gathered.read["validation"], gathered.read["verdict"]
        self.shared = self.folder.originals if accelerator.num_processes == 1 else None
        self._validated: list[PhotoMeasure] = []  # the original on the validation photos, once it is measured
        self.original = ready.original
        self.groups: GroupReport | None = None
        self.by_class: ClassNumbers | None = None
        classifier.to(accelerator.device)

    def measure(
        self, photos: MaskedPhotos, verdict: bool = True, model: Classifier | None = None
    ) -> list[PhotoMeasure]:
        """Measure the current classifier, or another model, for the verdict or for the choice of weights."""
        settings, device = self._settings(verdict), self.accelerator.device
        return measure(model or self.classifier, photos, settings, device=device, accelerator=self.accelerator)

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
        """Measure the original, before it is trained; trials of a sweep share its measures."""
        return measure_once(
            self.shared,
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
        notes += self._change_weights(guidance)
        restore_weights(self.classifier, self.folder.best)
        after = self.measure(self.held_out)
        if _pictures(before) != _pictures(after):
            before = self._measure_again(notes)
        outcome = RunOutcome(
            self.original,
            self.classifier,
            self.gathered,
            before,
            after,
            self._settings(verdict=True),
            self.schedule,
            self.accelerator,
            self.shared,
        )
        verdict = outcome.judge(guidance, notes)
        verdict = outcome.ask_without_training(verdict, self.judging.at_inference, self.folder)
        self.groups = outcome.groups
        if self.accelerator.is_main_process:
            self.by_class = outcome.by_class
            outcome.write(verdict, panels, self.folder)
        track_outcome(self.accelerator, self.folder, verdict)
        self.accelerator.wait_for_everyone()
        self.accelerator.end_training()
        return verdict

    def _change_weights(self, guidance: Guidance) -> list[str]:
        """Train, or fit a head, so that ``best/`` has the weights to judge; return notes for the verdict."""
        if isinstance(guidance, DeepFeatureReweighting):
            notes = [self._fit(guidance)]
        else:
            notes = self._repeat_mistakes()
            self._train(guidance)
        if self.schedule.weight_interpolation != 1:
            note = interpolate_run(
                self.classifier,
                self.original,
                self._measure_choice,
                validated=self._validated,
                schedule=self.schedule,
                accelerator=self.accelerator,
                folder=self.folder,
            )
            notes.append(note)
        return notes

    def _measure_choice(self) -> list[PhotoMeasure]:
        """Measure the current classifier on the validation photos."""
        return self.measure(self.validation, verdict=False)

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
                self._validated, self._measure_choice(), self.schedule.max_drop, self.schedule.metric
            ),
        )

    def _measure_validation(self) -> list[PhotoMeasure]:
        """Measure the accuracies of the original on the photos that choose the epoch."""
        found = self._measure_once(self.validation, verdict=False)
        if not any("mixed-other" in result.values for result in found):
            raise explain_no_choice(self.gathered.validation)
        check_measured(self.schedule.metric, found)
        return found

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
    """Return the kinds and donors of the swapped backgrounds of each photo."""
    return [[(swap.kind, swap.donor) for swap in result.swapped] for result in results]
