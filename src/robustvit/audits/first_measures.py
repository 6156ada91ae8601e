"""What the verdict of an audit needs, measured first: answers on other backgrounds, and the kinds of background."""

from __future__ import annotations

from robustvit.audits.audit_data import AuditData, ModelAudit
from robustvit.audits.audited_photo import AuditedPhoto
from robustvit.audits.background_groups import group_photos
from robustvit.audits.background_kinds import BackgroundKinds, background_features, find_backgrounds
from robustvit.audits.measures import PhotoSettings, audit_photos
from robustvit.audits.pictures import choose_worst
from robustvit.audits.run import AuditRun
from robustvit.common.errors import UserError
from robustvit.common.progress import tell
from robustvit.common.provenance import versions
from robustvit.data.class_matching import doubt_order
from robustvit.evaluation.deciding_metric import metric_for
from robustvit.evaluation.groups import report_groups
from robustvit.explanation.features import check_features
from robustvit.models.classifier import Classifier

ONLY_ONE_CLASS = (
    "Kinds of background, other shortcuts, moved objects, regions beside the object and showing the object alone "
    "are measured for one class a photo, so this audit of several labels leaves them out."
)


def measure_first(run: AuditRun) -> AuditData:
    """Measure what the verdict needs, and say it."""
    with run.spending.step("kinds of background"):  # first: its pictures are also those without the object
        kinds = None if run.several else _find_backgrounds(run)
    with run.spending.step("verdict"):
        found = [_audit(run, model) for model in run.models]
    plain = [one.plain for one in found[0]]
    labels = dict(enumerate(run.models[0].class_names))
    if run.several:
        run.notes.append(ONLY_ONE_CLASS)
    else:
        classes, truth = [photo.class_name for photo in run.photos], [one.label for one in plain]
        run.notes += doubt_order(classes, truth, [one.predicted for one in plain], run.models[0])
        labels |= {int(photo.label): name for photo, name in zip(run.photos, run.names, strict=True)
                   if photo.label is not None}  # fmt: skip
    metric = metric_for(run.models[0].head_kind, run.request.auditing.metric)
    sides = [ModelAudit(one.source, photos, {}, metric) for one, photos in zip(run.models, found, strict=True)]
    right = [[one.values["ordinary"] for one in side.photos] for side in sides]
    data = AuditData(
        model=sides[0],
        baseline=sides[1] if len(sides) > 1 else None,
        images=str(run.request.photos.images),
        files=[photo.image for photo in run.photos],
        masks=[photo.mask for photo in run.photos],
        names=run.names,
        labels=labels,
        backgrounds=kinds,
        groups=[] if kinds is None else group_photos(kinds, run.names, *right),
        by_group=report_groups(plain, [one.plain for one in found[1]] if len(found) > 1 else None),
        worst=choose_worst(found[0], run.request.auditing.worst),
        notes=run.notes,
        settings=run.settings(),
        versions=versions(),
        spent=run.spending.record(),
    )
    for side, one in data.sides.items():
        tell(f"{side}: {one.verdict.reliance}. {one.verdict.sentence}")
    return data


def _audit(run: AuditRun, model: Classifier) -> list[AuditedPhoto]:
    request, running = run.request, run.request.running
    settings = PhotoSettings(
        swaps=request.judging.swaps, tries=run.budget.tries, variants=run.budget.variants, seed=running.seed,
        method=request.maps.relevance, batch_size=running.batch_size, asking=run.memory,
    )  # fmt: skip
    return audit_photos(model, run.held(model), settings, device=run.device)


def _find_backgrounds(run: AuditRun) -> BackgroundKinds | None:
    grouping, running = run.request.grouping, run.request.running
    try:
        check_features(run.grouper, grouping.group_feature, grouping.group_block)
    except UserError as error:
        run.notes.append(
            f"No groups by background: {error}. Name a backbone that tells backgrounds apart with --group-model."
        )
        return None
    features = background_features(
        run.grouper, run.held(run.grouper), feature=grouping.group_feature, block=grouping.group_block,
        batch_size=running.batch_size, device=run.device, asking=run.memory,
    )  # fmt: skip
    return find_backgrounds(features, count=grouping.groups, seed=running.seed)
