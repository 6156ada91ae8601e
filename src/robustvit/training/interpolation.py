"""Weights between the original model and the finetuned one (WiSE-FT)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from robustvit.evaluation.measured_intervals import measure_title

SHARES = tuple(tenth / 10 for tenth in range(1, 11))
CHOSEN_BY = ("ordinary", "mixed-other")  # measures of validation photos whose sum decides


def interpolate_weights(
    original: Mapping[str, Tensor], finetuned: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """Return ``(1 - share) * original + share * finetuned``, weight by weight.

    After Wortsman et al., Robust Fine-Tuning of Zero-Shot Models, CVPR 2022 (WiSE-FT). Whole numbers, such as counters
    of batches, are those of the finetuned model.

    Args:
        original: state dict of the model before finetuning.
        finetuned: state dict after it, with the same names and shapes.
        share: 0 gives the original, 1 the finetuned model.
    """
    return {
        name: original[name].lerp(weight, share) if weight.is_floating_point() else weight
        for name, weight in finetuned.items()
    }


def choose_share(
    measured: Callable[[float], Mapping[str, float]], max_drop: float, chosen_by: Sequence[str] = CHOSEN_BY
) -> tuple[float, list[dict[str, float]]]:
    """Choose the share with the highest sum of accuracies among those that lose at most ``max_drop`` points.

    Of equal shares the smallest wins, which changes least; if all lose more, the smallest of all.

    Args:
        measured: returns the measures named in ``chosen_by``, 0 to 1, of the model at a share.
        max_drop: points of the first of them that may be lost.
        chosen_by: accuracies, or another metric of ordinary photos and on other backgrounds.

    Returns:
        The share, and the accuracies at every share that was tried, beginning with 0, the original.
    """
    tried = []
    for share in (0.0, *SHARES):
        found = measured(share)
        tried.append({"share": share} | {name: found[name] for name in chosen_by})
    least = tried[0][chosen_by[0]] - max_drop / 100 - 1e-9
    allowed = [row for row in tried[1:] if row[chosen_by[0]] >= least]
    best = max(allowed, key=lambda row: sum(row[name] for name in chosen_by), default=tried[1])
    return best["share"], tried


def describe_share(share: float, tried: list[dict[str, float]]) -> str:
    """Describe in one line how far the kept model goes, and how that was chosen."""
    said = f"The weights are {share:g} of the way from the original to the finetuned model"
    if not tried:
        return f"{said}, as given."
    at = next(row for row in tried if row["share"] == share)
    shown = " and ".join(f"{100 * value:.1f} % {_words(name)}" for name, value in at.items() if name != "share")
    return f"{said}: of ten steps the best on the validation photos ({shown}) within the allowed loss."


def _words(name: str) -> str:
    """Return a measure's name, or the title of a metric."""
    return measure_title(name) if "/" in name else name
