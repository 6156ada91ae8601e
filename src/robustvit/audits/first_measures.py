"""What the verdict of an audit needs, measured first: answers on other backgrounds, and the kinds of background."""

from __future__ import annotations

from collections.abc import Sequence

from robustvit.audits.audit_data import AuditData, ModelAudit
from robustvit.audits.background_groups import group_photos
from robustvit.audits.background_kinds import BackgroundKinds, background_features, find_backgrounds
from robustvit.audits.measures import audit_photos
from robustvit.audits.pictures import choose_worst
from robustvit.audits.run import AuditRun
from robustvit.common.errors import UserError
from robustvit.common.progress import tell
from robustvit.common.provenance import versions
from robustvit.data.class_matching import doubt_order
from robustvit.evaluation.deciding_metric import metric_for
from robustvit.evaluation.groups import report_groups
from robustvit.evaluation.photo_measures import PhotoMeasure
from robustvit.explanation.features import check_features

ONLY_ONE_CLASS = (
    "Kinds of background, other shortcuts, moved objects, regions beside the object and showing the object alone "
    "are measured for one class per photo, so this audit of several labels leaves them out."
)


def measure_first(run: AuditRun) -> AuditData:
    """Measure what the verdict needs, and print the verdict."""
    with run.spending.step("kinds of background"):  # first: its pictures are also those without the object
        kinds = None if run.several else _find_backgrounds(run)
    with run.spending.step("verdict"):
        tries, variants = run.budget.tries, run.budget.variants
        found = [
            audit_photos(model, run.photos_for(model), run.measuring, tries=tries, variants=variants)
            for model in run.models
        ]
    plain = [one.plain for one in found[0]]
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
        labels=_name_classes(run, plain),
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


def _name_classes(run: AuditRun, plain: Sequence[PhotoMeasure]) -> dict[int, str]:
    """Return the names of the classes, and add a note if the photos' classes seem to be in another order."""
    labels = dict(enumerate(run.models[0].class_names))
    if run.several:
        run.notes.append(ONLY_ONE_CLASS)
        return labels
    classes, truth = [photo.class_name for photo in run.photos], [one.label for one in plain]
    run.notes += doubt_order(classes, truth, [one.predicted for one in plain], run.models[0])
    named = zip(run.photos, run.names, strict=True)
    return labels | {int(photo.label): name for photo, name in named if photo.label is not None}


def _find_backgrounds(run: AuditRun) -> BackgroundKinds | None:
    grouping = run.request.grouping
    try:
        check_features(run.grouper, grouping.group_feature, grouping.group_block)
    except UserError as error:
        run.notes.append(
            f"No groups by background: {error}. Name a backbone that tells backgrounds apart with --group-model."
        )
        return None
    photos, block = run.photos_for(run.grouper), grouping.group_block
    features = background_features(run.grouper, photos, run.measuring, feature=grouping.group_feature, block=block)
    return find_backgrounds(features, count=grouping.groups, seed=run.measuring.seed)
