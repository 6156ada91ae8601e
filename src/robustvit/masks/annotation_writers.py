"""Masks as the entries of a COCO file or of Label Studio's tasks."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from robustvit.data.manifest import MaskRecord
from robustvit.masks.annotations.kept_verdicts import note_verdict
from robustvit.masks.annotations.shapes import mask_tools
from robustvit.masks.polygons import polygons_of

_NO_CLASS = "object"
_LOST = "polygons would lose more than 2 %"


class WrittenMask(NamedTuple):
    """A mask to be written.

    Attributes:
        record: its row of the manifest.
        inside: ``(H, W)`` bool.
    """

    record: MaskRecord
    inside: np.ndarray

    @property
    def label(self) -> str:
        """Its class, or a name for objects without one."""
        return self.record.label or _NO_CLASS


class CocoWriter:
    """The lists of a COCO file; an annotation keeps verdict, confidence and reason under ``attributes``.

    Args:
        polygons: write polygons where they hold 98 % of the object, else run lengths.
    """

    def __init__(self, polygons: bool) -> None:
        self._polygons = polygons
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._ids: dict[str, int] = {}

    def add(self, name: str, size: tuple[int, int], masks: list[WrittenMask]) -> list[str]:
        """Add a photo by its path; return a line for each mask that is lost or written in another form."""
        lines, tools = [], mask_tools()
        number = len(self._images) + 1
        self._images.append({"id": number, "file_name": name, "height": size[0], "width": size[1]})
        for one in masks:
            packed = tools.encode(np.asfortranarray(one.inside.astype(np.uint8)))
            outlines = polygons_of(one.inside) if self._polygons else None
            if self._polygons and outlines is None:
                lines.append(f"its mask is kept as run lengths, {_LOST}")
            runs = {"size": list(size), "counts": packed["counts"].decode("ascii")}
            segmentation = runs if outlines is None else [ring.ravel().tolist() for ring in outlines]
            entry = {
                "id": len(self._annotations) + 1,
                "image_id": number,
                "category_id": self._ids.setdefault(one.label, len(self._ids) + 1),
                "segmentation": segmentation,
                "area": int(tools.area(packed)),
                "bbox": tools.toBbox(packed).tolist(),
                "iscrowd": 0,
                "attributes": note_verdict(one.record, segmentation),
            }
            self._annotations.append(entry)
        return lines

    def content(self) -> dict[str, Any]:
        """Return the content of the file, to be written as JSON."""
        categories = [{"id": number, "name": name} for name, number in self._ids.items()]
        info = {"description": "Masks of robustvit"}
        return {"info": info, "images": self._images, "annotations": self._annotations, "categories": categories}


class LabelStudioWriter:
    """Tasks of Label Studio with polygons, for a ``PolygonLabels`` called label and an ``Image`` called image.

    A task's data hold verdict, confidence and reason.
    """

    def __init__(self) -> None:
        self._tasks: list[dict[str, Any]] = []

    def add(self, name: str, size: tuple[int, int], masks: list[WrittenMask]) -> list[str]:
        """See ``CocoWriter``."""
        lines = []
        results: list[dict[str, Any]] = []
        for one in masks:
            outlines = polygons_of(one.inside)
            if outlines is None:
                lines.append(f"its mask is not written, {_LOST}")
            for ring in outlines or ():
                points = (ring * (100 / size[1], 100 / size[0])).round(6).tolist()
                results.append(
                    {
                        "id": f"{len(self._tasks)}-{len(results)}",
                        "type": "polygonlabels",
                        "from_name": "label",
                        "to_name": "image",
                        "original_width": size[1],
                        "original_height": size[0],
                        "image_rotation": 0,
                        "value": {"points": points, "closed": True, "polygonlabels": [one.label]},
                    }
                )
        data: dict[str, Any] = {"image": f"/data/local-files/?d={quote(name)}"}
        for one in masks[:1]:
            data |= {"verdict": one.record.verdict, "confidence": one.record.confidence, "reason": one.record.reason}
        self._tasks.append({"data": data, "meta": {}, "annotations": [{"result": results}]})
        return lines

    def content(self) -> list[dict[str, Any]]:
        """See ``CocoWriter``."""
        return self._tasks
