"""Which features of a backbone TokenCut compares, and from which similarity on: tried on a few photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustvit.common.errors import UserError
from robustvit.common.files import read_settings
from robustvit.common.progress import warn
from robustvit.common.wording import pluralize
from robustvit.data.manifest import SETTINGS
from robustvit.data.read_photos import read_photo
from robustvit.masks.options import MaskOptions

if TYPE_CHECKING:
    import torch

    from robustvit.data.placed_photos import PlacedPhoto
    from robustvit.masks.sources.tokencut import TokenCut
    from robustvit.masks.tokencut.cut import CutJob

_TRIED_PHOTOS = 8
# The first is that of TokenCut, for DINO; DINOv2-like and supervised backbones need another. The first wins a tie.
CUTS: tuple[dict[str, Any], ...] = (
    {"feature": "keys", "centre": False, "threshold": 0.2},
    {"feature": "keys", "centre": True, "threshold": 0.1},
    {"feature": "tokens", "centre": True, "threshold": 0.1},
    {"feature": "tokens", "centre": True, "threshold": 0.2},
)


def is_dino(model: str | None) -> bool:
    """Whether a model is the default backbone or another of DINO, whose cut is TokenCut's own."""
    return model is None or Path(model).name.endswith(".dino") or model.startswith("facebook/dino-vit")


def list_cuts(options: MaskOptions) -> list[MaskOptions]:
    """Return the options with each cut of ``CUTS``; what the user chose stays."""
    found: list[MaskOptions] = []
    for cut in CUTS:
        missing = {name: value for name, value in cut.items() if getattr(options, name) is None}
        if (filled := replace(options, **missing)) not in found:
            found.append(filled)
    return found


def choose_cut(
    options: MaskOptions, photos: Sequence[PlacedPhoto], out: str | Path, device: torch.device
) -> MaskOptions:
    """Fill in feature, centring and threshold where the user left them open.

    DINO has TokenCut's own. Of another backbone those with the highest mean confidence on up to 8 photos, spread over
    all, are taken, and reported in a line. A folder with masks keeps the settings that they were made with.

    Args:
        options: None where there is something to choose.
        photos: photos to be cut.
        out: folder for the masks.
        device: to run the backbone on.
    """
    made_with = read_settings(Path(out) / SETTINGS) or {}
    same = all(made_with.get(name) == getattr(options, name) for name in ("method", "model", "checkpoint"))
    if same:
        known = {name: made_with[name] for name in CUTS[0] if name in made_with and getattr(options, name) is None}
        options = replace(options, **known)
    tried = list_cuts(options)
    if len(tried) == 1 or not photos or options.protocol == "paper" or is_dino(options.model):
        return tried[0]
    few = photos[:: -(-len(photos) // _TRIED_PHOTOS)]
    means = _mean_confidences(tried, few, device)
    best = tried[means.index(max(means))]
    if max(means) > 0:
        how = f"{'centred ' * bool(best.centre)}{best.feature}, threshold {best.threshold:g}"
        warn(
            f"{options.model} compares patches by {how}: the best of {len(tried)} ways on "
            f"{pluralize(len(few), 'photo')} (mean confidence {max(means):.2f}). --feature, --centre and --threshold "
            "choose another"
        )
    return best


def _mean_confidences(tried: Sequence[MaskOptions], photos: Sequence[PlacedPhoto], device: torch.device) -> list[float]:
    from robustvit.masks.sources.tokencut import TokenCut
    from robustvit.models.load import load_model

    model = load_model(str(tried[0].model), checkpoint=tried[0].checkpoint, head="none").to(device)
    sources = [TokenCut.of(replace(one, refine=False), model) for one in tried]
    found = [0.0] * len(tried)
    for photo in photos:
        try:
            image = read_photo(photo.image, pixels=photo.pixels)
        except UserError:
            continue  # the loop over all photos names it
        jobs: dict[str, CutJob] = {}  # cuts that differ in the threshold alone share the features
        for number, source in enumerate(sources):
            described = str(source.options)
            jobs[described] = jobs.get(described) or source.prepare([image], [photo.image])[0]
            found[number] += _confidence(source, jobs[described]) / len(photos)
    return found


def _confidence(source: TokenCut, job: CutJob) -> float:
    try:
        return source.finish(replace(job, settings=source.settings)).confidence
    except UserError:
        return 0.0
