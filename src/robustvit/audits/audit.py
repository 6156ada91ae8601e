"""Audit whether a model relies on the background; nothing is trained, a page and a record are written."""

from __future__ import annotations

from robustvit.audits.options import AuditOptions, AuditRequest, AutomaticMasks, GroupOptions
from robustvit.audits.result import Audit
from robustvit.common.command_options import command, settings_of
from robustvit.common.errors import UserError, expect_at_least
from robustvit.common.option_groups import InferenceOptions, JudgingOptions, MapOptions, RunningOptions
from robustvit.common.photo_options import GivenPhotos
from robustvit.models.options import ComparedModels


@command(
    first=("model", "images", "masks", "baseline", "out", "budget", "fail_if", "masks_out", "mask_model", "worst"),
    leave_out=("max_drop", "precision"),
)
def audit(
    *,
    models: ComparedModels,
    photos: GivenPhotos,
    out: str,
    found: AutomaticMasks,
    maps: MapOptions,
    judging: JudgingOptions,
    auditing: AuditOptions,
    grouping: GroupOptions,
    inference: InferenceOptions,
    running: RunningOptions,
) -> Audit:
    """Check whether a model relies on the background, without training anything, and write a page about it.

    Photos in class folders, which the model should not have been trained on, are shown to it unchanged, on other
    backgrounds, without the object, without the background, and with the object moved. With a baseline everything is
    measured on both models, with paired differences. Without masks, TokenCut finds them; doubtful ones are left out.

    Args:
        out: HTML file to write, new or an older audit; the record goes beside it, with the suffix .json.
        at_inference: also test the model on the object alone, without training: crop (to the object), mask (the rest is
            black), blur (the rest is blurred), or several; none. Default: none with the quick budget, crop with the
            normal one, all with the full one. With a baseline, the baseline is tested this way.

    Returns:
        Files and measures; printing it gives the verdict.

    Raises:
        UserError: anything wrong with what was given; no page is written then.

    Example:
        robustvit audit --model runs/mine --images photos/test --masks masks/test --out audit.html
    """
    from robustvit.data.photo import expect_photos

    expect_photos(photos.images, photos.masks)
    settings = settings_of(audit, models, photos, found, maps, judging, auditing, grouping, inference, running, out=out)
    request = AuditRequest(
        photos=photos, found=found, maps=maps, judging=judging, auditing=auditing, grouping=grouping,
        inference=inference, running=running, settings=settings,
    )  # fmt: skip
    _check_options(request)
    from robustvit.audits.record import AUDIT_KIND
    from robustvit.common.output_paths import check_new_file, page_and_record

    page, record = page_and_record(out, AUDIT_KIND, "an audit")
    if grouping.groups_out is not None:
        check_new_file(grouping.groups_out, "--groups-out")
    from robustvit.audits.perform import audit_models, compare_models

    if auditing.compare is not None:
        return compare_models(request, models, page, record)
    return audit_models(request, models, page, record)


def _check_options(request: AuditRequest) -> None:
    auditing, groups = request.auditing, request.grouping.groups
    expect_at_least(1, swaps=request.judging.swaps, **({} if auditing.tries is None else {"tries": auditing.tries}))
    shifted = 0 if auditing.shifted is None else auditing.shifted
    expect_at_least(0, shifted=shifted, groups=groups, worst=auditing.worst, regions=auditing.regions)
    if auditing.compare is not None and request.settings["baseline"] is not None:
        raise UserError("expected --compare or --baseline, got both: --compare shows every model against --model")
    if auditing.without_masks and request.photos.masks is not None:
        raise UserError("expected --without-masks or --masks, got both: leave one of them out")
    if auditing.without_masks:
        request.found.expect_none("--without-masks neither makes nor uses any")
    if request.photos.masks is not None:
        request.found.expect_none("--masks names some")
    from robustvit.evaluation.insertions import file_mark, text_mark

    text_mark((64, 64), auditing.text)  # refused before anything is measured
    if auditing.insert is not None:
        file_mark((64, 64), auditing.insert)
    if request.grouping.groups_out is not None:
        if not request.grouping.groups_out.lower().endswith(".csv"):
            raise UserError(f"expected --groups-out to end in .csv, got {request.grouping.groups_out}")
        if auditing.compare is not None:
            raise UserError("expected --groups-out with a single model, got --compare too: leave one of them out")
    if groups == 1:
        raise UserError("expected --groups of at least 2, or 0 to choose the number automatically, got 1")
