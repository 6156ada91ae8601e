"""The results of rivals that train nothing: their changes, their cost, and whether one of them wins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from robustvit.common.files import write_json
from robustvit.common.frames import FrameRow, Tabular
from robustvit.common.intervals import for_several
from robustvit.common.outcomes import outcome_of, rank
from robustvit.common.progress import warn
from robustvit.common.verdict_files import Comparison
from robustvit.common.wording import pluralize
from robustvit.data.datasets import MaskedPhotos
from robustvit.evaluation.measured_intervals import measure_name
from robustvit.evaluation.measuring import MeasureSettings, draw_indices
from robustvit.evaluation.metrics import ACCURACY, DECIDING, WORST_GROUP
from robustvit.evaluation.photo_measures import PhotoMeasure
from robustvit.evaluation.rivals import AVERAGED, RivalAnswers, RivalPlan, measure_rivals
from robustvit.evaluation.verdict import DECISIVE, compare, deciding_measure
from robustvit.models.classifier import Classifier, head_kind_of
from robustvit.models.head_kinds import ONE_CLASS

SHOWN = {"ordinary": "ordinary", "mixed-other": "other backgrounds", "unseen": "unseen backgrounds"}
_VIEWS = {
    "crop": "cropped to the object",
    "mask": "with the object on black",
    "blur": "with the background blurred",
}


@dataclass(frozen=True)
class Rival:
    """A model shown the object alone.

    Attributes:
        name: such as ``crop``, or ``crop and photo`` where its answer is averaged with that to the whole photo.
        passes: forward passes that it takes for a photo, where the model as it is takes one; a map is about two.
        comparisons: of the model as it is with the same model shown the object alone, each with paired intervals.
    """

    name: str
    passes: int
    comparisons: tuple[Comparison, ...]

    @property
    def words(self) -> str:
        """The view of the photo in words."""
        view = _VIEWS[self.name.removesuffix(AVERAGED)]
        return f"{view}, averaged with the whole photo" if self.name.endswith(AVERAGED) else view


@dataclass(frozen=True)
class RivalResults(Tabular):
    """All rivals of a model.

    Attributes:
        who: the model that is shown the object alone, such as ``the baseline``.
        found_by: how objects are found.
        rivals: in order.
        winner: a sentence if one is shown to be better than the model that would be used instead, else empty.
        left_out: a sentence if not all photos were asked about, else empty.
    """

    who: str
    found_by: str
    rivals: tuple[Rival, ...]
    winner: str = ""
    left_out: str = ""

    def frame_rows(self) -> Iterator[FrameRow]:
        """A row for each rival and measure."""
        for rival in self.rivals:
            shared = {"rival": rival.name, "passes": rival.passes}
            for one in rival.comparisons:
                yield shared | {
                    "measure": one.measure,
                    "before": one.before,
                    "after": one.after,
                    "change": one.difference,
                }

    def __str__(self) -> str:
        lines = [f"without training, {self.who} shown the object alone, found {self.found_by}:"]
        for rival in self.rivals:
            changes = [
                f"{SHOWN[one.measure]} {one.after.percent('').strip()}, change {one.difference.points('')}"
                for one in rival.comparisons
                if one.measure in SHOWN
            ]
            lines.append(f"  {rival.words} ({pluralize(rival.passes, 'pass')} a photo)")
            lines.append(f"    {'; '.join(changes)}")
        lines += [f"  {self.left_out}"] if self.left_out else []
        return "\n".join([*lines, self.winner or "  None of them is shown to be better."])


def rival_record(results: RivalResults) -> dict[str, Any]:
    """Convert rivals to plain values: shares in [0, 1], intervals as mean, low, high and count."""
    return asdict(results) | {
        "rivals": [asdict(one) | {"words": one.words} for one in results.rivals],
        "shown": SHOWN,
    }


def write_rivals(results: RivalResults, path: Path) -> None:
    """Write rivals as JSON, whole or not at all."""
    write_json(rival_record(results), path)


@dataclass(frozen=True)
class RivalBar:
    """What a rival has to beat.

    Attributes:
        who: the model that is shown the object alone, in words.
        instead: the model that would be used, in words, with its measures; None: the same model as it is.
        max_drop: points of ordinary accuracy that may be lost.
        trained_on: see ``decide``.
        metric: as there; rivals have no scores, so by a metric that ranks none of them wins.
    """

    who: str = "the model"
    instead: tuple[str, Sequence[PhotoMeasure]] | None = None
    max_drop: float = 2.0
    trained_on: tuple[str, ...] = ()
    metric: str = ACCURACY

    def on(self, photos: Sequence[int]) -> RivalBar:
        """Return the same bar on some of the photos."""
        return replace(self, instead=self.instead and (self.instead[0], [self.instead[1][at] for at in photos]))


def ask_about_objects(
    model: Classifier,
    photos: MaskedPhotos,
    plain: Sequence[PhotoMeasure],
    plan: RivalPlan | None,
    settings: MeasureSettings,
    bar: RivalBar,
    accelerator: Accelerator | None = None,
) -> RivalResults | None:
    """Measure a model's rivals on the backgrounds of ``plain`` and judge them; arguments as in ``measure_rivals``.

    None without a plan, and for multi-label models, whose answers are not a single class.
    """
    if plan is None:
        return None
    if head_kind_of(model) not in ONE_CLASS:
        warn("--at-inference is left out: it is for models of one class a photo")
        return None

    every = range(len(plain))
    first = every if plan.first is None else draw_indices(every, plan.first)
    ask = partial(
        measure_rivals, model, photos, plain, plan, settings, device=model.mean.device, accelerator=accelerator
    )
    said, rest = ask(only=first), sorted({*every} - {*first})
    if rest and not _is_ahead(said, [(bar.instead or ("", plain))[1][at] for at in first], bar):
        return _judge_first(plain, first, said, plan, bar)
    if rest:
        more = ask(only=rest)
        order = sorted(every, key=[*first, *rest].__getitem__)
        said = {name: [(said[name] + more[name])[at] for at in order] for name in plan.names}
    return judge_rivals(plain, said, plan, bar)


def _judge_first(
    plain: Sequence[PhotoMeasure], first: Sequence[int], said: RivalAnswers, plan: RivalPlan, bar: RivalBar
) -> RivalResults:
    """Judge rivals that are not ahead on the first photos, by these alone."""
    results = judge_rivals([plain[at] for at in first], said, plan, bar.on(first))
    shown = f"Asked about {len(first)} of {len(plain)} photos{'' if results.left_out else ': none is ahead on these'}."
    whole = f"--at-inference {','.join(plan.kinds)} asks about all."
    return replace(results, winner="", left_out=" ".join(filter(None, (shown, results.left_out, whole))))


def _is_ahead(said: RivalAnswers, other: Sequence[PhotoMeasure], bar: RivalBar) -> bool:
    """Return whether a rival's measured gain is above zero, and its measured loss of ordinary accuracy is allowed.

    True also if these photos are too few of each group to have a worst group.
    """
    for answers in said.values():
        changes = {one.measure: one.difference.mean for one in compare(other, answers, bar.metric)}
        measure = deciding_measure(changes, bar.trained_on, bar.metric)
        if measure is None:
            if bar.metric == WORST_GROUP:
                return True
            continue
        gain, lost = (changes.get(measure_name(bar.metric, kind), 0.0) for kind in (measure, "ordinary"))
        if gain > 0 and 100 * lost >= -bar.max_drop:
            return True
    return False


def judge_rivals(
    plain: Sequence[PhotoMeasure], answers: RivalAnswers, plan: RivalPlan, bar: RivalBar | None = None
) -> RivalResults:
    """Compare rivals with the model as it is, ``plain``, and look for one that beats what would be used instead.

    A rival wins if the change of the deciding measure excludes zero and ordinary accuracy does not surely fall by more
    than is allowed (``outcome_of``), with intervals that hold for all rivals together (``for_several``).
    """
    bar = bar or RivalBar()
    rivals = tuple(Rival(name, plan.passes(name), compare(plain, answers[name])) for name in plan.names)
    name, other = bar.instead or (f"{bar.who} as it is", plain)
    advice = "consider it first" if plan.by == "relevance" else "but only with masks like these where it is used"
    best, score, judged = "", -1.0, False
    of = "" if bar.metric == ACCURACY else f" of {DECIDING[bar.metric]}"
    for rival in rivals:
        changes = {one.measure: one for one in compare(other, answers[rival.name], bar.metric)}
        measure = deciding_measure(changes, bar.trained_on, bar.metric)
        if measure is None or measure_name(bar.metric, "ordinary") not in changes:
            continue
        judged = True
        gain, ordinary = (
            for_several(changes[measure_name(bar.metric, kind)].difference, len(rivals))
            for kind in (measure, "ordinary")
        )
        ranked = rank(gain, ordinary, bar.max_drop)
        if outcome_of(gain, ordinary, bar.max_drop) in ("better", "cost-open") and ranked > score:
            score = ranked
            best = (
                f"Without any training, {bar.who} {rival.words} ({rival.passes} forward passes a photo instead of 1) "
                f"is better than {name} by {gain.points()}{of} on {DECISIVE[measure]}, with {ordinary.points()} of "
                f"ordinary {DECIDING[bar.metric]} (intervals for {len(rivals)} comparisons): {advice}."
            )
    unjudged = f"They are compared by accuracy only: they have no {DECIDING[bar.metric]}, so none is named as better."
    left_out = unjudged if of and not judged else ""
    return RivalResults(bar.who, plan.found_by, rivals, best, left_out)
