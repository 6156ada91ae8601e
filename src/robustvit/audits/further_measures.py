"""What an audit measures after the verdict: other shortcuts, moved objects, regions, and showing the object alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from robustvit.audits.audit_data import AuditData, ModelAudit
from robustvit.audits.background_choice import choose_pastings, fit_photos
from robustvit.audits.companions import Companion, judge_companions
from robustvit.audits.placements import measure_placements, shift_values
from robustvit.audits.properties import PropertyAudit, audit_properties, photo_properties
from robustvit.audits.region import ModelAnswers, Region
from robustvit.audits.regions import find_regions
from robustvit.audits.run import AuditRun
from robustvit.audits.shortcuts import name_shortcuts
from robustvit.common.errors import UserError
from robustvit.common.progress import tell
from robustvit.evaluation.insertions import answers_to, insertions
from robustvit.evaluation.rival_results import RivalBar, RivalResults, ask_about_objects
from robustvit.evaluation.rivals import RivalPlan, fewer_swaps


def measure_rest(run: AuditRun, data: AuditData) -> AuditData:
    """Measure what the model looks at, other shortcuts and moved objects, and print what is found."""
    if run.several:
        return replace(data, spent=run.spending.record())
    with run.spending.step("other shortcuts"):
        data = replace(
            data,
            answers=_answer_insertions(run, data.sides),
            properties=_find_properties(run),
            companions=_judge_companions(run, data.sides),
        )
    told = name_shortcuts(data)
    for line in told:
        tell(line)
    with run.spending.step("position, size and rotation"):
        data = _move_objects(run, data)
    with run.spending.step("regions beside the object"):
        data = replace(data, regions=_find_regions(run, data.sides))
    with run.spending.step("without training"):
        data = replace(data, at_inference=_ask_about_objects(run, list(data.sides.values())))
    for line in name_shortcuts(data):
        if line not in told:
            tell(line)
    return replace(data, spent=run.spending.record())


def _ask_about_objects(run: AuditRun, found: Sequence[ModelAudit]) -> RivalResults | None:
    """Measure what trains nothing: the baseline, or else the model, shown the objects alone."""
    inference = run.request.inference
    asked = list(run.budget.rivals) if inference.at_inference is None else inference.at_inference
    plan = RivalPlan.of(asked, inference.object_by, run.request.maps.relevance)
    sides = [fewer_swaps([one.plain for one in side.photos], ("mixed-other",), 1) for side in found]
    bar = RivalBar("the baseline", ("the model", sides[0])) if len(sides) > 1 else RivalBar()
    bar = replace(bar, metric=found[0].metric)
    model = run.models[-1]
    return ask_about_objects(model, run.photos_for(model), sides[-1], plan, run.measuring, bar)


def _answer_insertions(run: AuditRun, sides: Mapping[str, ModelAudit]) -> dict[str, dict[str, list[int]]]:
    """Return the answers of each model with other shortcuts inserted."""
    auditing, budget = run.request.auditing, run.budget
    files = [] if auditing.insert is None else [auditing.insert]
    found = {}
    for (side, audited), model in zip(sides.items(), run.models, strict=True):
        size = model.preprocessing.input_size
        changes = insertions(size, files, auditing.text, artefacts=budget.artefacts, whole=budget.whole)
        answers = answers_to(model, run.photos_for(model), changes, run.measuring.batch_size, run.memory)
        found[side] = {"": [one.plain.predicted for one in audited.photos]} | answers
    return found


def _list_answers(run: AuditRun, sides: Mapping[str, ModelAudit]) -> list[ModelAnswers]:
    """Return the model and, if it takes photos as the model does, the baseline, with their answers."""
    own = run.models[0].preprocessing
    return [
        ModelAnswers(model, [(one.plain.predicted, one.plain.probability) for one in side.photos])
        for side, model in zip(sides.values(), run.models, strict=True)
        if model.preprocessing == own
    ]


def _find_regions(run: AuditRun, sides: Mapping[str, ModelAudit]) -> list[Region]:
    """Group what the model looks at beside the objects; a note says why where it cannot be told."""
    if not run.request.auditing.regions:
        return []
    auditing = run.request.auditing
    asked, *others = _list_answers(run, sides)
    try:
        return find_regions(
            asked, run.photos_for(asked.model), run.names, run.measuring, *others,
            most=auditing.regions, passes=run.passes_left(), anywhere=auditing.without_masks,
        )  # fmt: skip
    except UserError as error:
        run.notes.append(f"What the model looks at beside the objects is not shown: {error}.")
        return []


def _judge_companions(run: AuditRun, sides: Mapping[str, ModelAudit]) -> list[Companion]:
    """Blur the objects that annotations name beside the classes' own."""
    if not run.companions:
        return []
    alike = _list_answers(run, sides)
    return judge_companions(alike, run.photos_for(alike[0].model), run.companions, run.measuring)


def _find_properties(run: AuditRun) -> PropertyAudit | None:
    values = [photo_properties(photo.image, photo.pixels) for photo in run.photos]
    return audit_properties(np.array(values), run.names, run.measuring.seed)


def _move_objects(run: AuditRun, data: AuditData) -> AuditData:
    """Add the answers to objects that are moved, resized and rotated."""
    photos = run.photos_for(run.models[0])
    able, usable = fit_photos(photos)
    pastings = choose_pastings(data.truth, able, usable, run.budget.shifted, run.measuring.seed, run.backgrounds)
    settings = replace(run.measuring, workers=run.request.running.workers)
    shifts = measure_placements(run.models, photos, pastings, settings)
    sides = []
    for side, answers in zip(data.sides.values(), shifts, strict=True):
        for index, values in shift_values(answers).items():
            side.photos[index].values |= values
            side.photos[index].placed_on = answers[index].background
        sides.append(replace(side, shifts=answers))
    return replace(data, model=sides[0], baseline=sides[1] if len(sides) > 1 else None)
