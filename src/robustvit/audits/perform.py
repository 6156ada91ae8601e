"""Perform an audit: load the models, find the photos, measure, and write; for one model or for several."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from robustvit.audits.comparison import MOST_MODELS, write_comparison
from robustvit.audits.first_measures import measure_first
from robustvit.audits.further_measures import measure_rest
from robustvit.audits.inputs import find_audit_photos, trained_on
from robustvit.audits.memory import Memory
from robustvit.audits.options import AuditRequest, GroupOptions
from robustvit.audits.record import AUDIT_KIND
from robustvit.audits.region_words import load_namer, name_regions
from robustvit.audits.result import Audit
from robustvit.audits.run import AuditRun
from robustvit.audits.writing import AuditDrawing, write_audit, write_found_groups
from robustvit.common.devices import make_accelerator
from robustvit.common.errors import UserError, rename_options
from robustvit.common.output_paths import check_own_page
from robustvit.common.progress import tell, warn
from robustvit.common.signals import name_stopped_run
from robustvit.data.photo_tree import list_backgrounds
from robustvit.evaluation.deciding_metric import check_metric, metric_for, say_sizes
from robustvit.explanation.features import check_features
from robustvit.explanation.methods import check_method
from robustvit.models.baseline import load_baseline
from robustvit.models.classifier import Classifier
from robustvit.models.head_kinds import CLASSIFIERS
from robustvit.models.load import load_given, load_model
from robustvit.models.options import ComparedModels


def audit_models(request: AuditRequest, models: ComparedModels, page: Path, record: Path) -> Audit:
    """Audit a model and, if there is one, its baseline; write the page and the record."""
    auditing, running = request.auditing, request.running
    classifier = load_given(models, CLASSIFIERS)
    _refuse_for_several(request, classifier)
    other = load_baseline(models, classifier)
    both = [one for one in (classifier, other) if one is not None]
    for one in both:
        check_method(request.maps.relevance, one)
    grouper = _group_backbone(request.grouping, classifier)
    namer = load_namer(auditing.name_with, classifier.class_names)
    files = [] if auditing.backgrounds is None else list_backgrounds(auditing.backgrounds)
    audited, notes = find_audit_photos(request, page, classifier)
    check_metric(metric_for(classifier.head_kind, auditing.metric), audited)
    notes += say_sizes([one.class_name for one in audited if one.labels is None], auditing.metric)
    notes += trained_on(audited, models.model, models.baseline, models.checkpoint)
    device = make_accelerator(device=running.device).device
    memory = Memory(page.with_name(f"{page.stem}-unfinished"))
    with name_stopped_run(page):
        run = AuditRun(request, [one.to(device) for one in both], grouper.to(device), audited, notes, files, memory)
        return _measure_and_write(run, namer, page, record)


def _measure_and_write(run: AuditRun, namer: Classifier | None, page: Path, record: Path) -> Audit:
    """Measure, and write the page: first what the verdict rests on, then all."""
    drawing = AuditDrawing(run)
    try:
        measured = measure_first(run)
        if run.request.auditing.budget != "quick":
            write_audit(drawing, measured, page, record, finished=False)
        measured = measure_rest(run, measured)
        if namer is not None:
            model = run.models[0]
            named = name_regions(namer.to(model.mean.device), measured.regions, run.photos_for(model), model)
            measured = replace(measured, regions=named)
    finally:
        run.spending.close()
        run.memory.save()
    written = write_audit(drawing, measured, page, record)
    if run.request.grouping.groups_out is not None:
        count = write_found_groups(measured, Path(run.request.grouping.groups_out))
        tell(f"groups: {count} photos with their kind of background in {run.request.grouping.groups_out}")
    run.memory.forget()
    limit = run.request.auditing.fail_if
    failed = limit is not None and bool(written["summary"]["fails"][limit])
    if limit is not None and not failed and measured.model.verdict.reliance == "cannot tell":
        warn(f"--fail-if {limit}: the audit cannot tell, so it does not fail, but the model has not passed either.")
    return Audit(page, record, measured, failed)


def compare_models(request: AuditRequest, models: ComparedModels, page: Path, record: Path) -> Audit:
    """Audit several models on the same photos, each with a page of its own, and write a page that compares them.

    ``auditing.compare`` names the models that are compared with the first; their pages go beside it, with numbers.
    """
    sources = [name.strip() for name in (request.auditing.compare or "").split(",")]
    if not all(sources) or not 1 <= len(sources) < MOST_MODELS:
        raise UserError(
            f"expected --compare MODEL,MODEL with at most {MOST_MODELS - 1} models, got {request.auditing.compare!r}"
        )
    names = [str(models.model), *sources]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"expected different models to compare, got {twice} twice: leave it out of --compare")
    pages = [page.with_name(f"{page.stem}-{number}.html") for number in range(1, len(sources) + 2)]
    for own in pages:
        check_own_page(own, AUDIT_KIND, "an audit")
        check_own_page(own.with_suffix(".json"), AUDIT_KIND, "the record of an audit")
    given = [models, *(replace(models, model=source, checkpoint=None) for source in sources)]
    first = load_given(models, CLASSIFIERS)
    for one in given[1:]:  # refused before any is audited
        try:
            load_baseline(replace(models, baseline=one.model), first)
        except UserError as error:
            raise UserError(f"--compare {one.model}: {error}") from error
    del first
    audits = []
    for number, (one, own) in enumerate(zip(given, pages, strict=True), start=1):
        tell(f"model {number} of {len(given)}: {one.model}")
        audits.append(audit_models(request, one, own, own.with_suffix(".json")))
    write_comparison([one.found for one in audits], [one.page.name for one in audits], page, record)
    return Audit(page, record, audits[0].found, audits[0].failed, tuple(audits))


def _refuse_for_several(request: AuditRequest, classifier: Classifier) -> None:
    """Refuse options that would have no effect for photos of several labels."""
    if classifier.head_kind != "multi-label":
        return
    auditing = request.auditing
    given = {
        "--insert": auditing.insert,
        "--objects": auditing.objects,
        "--name-with": auditing.name_with,
        "--backgrounds": auditing.backgrounds,
        "--shifted": auditing.shifted,
        "--groups-out": request.grouping.groups_out,
        "--at-inference": request.inference.at_inference,
    }
    for option, value in given.items():
        if value not in (None, "none", 0):
            raise UserError(
                f"expected no {option} with a multi-label model, for which it is not measured: leave it out"
            )


def _group_backbone(grouping: GroupOptions, classifier: Classifier) -> Classifier:
    """Return the backbone that tells backgrounds apart, after checking that it has the features to compare."""
    name, checkpoint, backbone = grouping.group_model, grouping.group_checkpoint, classifier
    if name is not None:
        with rename_options({"--model": "--group-model", "--checkpoint": "--group-checkpoint"}):
            backbone = load_model(name, checkpoint=checkpoint, head="none")
    elif checkpoint is not None:
        raise UserError("--group-checkpoint needs --group-model: name the backbone that the weights are for")
    if name is not None or grouping.group_block is not None:
        with rename_options({"--block": "--group-block"}):
            check_features(backbone, grouping.group_feature, grouping.group_block)
    return backbone
