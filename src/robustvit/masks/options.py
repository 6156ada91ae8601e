"""Options for making masks; ``option_groups`` and ``photo_options`` have those shared with other commands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, get_args

from robustvit.common.errors import UserError, expect_at_least, expect_one_of, expect_share, option_name
from robustvit.common.option_groups import MapOptions
from robustvit.common.options import (
    AnnotationFormat,
    BoxMode,
    BoxUnits,
    Categories,
    Feature,
    LabelFrom,
    MaskMethod,
    Orientation,
    Prompt,
    Protocol,
    Side,
)
from robustvit.common.photo_options import NoObjectOption
from robustvit.models.options import ModelFile

# As RobustViT's authors cut; size None is the photo's original size.
PAPER_BACKBONE = "vit_base_patch16_224.dino"
# Without --model: small ones, quick enough for a laptop.
TOKENCUT_BACKBONE, FOUND_BACKBONE = "vit_small_patch16_224.dino", "vit_small_patch8_224.dino"
PAPER_CUT: dict[str, Any] = {"size": None, "side": "seed", "objects": 1, "refine": True}
# Of methods that take words; the first is the default.
WORD_METHODS = ("clipseg", "grounding", "sam3")
# Our defaults for methods with scores or heat, not measured.
THRESHOLDS = {"found": 0.5, "clipseg": 0.3, "grounding": 0.35, "sam3": 0.5}
_COSINE = 0.2
# Options of some methods only.
_OWNERS = {
    "prompts": ("sam2",),
    "prompt": WORD_METHODS,
    "prompt_template": WORD_METHODS,
    "segmenter": ("grounding",),
    "weights": ("found",),
}

_OF_BOXES = ("boxes", "feather", "box_units", "min_confidence")
_MASK_FILES = ("imagenet-s", "binary", "grey", "soft", "trimap", "inverted")  # formats without boxes


@dataclass(frozen=True, kw_only=True)
class MaskOptions(MapOptions, ModelFile, NoObjectOption):
    """Masks made by a model.

    Attributes:
        method: tokencut (unsupervised, the default) or found (a convolution instead of the cut); clipseg (the default
            with --prompt), grounding (Grounding DINO and SAM) or sam3, which need --prompt; rembg; sam2 (needs
            --prompts); or relevance (the relevance map of a classifier).
        model: backbone for tokencut (default vit_small_patch16_224.dino) and found (vit_small_patch8_224.dino); name
            or folder of a CLIPSeg, Grounding DINO, SAM 3 or SAM 2 model; name of a rembg model; or the classifier for
            relevance. Sources as for finetune.
        feature: features that tokencut compares: keys, queries, values or tokens; default: keys for DINO; for other
            backbones, whichever cuts a few of the photos best, as for centre and threshold.
        block: block of the backbone, counted from 1; default: the last.
        centre: subtract the mean over patches from the features; default: not for DINO (see feature).
        threshold: for tokencut, the cosine similarity above which two patches are linked (default: 0.2 for DINO, see
            feature); for found (0.5) and clipseg (0.3), the value above which a pixel is of the object; for grounding
            (0.35) and sam3 (0.5), the score above which an object counts as found.
        size: longer side, in pixels, of the photo that the backbone sees.
        side: which part is the object: seed (the part with the most extreme patch, TokenCut's rule) or corners (the
            same, but a part with three or four corners of the photo is the background if the other has at most one).
        objects: number of objects to look for in a photo.
        refine: align masks with the edges of the photo, with the bilateral solver.
        protocol: standard, or paper (as RobustViT's authors cut: DINO ViT-B/16, photos at original size, TokenCut's
            side, the solver at full size; photos that they skip get no mask).
        relevance: relevance method for --method relevance.
        prompts: CSV file for sam2: image,x0,y0,x1,y1 (boxes) or image,x,y (points).
        prompt: words for clipseg, grounding and sam3: classes (the name of each photo's class), cat,dog for every
            photo, or cat=tabby cat for those of a class. With weights (bird beak:3,bird:1), soft masks of concepts.
        prompt_template: text around the words, such as "a photo of a {}" (the default for clipseg; {} for the others).
        segmenter: SAM 2 or SAM 3 for grounding, its name or folder (default facebook/sam2.1-hiera-small).
        weights: file with the convolution of found (default: its authors', downloaded).
    """

    method: MaskMethod | None = None
    feature: Feature | None = None
    block: int | None = None
    centre: bool | None = None
    threshold: float | None = None
    size: int | None = 480
    side: Side = "corners"
    objects: int = 1
    refine: bool = True
    protocol: Protocol = "standard"
    prompts: str | None = None
    prompt: Prompt | None = None
    prompt_template: str | None = None
    segmenter: str | None = None
    weights: str | None = None

    @property
    def chosen_method(self) -> MaskMethod:
        """The method, or the default for what was given."""
        return self.method or ("tokencut" if self.prompt is None else "clipseg")

    @property
    def chosen_threshold(self) -> float:
        """The threshold, or the method's default; for tokencut, the default for DINO."""
        return THRESHOLDS.get(self.chosen_method, _COSINE) if self.threshold is None else self.threshold

    def settle(self) -> MaskOptions:
        """Return the options with method and protocol decided, and defaults for options that the method ignores."""
        method, threshold = self.chosen_method, self.chosen_threshold
        for name, methods in _OWNERS.items():
            if getattr(self, name) is not None and method not in methods:
                raise UserError(f"{option_name(name)} is for --method {', '.join(methods)}, got {method}")
        if method in WORD_METHODS and self.checkpoint is not None:
            raise UserError(f"--checkpoint is for backbones and classifiers; {method} takes a folder as --model")
        if self.prompt_template is not None and "{}" not in self.prompt_template:
            raise UserError(f"expected --prompt-template with {{}} for the words, got {self.prompt_template!r}")
        if self.size is not None:
            expect_at_least(1, size=self.size)
        if method in THRESHOLDS and not 0 < threshold < 1:
            raise UserError(f"expected --threshold above 0 and below 1 for --method {method}, got {threshold}")
        if not -1 <= threshold < 1:
            raise UserError(f"expected --threshold from -1 to below 1, a cosine, got {threshold}")
        if method == "tokencut":  # what is open is chosen by the backbone
            return replace(self, method=method).apply_protocol()
        feature, centre = self.feature or "keys", bool(self.centre)
        return replace(self, method=method, threshold=threshold, feature=feature, centre=centre).apply_protocol()

    def apply_protocol(self) -> MaskOptions:
        """Return the options under the protocol: ``paper`` sets backbone, size, side, objects and refinement."""
        if self.protocol == "standard":
            return self
        expect_one_of("--protocol", self.protocol, get_args(Protocol))
        if self.chosen_method != "tokencut":
            raise UserError(
                f"--protocol paper needs --method tokencut, got {self.chosen_method}: leave one of them out"
            )
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
        from_: read masks from annotations instead: auto (told from the files), coco, yolo, labelme, cvat, label-studio,
            supervisely, datumaro, fiftyone, sa-1b, imagefolder, kaggle, kaggle-rows, csv-boxes, voc, voc-xml,
            megadetector, imagenet-s, binary, grey, soft, trimap or inverted.
        images: folder of the annotated photos.
        categories: categories to take from annotations: cat,dog or a list; ids if they have no names.
        label_from: class of a photo: folder (its class folder), largest (the category that covers most) or all (a mask
            for each category); default: its class folder if it lies in one, else largest.
        orientation: whether photos with an EXIF orientation were annotated upright (as viewers show them) or as stored
            in the file; default: as their sizes show, else upright, with the mask marked doubtful.
        boxes: masks of objects that have boxes alone: ellipse (in the box), box, or sam (SAM 2 or SAM 3 finds the
            object in the box; --model); default: ellipse. If given, outlines that are upright rectangles also count as
            boxes.
        feather: width of the soft edge of an ellipse or box, as a share of half its width and height; 0 is a sharp
            edge; default: 0.2.
        box_units: pixels or shares (of the photo's width and height); default: those of the format; you are asked if in
            doubt.
        min_confidence: detections with a lower confidence are left out; default: for megadetector, the typical
            threshold in its file, else 0.2; 0 for other formats.
        which: which of several annotations of a photo to use: newest (label-studio; default: such photos are left out),
            or the name of a field (fiftyone; default: you are asked).
    """

    from_: AnnotationFormat | None = None
    images: str | None = None
    categories: Categories | None = None
    label_from: LabelFrom | None = None
    orientation: Orientation | None = None
    boxes: BoxMode | None = None
    feather: float | None = None
    box_units: BoxUnits | None = None
    min_confidence: float | None = None
    which: str | None = None

    def __post_init__(self) -> None:
        if self.boxes is not None:
            expect_one_of("--boxes", self.boxes, get_args(BoxMode))
        if self.box_units is not None:
            expect_one_of("--box-units", self.box_units, get_args(BoxUnits))
        expect_share(feather=self.feather, min_confidence=self.min_confidence)
        if self.feather is not None and self.boxes == "sam":
            raise UserError("--feather is for --boxes ellipse and box, which draw soft edges: leave it out with sam")
        given = [name for name in (*_OF_BOXES, "categories", "which") if getattr(self, name) not in (None, [])]
        if self.from_ is None and given:
            raise UserError(f"{option_name(given[0])} belongs to annotations: name their format with --from")
        if self.from_ in _MASK_FILES and given and given[0] in _OF_BOXES:
            option = option_name(given[0])
            raise UserError(f"{option} is for boxes, which --from {self.from_} does not have: leave it out")
