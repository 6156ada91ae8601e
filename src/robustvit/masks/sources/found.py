"""FOUND (Siméoni et al., CVPR 2023, arXiv 2212.07834): a single convolution that tells objects from background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from robustvit.common.errors import UserError
from robustvit.explanation.features import patch_features
from robustvit.masks.confidence import FoundMask, measure_mask, no_object, rate_mask, threshold_agreement
from robustvit.masks.options import FOUND_BACKBONE
from robustvit.masks.sources.heat import enlarge_heat
from robustvit.masks.sources.tokencut import TokenCut, dino_positions
from robustvit.masks.tokencut.cut import CutJob, refine_mask
from robustvit.models.classifier import Classifier
from robustvit.models.libraries.library import readable_errors
from robustvit.models.state_dicts import read_checkpoint
from robustvit.models.weights import load_weights, weights_hash

_AUTHORS = (  # 2,689 bytes, Apache-2.0; for DINO ViT-S/8
    "https://github.com/valeoai/FOUND/raw/f9f2ef709002037c5498ce571115ad76b9627c31/data/weights/decoder_weights.pt"
)


@dataclass(frozen=True)
class _Job:
    logits: np.ndarray
    photo: np.ndarray
    threshold: float
    refine: bool
    problem: str


class Found(TokenCut):
    """The sigmoid of a 1 x 1 convolution on the keys of the last block, above a threshold; all objects together.

    Patches are those of TokenCut, with positions interpolated as DINO does; logits are enlarged to the photo's size.

    Args:
        model: the backbone that the convolution was trained with.
        weights: file with the convolution, ``weight (1, C, 1, 1)`` and ``bias (1,)``; None for the authors'.
        size: see ``TokenCut``.
        threshold: in (0, 1).
        refine: align masks with the photo's edges, by the bilateral solver.
    """

    name = "found"

    def __init__(
        self,
        model: Classifier,
        *,
        weights: str | None = None,
        size: int | None = 480,
        threshold: float = 0.5,
        refine: bool = True,
    ) -> None:
        super().__init__(model, size=size)
        self.convolution = load_convolution(fetch_weights() if weights is None else weights, model)
        self.threshold, self.refine = threshold, refine
        self._convolution_weights = weights_hash(self.convolution)

    def content(self, path: Path) -> str:
        """The weights of backbone and convolution; see ``MaskSource``."""
        return f"{super().content(path)} {self._convolution_weights}"

    def origin(self, path: Path) -> dict[str, str]:
        """The backbone and the threshold; see ``MaskSource``."""
        return {"model": self.model.source, "threshold": f"{self.threshold:g}"}

    def prepare(self, photos: Sequence[Image.Image], paths: Sequence[Path]) -> list[_Job]:  # type: ignore[override]
        """Logits of all patches; see ``MaskSource``."""
        with dino_positions(self.model.network):
            jobs = super().prepare(photos, paths)
        return [_Job(self._logits(job), job.photo, self.threshold, self.refine, job.problem) for job in jobs]

    @torch.no_grad()
    def _logits(self, job: CutJob) -> np.ndarray:
        if job.problem:
            return np.empty((0, 0), np.float32)
        keys = torch.from_numpy(job.features).permute(2, 0, 1)
        return self.convolution(keys[None])[0, 0].numpy()

    @staticmethod
    def finish(job: _Job) -> FoundMask:  # type: ignore[override]
        """Threshold the logits; see ``MaskSource``."""
        size = (job.photo.shape[0], job.photo.shape[1])
        if job.problem:
            return no_object(size, job.problem)
        soft = 1 / (1 + np.exp(-enlarge_heat(job.logits, size)))
        mask = soft > job.threshold
        agreement = threshold_agreement(soft, job.threshold)
        if job.refine and mask.any():
            mask, agreement = refine_mask(mask, job.photo)
        return rate_mask(mask.astype(np.float32), measure_mask(mask, agreement=agreement))


def fetch_weights() -> str:
    """Return the file with the authors' convolution, downloaded once into PyTorch's hub folder (``TORCH_HOME``)."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / "found_decoder_weights.pt"
    if not file.is_file():
        with readable_errors("FOUND", f"the file behind {_AUTHORS} as --weights FILE, or use --method tokencut"):
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(_AUTHORS, str(file), progress=False)
    return str(file)


def load_convolution(file: str, backbone: Classifier) -> nn.Module:
    """Load the convolution, under any names and at any depth of the file, and check that it fits the backbone."""
    images = torch.zeros(1, 3, *backbone.preprocessing.input_size, device=backbone.mean.device)
    channels = patch_features(backbone, images).shape[-1]
    convolution = nn.Conv2d(channels, 1, kernel_size=1).requires_grad_(False)
    state = read_checkpoint(file)
    if (weight := state.get("weight")) is not None and weight.shape != convolution.weight.shape:
        raise UserError(
            f"expected a convolution of 1 x {channels} x 1 x 1 in {file}, for the keys of {backbone}, got "
            f"{' x '.join(map(str, weight.shape))}: name the --model that it was trained with ({FOUND_BACKBONE})"
        )
    load_weights(convolution, state, file)
    return convolution.eval()
