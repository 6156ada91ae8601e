"""Evaluate a model on photos or on benchmark sets, alone or compared with a baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustvit.common.command_options import command
from robustvit.common.errors import UserError
from robustvit.common.option_groups import InferenceOptions, MapOptions, RunningOptions, SetOptions, VerdictOnPhotos
from robustvit.common.photo_options import MeasuredPhotos
from robustvit.models.options import ComparedModels

if TYPE_CHECKING:
    from robustvit.evaluation.on_sets.summary import Sets
    from robustvit.evaluation.result import Evaluation


@command(first=("model", "images", "masks", "on", "baseline", "judging", "out"))
def evaluate(
    *,
    models: ComparedModels,
    photos: MeasuredPhotos,
    on: list[str] | str | None = None,
    sets: SetOptions,
    maps: MapOptions,
    judging: VerdictOnPhotos,
    inference: InferenceOptions,
    running: RunningOptions,
    out: str | None = None,
) -> Evaluation | Sets:
    """Measure a model on photos it was not trained on, or on the sets that robustness is reported on.

    With --images: accuracy and, with masks, reliance on the background. The objects are put on other photos'
    backgrounds (mixed-same, mixed-other), and the relevance map of the predicted class is compared with the mask. With
    a baseline the differences are paired photo by photo, and the verdict says which model to keep. For photos without
    classes (a flat folder with masks) only the relevance is measured. With groups (a column group, or --group-by),
    each group is measured too, with the worst, the gap, and the mean weighted by the training set of the model's
    run. Photos that the model was trained on, or copies of them, are left out and counted.

    With --on: imagenet-val, imagenet-a, imagenet-r, imagenet-sketch, imagenet-v2, objectnet, si-score, imagenet-9,
    waterbirds, iwildcam, metashift, chexpert, cue-conflict, imagenet-segmentation, or segmentation for your own
    --images and --masks. Results are recorded; recorded results are not computed again, and a killed evaluation resumes
    in the middle of a set.

    Args:
        on: sets to evaluate on, such as imagenet-a,si-score/location.
        precision: no (float32), bf16 or fp16, on sets.
        seed: fixes the swaps.
        out: JSON file to write all measures to; must be new. With groups, a chart of them is written beside it.

    Returns:
        The measures, or a record for each set; printing it gives a table.

    Raises:
        UserError: anything wrong with what was given; nothing is written then.

    Example:
        robustvit evaluate --model runs/mine --images photos/test --masks masks/test --baseline original
    """
    if on is not None:
        from robustvit.evaluation.on_sets.command import evaluate_on

        _refuse_with_sets(inference, out, judging.metric)
        return evaluate_on(on, models, sets, running, own=photos, method=maps.relevance)
    if photos.images is None:
        raise UserError("expected photos to measure the model on: name --images FOLDER, or sets with --on imagenet-a")
    from robustvit.common.output_paths import check_new_file
    from robustvit.data.photo import expect_photos

    if out is not None:
        check_new_file(out)
    expect_photos(photos.images, photos.masks)
    from robustvit.evaluation.on_photos import PhotoRequest, evaluate_photos

    return evaluate_photos(PhotoRequest(models, photos, maps.relevance, judging, inference, running), out)


def _refuse_with_sets(inference: InferenceOptions, out: str | None, metric: str) -> None:
    if inference.at_inference is not None:
        raise UserError("expected no --at-inference with --on: it is measured on your own photos, --images FOLDER")
    if out is not None:
        raise UserError("expected no --out with --on: results on sets go to the folder --records, a file each")
    if metric != "accuracy":
        raise UserError("expected no --metric with --on, which gives no verdict: the records hold the other metrics")
