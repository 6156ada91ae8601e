"""Mask sources by name."""

from __future__ import annotations

from collections.abc import Callable

import torch

from robustvit.common.errors import UserError, expect_one_of
from robustvit.masks.options import MaskOptions
from robustvit.masks.sources.source import MaskSource
from robustvit.models.load import load_model

__all__ = ["MASK_SOURCES", "MaskSource", "make_source"]


def _tokencut(options: MaskOptions, device: torch.device) -> MaskSource:
    from robustvit.masks.sources.tokencut import TokenCut

    name = options.model or "vit_small_patch16_224.dino"
    return TokenCut.of(options, load_model(name, checkpoint=options.checkpoint, headless=True).to(device))


def _relevance(options: MaskOptions, device: torch.device) -> MaskSource:
    from robustvit.masks.sources.relevance import RelevanceMask

    if options.model is None:
        raise UserError("expected --model NAME for --method relevance: the classifier whose relevance is the mask")
    model = load_model(options.model, checkpoint=options.checkpoint).to(device)
    return RelevanceMask(model, method=options.relevance, refine=options.refine)


def _rembg(options: MaskOptions, device: torch.device) -> MaskSource:
    from robustvit.masks.sources.rembg import Rembg

    return Rembg(options.model or "u2net")


def _sam2(options: MaskOptions, device: torch.device) -> MaskSource:
    from robustvit.masks.sources.sam2 import SAM, load_sam, read_prompts

    if options.prompts is None:
        raise UserError("expected --prompts FILE.csv for --method sam2, with image,x0,y0,x1,y1 (boxes) or image,x,y")
    return load_sam(options.model or SAM, read_prompts(options.prompts), device=device)


MASK_SOURCES: dict[str, Callable[[MaskOptions, torch.device], MaskSource]] = {
    "tokencut": _tokencut,
    "rembg": _rembg,
    "sam2": _sam2,
    "relevance": _relevance,
}


def make_source(options: MaskOptions, device: torch.device) -> MaskSource:
    """Return the source named by the options, ready to run."""
    expect_one_of("--method", options.method, MASK_SOURCES)
    return MASK_SOURCES[options.method](options, device)
