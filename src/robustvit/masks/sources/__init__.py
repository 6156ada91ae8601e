"""Mask sources by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.progress import warn
from robustvit.masks.options import FOUND_BACKBONE, TOKENCUT_BACKBONE, MaskOptions
from robustvit.masks.phrases import choose_phrases
from robustvit.masks.sources.found import Found
from robustvit.masks.sources.relevance import RelevanceMask
from robustvit.masks.sources.rembg import Rembg
from robustvit.masks.sources.sam2 import SAM, load_sam, read_prompts
from robustvit.masks.sources.source import MaskSource
from robustvit.masks.sources.tokencut import TokenCut
from robustvit.masks.sources.word_models import ClipSeg, Grounding, Sam3
from robustvit.masks.sources.words import WordSettings, WordSource
from robustvit.models.head_kinds import CLASSIFIERS, expect_head
from robustvit.models.load import load_model

_SHOWN = 5


def _tokencut(options: MaskOptions, device: torch.device) -> MaskSource:
    try:
        model = load_model(options.model or TOKENCUT_BACKBONE, checkpoint=options.checkpoint, head="none")
    except UserError as error:
        if options.model:
            raise
        raise UserError(f"{error} of any vision transformer, your finetuned model too") from error
    return TokenCut.of(options, model.to(device))


def _relevance(options: MaskOptions, device: torch.device) -> MaskSource:
    if options.model is None:
        raise UserError("expected --model NAME for --method relevance: the classifier whose relevance is the mask")
    model = expect_head(load_model(options.model, checkpoint=options.checkpoint), CLASSIFIERS).to(device)
    return RelevanceMask(model, method=options.relevance, refine=options.refine)


def _sam2(options: MaskOptions, device: torch.device) -> MaskSource:
    if options.prompts is None:
        raise UserError("expected --prompts FILE.csv for --method sam2, with image,x0,y0,x1,y1 (boxes) or image,x,y")
    return load_sam(options.model or SAM, read_prompts(options.prompts), device=device)


def _found(options: MaskOptions, device: torch.device) -> MaskSource:
    return Found(
        load_model(options.model or FOUND_BACKBONE, checkpoint=options.checkpoint, head="none").to(device),
        weights=options.weights,
        size=options.size,
        threshold=options.chosen_threshold,
        refine=options.refine,
    )


def _grounding(options: MaskOptions, words: WordSettings, device: torch.device) -> WordSource:
    return Grounding(words, options.segmenter or SAM, device=device)


MASK_SOURCES: dict[str, Callable[[MaskOptions, torch.device], MaskSource]] = {
    "tokencut": _tokencut,
    "found": _found,
    "rembg": lambda options, device: Rembg(options.model or "u2net"),
    "sam2": _sam2,
    "relevance": _relevance,
}
# With the model that each takes if none is named.
WORD_SOURCES: dict[str, tuple[Callable[[MaskOptions, WordSettings, torch.device], WordSource], str]] = {
    "clipseg": (lambda options, words, device: ClipSeg(words, device=device), "CIDAS/clipseg-rd64-refined"),
    "grounding": (_grounding, "IDEA-Research/grounding-dino-tiny"),
    "sam3": (lambda options, words, device: Sam3(words, device=device), "facebook/sam3"),
}


def make_source(
    options: MaskOptions, device: torch.device, classes: Mapping[Path, str | None] | None = None
) -> MaskSource:
    """Return the source named by the options, ready to run.

    Args:
        options: settled, see ``MaskOptions.settle``.
        device: to run on.
        classes: all photos with their classes, for sources that take words.
    """
    method = options.chosen_method
    expect_one_of("--method", method, [*MASK_SOURCES, *WORD_SOURCES])
    if method in MASK_SOURCES:
        return MASK_SOURCES[method](options, device)
    if options.prompt is None:
        raise UserError(f"expected --prompt classes, or words such as 'cat,dog', for --method {method}")
    build, model = WORD_SOURCES[method]
    phrases = choose_phrases(options.prompt, classes or {})
    settings = WordSettings(
        phrases, options.model or model, options.chosen_threshold, options.prompt_template, options.refine
    )
    source = build(options, settings, device)
    distinct = list(dict.fromkeys(text for path in phrases for text in source.texts(path)))
    more = f" and {len(distinct) - _SHOWN} more (manifest.csv has all)" if len(distinct) > _SHOWN else ""
    warn(f"looking for {', '.join(map(repr, distinct[:_SHOWN]))}{more}")
    return source
