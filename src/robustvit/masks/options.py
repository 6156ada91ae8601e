"""Options of making masks; see ``option_groups`` for those that other commands share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, get_args

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.option_groups import MapOptions
from robustvit.common.options import AnnotationFormat, Categories, Feature, LabelFrom, MaskMethod, Protocol, Side
from robustvit.models.options import ModelFile

# The settings of RobustViT's authors; None is the photo's size.
PAPER_BACKBONE = "vit_base_patch16_224.dino"
PAPER_CUT: dict[str, Any] = {"size": None, "side": "seed", "objects": 1, "refine": True}


@dataclass(frozen=True, kw_only=True)
class MaskOptions(MapOptions, ModelFile):
    """Masks made by a model.

    Attributes:
        method: tokencut (no supervision), rembg, sam2 (needs --prompts), relevance (the model's own map).
        model: backbone for tokencut (default vit_small_patch16_224.dino), rembg's or SAM 2's name, or the classifier
            for relevance; sources as for finetune.
        feature: what tokencut compares: keys, queries, values or tokens.
        block: of the backbone, counted from 1 (default: the last).
        centre: subtract the mean over patches from the features; DINOv2-like backbones need it.
        threshold: cosine above which two patches are similar.
        size: longer side in pixels at which the backbone sees a photo.
        side: which part is the object. seed: the one with the most extreme patch (TokenCut's rule); corners: the same,
            but a part with three or four corners of the frame is the background if the other has at most one.
        objects: most objects per photo.
        refine: align masks with the photo's edges by the bilateral solver.
        protocol: standard, or paper: exactly as RobustViT's authors. DINO ViT-B/16, photos at full size, TokenCut's
            side, the solver at full size; photos that they skip get no mask.
        relevance: method of the map for --method relevance.
        prompts: CSV file for sam2: image,x0,y0,x1,y1 (boxes) or image,x,y (points).
    """

    method: MaskMethod = "tokencut"
    feature: Feature = "keys"
    block: int | None = None
    centre: bool = False
    threshold: float = 0.2
    size: int | None = 480
    side: Side = "corners"
    objects: int = 1
    refine: bool = True
    protocol: Protocol = "standard"
    prompts: str | None = None

    def apply_protocol(self) -> MaskOptions:
        """Return the options under the protocol: ``paper`` sets backbone, size, side, objects and refinement."""
        if self.protocol == "standard":
            return self
        expect_one_of("--protocol", self.protocol, get_args(Protocol))
        if self.method != "tokencut":
            raise UserError(f"--protocol paper is about --method tokencut, got {self.method}: leave one of them out")
        for name, value in PAPER_CUT.items():
            if getattr(self, name) not in (getattr(MaskOptions, name), value):
                raise UserError(
                    f"--protocol paper sets {name} itself (photos at their own size, one object, refined): "
                    f"leave out --{name} {getattr(self, name)}"
                )
        return replace(self, **PAPER_CUT, model=self.model or PAPER_BACKBONE)


@dataclass(frozen=True, kw_only=True)
class AnnotationOptions:
    """Masks read from annotations.

    Attributes:
        from_: read masks from annotations: coco, yolo, labelme, voc, imagenet-s, binary, grey or soft.
        images: folder of the annotated photos.
        categories: categories to use: cat,dog or a list (default all); ids if they have no names.
        label_from: for a photo with several categories, use the largest, or all (a mask for each).
    """

    from_: AnnotationFormat | None = None
    images: str | None = None
    categories: Categories | None = None
    label_from: LabelFrom = "largest"
