"""What an audit measures after the verdict: other shortcuts, moved objects, regions, and showing the object alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from robustvit.audits.audit_data import AuditData, ModelAudit
from robustvit.audits.companions import Companion, judge_companions
from robustvit.audits.placements import ShiftedAnswers, choose_pastings, measure_placements, shift_values
from robustvit.audits.properties import PropertyAudit, audit_properties, photo_properties
from robustvit.audits.region import Region
from robustvit.audits.regions import Asked, RegionSettings, find_regions
from robustvit.audits.run import AuditRun
from robustvit.audits.shortcuts import name_shortcuts
from robustvit.audits.tried_backgrounds import fit_photos
from robustvit.common.errors import UserError
from robustvit.common.progress import tell
from robustvit.evaluation.insertions import answers_to, insertions
from robustvit.evaluation.measuring import MeasureSettings
from robustvit.evaluation.rival_results import RivalBar, RivalResults, ask_about_objects
from robustvit.evaluation.rivals import RivalPlan, fewer_swaps


def measure_rest(run: AuditRun, data: AuditData) -> AuditData:
    """Measure what the model looks at, other shortcuts and moved objects, and say what is found."""
    said: list[str] = []
    if run.several:
        return replace(data, spent=run.spending.record())

    def tell_new(now: AuditData) -> AuditData:
        for line in name_shortcuts(now):
            if line not in said:
                said.append(line)
                tell(line)
        return now

    with run.spending.step("other shortcuts"):
        data = replace(
            data,
            answers=_insert(run, data.sides),
            properties=_find_properties(run),
            companions=_judge_companions(run, data.sides),
        )
    tell_new(data)
    with run.spending.step("position, size and rotation"):
        data = _place(run, data)
    with run.spending.step("regions beside the object"):
        data = replace(data, regions=_find_regions(run, data.sides))
    with run.spending.step("without training"):
        data = replace(data, at_inference=_ask_about_objects(run, list(data.sides.values())))
    return tell_new(replace(data, spent=run.spending.record()))


def _ask_about_objects(run: AuditRun, found: Sequence[ModelAudit]) -> RivalResults | None:
    """Measure what trains nothing: the baseline, or else the model, shown the objects alone."""
    inference, running = run.request.inference, run.request.running
    asked = list(run.budget.rivals) if inference.at_inference is None else inference.at_inference
    plan = RivalPlan.of(asked, inference.object_by, run.request.maps.relevance)
    sides = [fewer_swaps([one.plain for one in side.photos], ("mixed-other",), 1) for side in found]
    bar = RivalBar("the baseline", ("the model", sides[0])) if len(sides) > 1 else RivalBar()
    bar = replace(bar, metric=found[0].metric)
    model = run.models[len(sides) - 1]
    settings = MeasureSettings(batch_size=running.batch_size, asking=run.memory)
    return ask_about_objects(model, run.held(model), sides[-1], plan, settings, bar)


def _insert(run: AuditRun, sides: Mapping[str, ModelAudit]) -> dict[str, dict[str, list[int]]]:
    """Return the answers of each model with other shortcuts put in."""
    files = [] if run.request.auditing.insert is None else [run.request.auditing.insert]
    found = {}
    for (side, audited), model in zip(sides.items(), run.models, strict=True):
        size = model.preprocessing.input_size
        changes = insertions(
            size, files, run.request.auditing.text, artefacts=run.budget.artefacts, whole=run.budget.whole
        )
        plain = [one.plain.predicted for one in audited.photos]
        batch_size = run.request.running.batch_size
        found[side] = {"": plain} | answers_to(model, run.held(model), changes, batch_size, run.memory)
    return found


def _alike(run: AuditRun, sides: Mapping[str, ModelAudit]) -> list[Asked]:
    """Return the model and, if it takes photos as the model does, the baseline, with their answers."""
    own = run.models[0].preprocessing
    return [
        Asked(model, [(one.plain.predicted, one.plain.probability) for one in side.photos])
        for side, model in zip(sides.values(), run.models, strict=True)
        if model.preprocessing == own
    ]


def _find_regions(run: AuditRun, sides: Mapping[str, ModelAudit]) -> list[Region]:
    """Group what the model looks at beside the objects; a note says why where it cannot be told."""
    if not run.request.auditing.regions:
        return []
    running, auditing = run.request.running, run.request.auditing
    asked, *others = _alike(run, sides)
    settings = RegionSettings(
        method=run.request.maps.relevance, most=auditing.regions, seed=running.seed,
        batch_size=running.batch_size, passes=run.passes_left(), anywhere=auditing.without_masks,
        asking=run.memory,
    )  # fmt: skip
    try:
        return find_regions(asked.model, run.held(asked.model), run.names, asked.answers, settings, *others)
    except UserError as error:
        run.notes.append(f"What the model looks at beside the objects is not shown: {error}.")
        return []


def _judge_companions(run: AuditRun, sides: Mapping[str, ModelAudit]) -> list[Companion]:
    """Blur the objects that annotations name beside the classes' own."""
    if not run.companions:
        return []
    alike = _alike(run, sides)
    predicted = [[said for said, _ in one.answers] for one in alike]
    return judge_companions(
        [one.model for one in alike], run.held(alike[0].model), run.companions, predicted,
        batch_size=run.request.running.batch_size, asking=run.memory,
    )  # fmt: skip


def _find_properties(run: AuditRun) -> PropertyAudit | None:
    values = [photo_properties(photo.image, photo.pixels) for photo in run.photos]
    return audit_properties(np.array(values), run.names, run.request.running.seed)


def _place(run: AuditRun, data: AuditData) -> AuditData:
    """Add the answers for moved objects."""
    shifts = _measure_placements(run, [photo.label for photo in data.model.photos])
    sides = []
    for side, answers in zip(data.sides.values(), shifts, strict=True):
        for index, values in shift_values(answers).items():
            side.photos[index].values |= values
            side.photos[index].placed_on = answers[index].background
        sides.append(replace(side, shifts=answers))
    return replace(data, model=sides[0], baseline=sides[1] if len(sides) > 1 else None)


def _measure_placements(run: AuditRun, labels: list[int]) -> list[ShiftedAnswers]:
    held, running = run.held(run.models[0]), run.request.running
    able, usable = fit_photos(held)
    pastings = choose_pastings(labels, able, usable, run.budget.shifted, running.seed, run.backgrounds)
    return measure_placements(
        run.models, held, pastings, batch_size=running.batch_size, workers=running.workers, device=run.device,
        asking=run.memory,
    )  # fmt: skip
