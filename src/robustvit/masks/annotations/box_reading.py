"""How boxes become masks, and which objects of a detector count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from robustvit.common.options import BoxUnits, DrawnShape
from robustvit.common.wording import pluralize
from robustvit.data.matching import compose
from robustvit.masks.annotations.boxes import draw_box, draw_ellipse, place_box
from robustvit.masks.annotations.objects import AnnotatedObject, Box, BoxedObject, MarkedObject, leaving_out
from robustvit.masks.annotations.orientation import View

FEATHER = 0.2  # 73 % of such an ellipse lies on the object, 68 % of one with a sharp edge (benchmarks.recipes.boxes)


class BoxMask(NamedTuple):
    """A mask made from a box.

    Attributes:
        mask: float32 ``(H, W)`` in [0, 1], upright; zeros if there is none.
        agreement: how sure the model is that made it, in [0, 1]; None if it was drawn.
    """

    mask: np.ndarray
    agreement: float | None = None


@dataclass
class BoxReading:
    """Makes masks of boxes, by drawing a shape in them, and counts the objects of each kind.

    Attributes:
        shape: what is drawn.
        feather: width of its soft edge, as a share of half the box's width and height.
        units: of the boxes; None for those of their format.
        min_confidence: detections below it are left out; None for the threshold of the annotations.
        asked: whether boxes were asked for: outlines that are upright rectangles are boxes then, too.
        usual_confidence: the threshold of the annotations, set when they are read.
        counts: numbers of objects, by their kind and what became of them.
    """

    shape: DrawnShape = "ellipse"
    feather: float = FEATHER
    units: BoxUnits | None = None
    min_confidence: float | None = None
    asked: bool = False
    usual_confidence: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def least(self) -> float:
        """The confidence below which detections are left out."""
        return self.usual_confidence if self.min_confidence is None else self.min_confidence

    @property
    def title(self) -> str:
        """How boxes become masks, for the manifest."""
        return f"boxes as {self.shape}, feather {self.feather:g}"

    @property
    def settings(self) -> dict[str, str | float | bool | None]:
        """The options that masks depend on, for the folder of masks."""
        return {
            "boxes": self.shape,
            "rectangles_as_boxes": self.asked,
            "feather": self.feather,
            "box_units": self.units,
            "min_confidence": self.least,
        }

    def load(self) -> None:
        """Load the model, if there is one, before anything is written."""

    @property
    def content(self) -> str:
        """A text that changes with anything, apart from the options, that the masks depend on."""
        return ""

    def make_masks(self, image: Path, boxes: Sequence[Box], view: View) -> list[BoxMask]:
        """Make a mask from each box, given in pixels of the frame ``view``."""
        draw = draw_ellipse if self.shape == "ellipse" else draw_box
        return [BoxMask(view.upright(draw(box, view.size, self.feather))) for box in boxes]

    def read(
        self, image: Path, marked: Sequence[MarkedObject], view: View, complaints: list[str]
    ) -> list[AnnotatedObject]:
        """Return the objects of a photo, with upright masks; add a complaint for each that must be left out."""
        sure = [self._as_box(one, image) for one in marked if self._is_sure(one)]
        outlines = [
            replace(one, category=_composed(one.category), mask=view.upright(one.mask))
            for one in sure
            if isinstance(one, AnnotatedObject)
        ]
        boxes: list[tuple[BoxedObject, Box]] = []
        for one in sure:
            if isinstance(one, BoxedObject):
                with leaving_out(one.where, complaints):
                    boxes.append((one, place_box(one, view.size, self.units, complaints)))
        return [*outlines, *self._fill(image, boxes, view, complaints)] if boxes else outlines

    def _fill(
        self, image: Path, boxes: list[tuple[BoxedObject, Box]], view: View, complaints: list[str]
    ) -> list[AnnotatedObject]:
        found = []
        masks = self.make_masks(image, [corners for _, corners in boxes], view)
        for (one, _), (mask, agreement) in zip(boxes, masks, strict=True):
            if not mask.any():
                reason = "a box that covers no pixel" if agreement is None else "nothing was found in the box"
                complaints.append(f"{one.where}: {reason}; left out")
                continue
            self.counts["boxes"] += 1
            self.counts["crowds"] += one.crowd
            category = _composed(one.category)
            found.append(AnnotatedObject(category, mask, None, one.confidence, boxed=True, agreement=agreement))
        return found

    def _as_box(self, one: MarkedObject, image: Path) -> MarkedObject:
        """Return an outline that is a rectangle as a box, if boxes were asked for; any other object as it is."""
        if isinstance(one, BoxedObject):
            return one
        self.counts["outlines"] += 1
        self.counts["rectangles"] += one.rectangle is not None
        if one.rectangle is None or not self.asked:
            return one
        return BoxedObject(one.category, one.rectangle, str(image), confidence=one.confidence)

    def _is_sure(self, one: MarkedObject) -> bool:
        unsure = one.confidence is not None and one.confidence < self.least
        self.counts["unsure"] += unsure
        return not unsure

    @property
    def no_object(self) -> str:
        """Why a photo has no object, for the manifest."""
        if self.least:
            return f"no object is marked with a confidence of {self.least:g} or more"
        return "no object is marked"

    def summary(self) -> list[str]:
        """Return a line on each kind of object that was counted."""
        found = self.counts
        lines = []
        if found["boxes"]:
            lines.append(f"{pluralize(found['boxes'], 'object')} with a box alone: {self.title} (--boxes)")
        if found["crowds"]:
            lines.append(f"{pluralize(found['crowds'], 'box', 'boxes')} of crowds, used like the others")
        if found["unsure"]:
            lines.append(
                f"{pluralize(found['unsure'], 'detection')} with a confidence below {self.least:g} left out "
                "(--min-confidence)"
            )
        if found["outlines"] and found["rectangles"] == found["outlines"] and not self.asked:
            lines.append(
                f"every outline ({found['outlines']:,}) is an upright rectangle and used as drawn: if they are boxes, "
                "say --boxes ellipse"
            )
        return lines


def _composed(category: str | None) -> str | None:
    return None if category is None else compose(category)
