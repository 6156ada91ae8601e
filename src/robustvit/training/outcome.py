"""The outcome of a run: its verdict, rivals without training, files and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from accelerate import Accelerator

from robustvit.common.files import write_json
from robustvit.common.options import AtInference
from robustvit.common.outcomes import MIN_PHOTOS
from robustvit.common.run_folder import RunFolder
from robustvit.common.verdict_files import Comparison, Verdict, write_verdict
from robustvit.data.gather import RunPhotos
from robustvit.evaluation.class_notes import describe_lost_classes
from robustvit.evaluation.class_numbers import ClassNumbers, class_numbers
from robustvit.evaluation.group_report import GroupReport
from robustvit.evaluation.groups import report_groups
from robustvit.evaluation.measuring import FIRST_PHOTOS, MeasureSettings
from robustvit.evaluation.photo_measures import PhotoMeasure, write_measures
from robustvit.evaluation.rival_results import RivalBar, ask_about_objects, write_rivals
from robustvit.evaluation.rivals import RivalPlan, fewer_swaps
from robustvit.evaluation.traded_shortcuts import describe_trade, other_costs
from robustvit.evaluation.verdict import compare, decide, deciding_measure
from robustvit.guidance.method import Guidance
from robustvit.models.classifier import Classifier
from robustvit.training.originals import remember_insertions
from robustvit.training.panels import choose_panels, draw_panels
from robustvit.training.schedule import Schedule

RIVALS = "crop"  # the rival without training that is measured by default: it lost least of the three


@dataclass(frozen=True)
class RunOutcome:
    """The original (on the CPU) and the guided model, measured on the same pictures of the test photos.

    ``shared`` is the folder in which trials share the answers of the original; None for a run by itself.
    """

    original: Classifier
    guided: Classifier
    gathered: RunPhotos
    before: list[PhotoMeasure]
    after: list[PhotoMeasure]
    settings: MeasureSettings
    schedule: Schedule
    accelerator: Accelerator
    shared: Path | None = None

    @cached_property
    def groups(self) -> GroupReport | None:
        """Measures by group; None without groups."""
        return report_groups(self.after, self.before, self.gathered.groups)

    @cached_property
    def by_class(self) -> ClassNumbers | None:
        """Numbers of each class; None without classes."""
        return class_numbers(self.after, self.guided.name_of, self.before)

    def judge(self, guidance: Guidance, notes: Sequence[str]) -> Verdict:
        """Return the verdict on the guided model, with notes on what else it costs."""
        comparisons = compare(self.before, self.after, self.schedule.metric)
        trained_on = getattr(guidance, "trained_on", ())
        decided = decide(
            comparisons,
            max_drop=self.schedule.max_drop,
            notes=[*notes, *self._describe_trade(comparisons, trained_on)],
            trained_on=trained_on,
            metric=self.schedule.metric,
        )
        lost = describe_lost_classes(self.before, self.after, self.guided.name_of)
        return replace(decided.saying(*lost), guidance=getattr(guidance, "title", None))

    def _describe_trade(self, comparisons: Sequence[Comparison], trained_on: Sequence[str]) -> list[str]:
        """Return lines on other shortcuts that cost the guided model more than the original."""
        counted = sum(one.label is not None for one in self.before)
        if counted < MIN_PHOTOS or self.guided.head_kind == "multi-label":  # answers are one class a photo
            return []
        original, measured = self.original.to(self.accelerator.device), (self.before, self.after)
        photos = self.gathered.read["verdict"]
        remember = remember_insertions(self.shared, original, photos, self.settings, self.gathered.prints)
        risen = other_costs(original, self.guided, photos, measured, self.settings.batch_size, remember)
        self.original.cpu()
        by_name = {one.measure: one.difference for one in comparisons}
        decisive = deciding_measure(by_name, trained_on)
        return describe_trade(risen, None if decisive is None else by_name[decisive])

    def ask_without_training(self, verdict: Verdict, asked: AtInference | None, folder: RunFolder) -> Verdict:
        """Measure the original shown the object alone; the verdict names a rival that beats the kept model."""
        plan = RivalPlan.of(asked or RIVALS, "relevance", self.settings.method)
        plan = plan if plan is None or asked else replace(plan, first=FIRST_PHOTOS)
        measure = deciding_measure([one.measure for one in verdict.comparisons], verdict.trained_on, verdict.metric)
        if measure is None:
            return verdict
        plain, guided = (fewer_swaps(one, (measure,), 1) for one in (self.before, self.after))
        kept = ("the original", plain) if verdict.accepted is False else ("the guided model", guided)
        bar = RivalBar("the original", kept, self.schedule.max_drop, verdict.trained_on, verdict.metric)
        original, photos = self.original.to(self.accelerator.device), self.gathered.read["verdict"]
        found = ask_about_objects(original, photos, plain, plan, self.settings, bar, self.accelerator)
        self.original.cpu()
        if found is None:
            return verdict
        if self.accelerator.is_main_process:
            write_rivals(found, folder.at_inference)
        return replace(verdict, notes=(*verdict.notes, found.winner)) if found.winner else verdict

    def write(self, verdict: Verdict, panels: int, folder: RunFolder) -> None:
        """Write pictures and measures, then the verdict of the run, which marks it as finished."""
        chosen = choose_panels(self.before, self.after, panels)
        guided, method = self.guided.cpu().eval(), self.settings.method
        draw_panels(chosen, self.gathered.read["verdict"], self.original, guided, folder.panels, method)
        write_measures(self.after, folder.after)
        if self.groups is not None:
            write_json({"training": dict(self.gathered.groups)} | asdict(self.groups), folder.groups)
        if self.by_class is not None:
            write_json(asdict(self.by_class), folder.by_class)
        write_verdict(verdict, folder.best / "verdict.json")
        write_verdict(verdict, folder.verdict)
