"""Weights between the original model and the finetuned one (WiSE-FT)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from accelerate import Accelerator
from torch import Tensor

from robustvit.common.files import write_json
from robustvit.common.run_folder import RunFolder
from robustvit.evaluation.measured_intervals import measure_interval, measure_name, measure_title
from robustvit.evaluation.photo_measures import PhotoMeasure
from robustvit.models.classifier import Classifier
from robustvit.models.save import restore_weights, save_model
from robustvit.training.epoch_choice import check_measured
from robustvit.training.schedule import Schedule

SHARES = tuple(tenth / 10 for tenth in range(1, 11))
CHOSEN_BY = ("ordinary", "mixed-other")  # measures of validation photos whose sum decides


def interpolate_weights(
    original: Mapping[str, Tensor], finetuned: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """Return ``(1 - share) * original + share * finetuned``, weight by weight, of two state dicts.

    After Wortsman et al., Robust Fine-Tuning of Zero-Shot Models, CVPR 2022 (WiSE-FT). Whole numbers, such as counters
    of batches, are those of the finetuned model.
    """
    return {
        name: original[name].lerp(weight, share) if weight.is_floating_point() else weight
        for name, weight in finetuned.items()
    }


def choose_share(
    measured: Callable[[float], Mapping[str, float]], max_drop: float, chosen_by: Sequence[str] = CHOSEN_BY
) -> tuple[float, list[dict[str, float]]]:
    """Choose the share with the highest sum of accuracies, of those that lose at most ``max_drop`` points of the first.

    Every second share is tried, then the two beside the best of these. Of equal shares the smallest wins, which changes
    least; if all lose more, the smallest of all.

    ``measured`` returns the accuracies named in ``chosen_by``, or another metric, 0 to 1, of the model at a share.

    Returns:
        The share, and the accuracies at every share that was tried, in order, beginning with 0, the original.
    """

    def tried_at(share: float) -> dict[str, float]:
        found = measured(share)
        return {"share": share} | {name: found[name] for name in chosen_by}

    original = tried_at(0.0)
    least = _least(original[chosen_by[0]], max_drop)

    def best_of(rows: list[dict[str, float]]) -> dict[str, float]:
        allowed = [row for row in rows if row[chosen_by[0]] >= least]
        return max(allowed, key=lambda row: sum(row[name] for name in chosen_by), default=rows[0])

    rows = [tried_at(share) for share in SHARES[1::2]]
    at = SHARES.index(best_of(rows)["share"])
    rows += [tried_at(SHARES[beside]) for beside in (at - 1, at + 1) if beside < len(SHARES)]
    rows.sort(key=lambda row: row["share"])
    return best_of(rows)["share"], [original, *rows]


def describe_share(share: float, tried: list[dict[str, float]], max_drop: float) -> str:
    """Describe in one line how far the kept weights are from the original, and how that was chosen."""
    said = f"The weights are {share:g} of the way from the original to the finetuned model"
    said = "The weights are those of the finetuned model" if share == 1 else said
    if not tried:
        return f"{said}, as given."
    at = next(row for row in tried if row["share"] == share)
    shown = " and ".join(
        f"{100 * value:.1f} % {measure_title(name) if '/' in name else name}"
        for name, value in at.items()
        if name != "share"
    )
    steps, first = len(tried) - 1, next(name for name in at if name != "share")
    if at[first] < _least(tried[0][first], max_drop):
        return (
            f"{said}: each of {steps} steps tried lost more on the validation photos than the {max_drop:g} points "
            f"allowed; the smallest is kept ({shown})."
        )
    return f"{said}: the best of {steps} steps tried on the validation photos ({shown}) within the allowed loss."


def _least(original: float, max_drop: float) -> float:
    return original - max_drop / 100 - 1e-9


def interpolate_run(
    classifier: Classifier,
    original: Classifier,
    measure: Callable[[], Sequence[PhotoMeasure]],
    *,
    validated: Sequence[PhotoMeasure],
    schedule: Schedule,
    accelerator: Accelerator,
    folder: RunFolder,
) -> str:
    """Make ``best/`` a model between the original and the kept epoch, and return a note for the verdict.

    The kept epoch moves to ``finetuned/`` first, so that a run that is killed here can be resumed. ``measure`` measures
    the classifier as it is on the validation photos; ``validated`` are its measures of the original, if they are known.
    """
    if accelerator.is_main_process and not folder.finetuned.exists():
        os.replace(folder.best, folder.finetuned)
    accelerator.wait_for_everyone()
    restore_weights(classifier, folder.finetuned)
    network, began = classifier.network, original.network.state_dict()
    finetuned = {name: weight.cpu().clone() for name, weight in network.state_dict().items()}
    names = [measure_name(schedule.metric, kind) for kind in CHOSEN_BY]

    def load(share: float) -> None:
        network.load_state_dict(interpolate_weights(began, finetuned, share))

    def measure_accuracies(share: float) -> dict[str, float]:
        found = validated
        if share != 0 or not validated:
            load(share)
            found = measure()
        check_measured(schedule.metric, found)
        return {name: value.mean for name in names if (value := measure_interval(found, name))}

    asked, tried = schedule.weight_interpolation, list[dict[str, float]]()
    if asked == "auto":
        share, tried = choose_share(measure_accuracies, schedule.max_drop, names)
    else:
        share = float(asked)
    load(share)
    if accelerator.is_main_process:
        save_model(classifier, folder.best)
        write_json({"share": share, "tried": tried}, folder.interpolation)
    accelerator.wait_for_everyone()
    return describe_share(share, tried, schedule.max_drop)
