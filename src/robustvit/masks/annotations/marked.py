"""What readers list: photos, and the areas and boxes marked in them, drawn on demand."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from robustvit.common.options import BoxUnits
from robustvit.common.wording import pluralize
from robustvit.masks.annotations.objects import AnnotatedObject, Box, BoxedObject, MarkedObject, leaving_out
from robustvit.masks.annotations.orientation import View
from robustvit.masks.annotations.shapes import Frame, Outline
from robustvit.masks.annotations.values import expect_confidence


@dataclass(frozen=True)
class MarkedArea:
    """An area marked in a photo.

    Attributes:
        category: its class; None if the format has none.
        draw: returns its mask in a frame, float32 ``(H, W)`` in [0, 1], or its box; raises BrokenEntry. The frame
            takes notes on parts that are left out.
        where: words for it in a complaint, such as ``polygon 3``.
        confidence: of the detector, as it is in the file.
        group: masks of one group are one object; None for an object of its own.
    """

    category: str | None
    draw: Callable[[Frame], np.ndarray | Outline | Box]
    where: str
    confidence: object = None
    group: tuple[Hashable, ...] | None = None

    def mark(self, where: str, frame: Frame) -> MarkedObject:
        """Return the object in a frame; ``where`` begins its complaints."""
        drawn, confidence = self.draw(frame), expect_confidence(self.confidence)
        if isinstance(drawn, Box):
            return BoxedObject(self.category, drawn, where, confidence=confidence)
        mask, rectangle = drawn if isinstance(drawn, Outline) else (drawn, None)
        return AnnotatedObject(self.category, mask, rectangle, confidence)


@dataclass(frozen=True)
class MarkedBox:
    """A box marked in a photo, whose units may differ from its format's.

    Attributes:
        category: its class; None if the format has none.
        read: returns the box as the annotation has it; raises BrokenEntry.
        where: as for ``MarkedArea``, and so is ``confidence``.
        units: of the format.
        sides: whether the format has width and height instead of a second corner.
        crowd: whether it holds a group of objects.
    """

    category: str | None
    read: Callable[[], Box]
    where: str
    confidence: object = None
    units: BoxUnits = "pixels"
    sides: bool = False
    crowd: bool = False

    def mark(self, where: str, frame: Frame) -> MarkedObject:
        """Return the object; see ``MarkedArea``."""
        confidence = expect_confidence(self.confidence)
        return BoxedObject(self.category, self.read(), where, self.units, confidence, self.crowd)


@dataclass(frozen=True)
class MarkedPhoto:
    """A photo as an annotation lists it.

    Attributes:
        name: its path or name there.
        size: height and width there, of any type; None if it says nothing.
        areas: what is marked in it.
        content: returns a text that changes with its annotation.
        doubt: why its mask would be doubtful, if it is.
        nothing: whether the annotation says that there is no object, if it marks none.
        label: the class that it gives to such a photo, if it does.
        where: words for the photo in a complaint; empty for its path.
    """

    name: str
    size: tuple[object, object] | None
    areas: Sequence[MarkedArea | MarkedBox]
    content: Callable[[], str]
    doubt: str = ""
    nothing: bool = False
    label: str | None = None
    where: str = ""

    def mark(self, where: str, view: View, complaints: list[str]) -> list[MarkedObject]:
        """Return the objects in the frame ``view``; add a complaint, beginning with ``where``, for each broken one."""
        frame, beyond = Frame(*view.size), ""
        objects: dict[object, MarkedObject] = {}
        for number, area in enumerate(self.areas):
            name = f"{where}: {area.where}"
            with leaving_out(name, complaints):
                found = area.mark(name, frame)
                key: object = number
                if isinstance(area, MarkedArea) and area.group and isinstance(found, AnnotatedObject):
                    key, first = area.group, objects.get(area.group)
                    if isinstance(first, AnnotatedObject):
                        found = replace(found, mask=np.maximum(first.mask, found.mask))
                objects[key] = found
            complaints += [f"{name}: {note}" for note in frame.take_notes()]
            beyond = beyond or (area.where if frame.outside else "")
        if beyond:
            share = f"{frame.outside} of {pluralize(frame.points, 'point')}"
            complaints.append(f"{where}: polygon outside the frame: {share}, cut off at the edge; first in {beyond}")
        return list(objects.values())
