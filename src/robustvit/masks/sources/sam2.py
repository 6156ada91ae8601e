"""Masks from SAM 2 or SAM 3 (transformers), prompted with a box or points for each object."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from PIL import Image

from robustvit.common.csv_files import read_csv
from robustvit.common.errors import UserError
from robustvit.common.extras import import_extra
from robustvit.data.photo_names import PhotoNames
from robustvit.masks.confidence import FoundMask, measure_mask, no_object, rate_mask, threshold_agreement
from robustvit.masks.sources.source import MaskSource
from robustvit.models.libraries.library import readable_errors

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SAM = "facebook/sam2.1-hiera-small"


@dataclass
class Prompts:
    """The prompts of a photo: boxes ``[x0, y0, x1, y1]``, an object each, or points of one object.

    Attributes:
        boxes: in pixels.
        points: ``[x, y]`` in pixels.
        labels: 1 for a point on the object, 0 for a point beside it.
    """

    boxes: list[list[float]] = field(default_factory=list)
    points: list[list[float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)


def read_prompts(path: str | Path) -> dict[str, Prompts]:
    """Read prompts from a CSV file: ``image`` and ``x0,y0,x1,y1`` (a box) or ``x,y`` (a point) in each row.

    A photo may have several rows; the column ``on`` is 1 (default) for a point on the object, 0 for a point beside it.

    Returns:
        Prompts by the photo's path as written in the file.
    """
    table = read_csv(path, what="a CSV file of prompts", fix="give one with the columns image,x0,y0,x1,y1")
    found: dict[str, Prompts] = defaultdict(Prompts)
    for line, row in zip(table.lines, table.rows, strict=True):
        try:
            _add(found[str(row["image"]).strip()], row)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}, line {line}: expected image and x0,y0,x1,y1 (a box) or x,y (a point) in pixels, got {row}"
            ) from error
    if not found:
        raise UserError(f"expected prompts in {path}, found none: one row for each box or point")
    return dict(found)


def _add(prompts: Prompts, row: dict[str, str]) -> None:
    if row.get("x0"):
        box = [float(row[name]) for name in ("x0", "y0", "x1", "y1")]
        if not np.isfinite(box).all() or box[2] <= box[0] or box[3] <= box[1]:
            raise ValueError("not a box")
        prompts.boxes.append(box)
    else:
        point = [float(row["x"]), float(row["y"])]
        if not np.isfinite(point).all():
            raise ValueError("not a point")
        prompts.points.append(point)
        prompts.labels.append(int(row.get("on") or 1))


class Sam2(MaskSource):
    """One mask per photo: all objects in its boxes, or the object that its points show.

    Args:
        model: transformers' model name, or a folder.
        prompts: see ``read_prompts``.
        device: to run on.
    """

    name = "sam2"
    network: PreTrainedModel
    kind: ClassVar[str] = "Sam2"  # of the classes in transformers
    release: ClassVar[str] = "4.56"  # of transformers that has them
    way_out: ClassVar[str] = "a folder with its files as --model"

    def __init__(self, model: str, prompts: dict[str, Prompts], *, device: torch.device | str = "cpu") -> None:
        library = import_extra("transformers", "transformers")
        if not hasattr(library, f"{self.kind}Model"):
            raise UserError(
                f"{self.name} needs transformers {self.release} or newer: pip install --upgrade transformers"
            )
        with readable_errors(f"transformers:{model}", self.way_out):
            self.network = getattr(library, f"{self.kind}Model").from_pretrained(model).to(device).eval()
            self.processor = getattr(library, f"{self.kind}Processor").from_pretrained(model)
        self.prompts, self.device = prompts, device
        self._by_photo: dict[Path, Prompts] = {}

    def match_photos(self, places: Mapping[str, Path], folder: Path) -> list[str]:
        """See ``MaskSource``."""
        matches = PhotoNames(places, folder).match({name: name for name in self.prompts})
        self._by_photo = {places[place]: self.prompts[name] for name, place in matches.found.items()}
        return [*(f"prompts of {name}: {reason}" for name, reason in matches.lost.items()), *matches.notes]

    def content(self, path: Path) -> str:
        """The weights and the prompts; see ``MaskSource``."""
        return f"{super().content(path)} {self._by_photo.get(path)}"

    def prepare(self, photos: Sequence[Image.Image], paths: Sequence[Path]) -> list[Any]:
        """Predict masks with SAM's scores; see ``MaskSource``."""
        return [self._segment(photo, self._by_photo.get(path)) for photo, path in zip(photos, paths, strict=True)]

    def segment_boxes(self, photo: Image.Image, boxes: Sequence[Sequence[float]]) -> tuple[np.ndarray, list[float]]:
        """Segment the object in each box ``[x0, y0, x1, y1]``, in pixels.

        Returns:
            Soft masks, float32 ``(N, H, W)`` in [0, 1], and SAM's estimates of their IoU.
        """
        return self._predict(photo, {"input_boxes": [[list(box) for box in boxes]]})

    @torch.no_grad()
    def _predict(self, photo: Image.Image, shown: dict[str, Any]) -> tuple[np.ndarray, list[float]]:
        inputs = self.processor(images=photo, return_tensors="pt", **shown).to(self.device)
        output = self.network(**inputs, multimask_output=False)
        size = (photo.height, photo.width)
        masks = self.processor.post_process_masks(output.pred_masks.cpu(), [size], binarize=False)[0]
        soft = masks.flatten(0, -3).float().sigmoid().numpy()  # one for each box
        return soft.astype(np.float32), output.iou_scores.flatten().tolist()

    def _segment(self, photo: Image.Image, prompts: Prompts | None) -> tuple[np.ndarray, float | None, str]:
        """Return a soft mask, SAM's estimate of its IoU, and the problem, if any."""
        size = (photo.height, photo.width)
        if prompts is None:
            return np.zeros(size, np.float32), None, "no box or point was given for it"
        shown: dict[str, Any] = {"input_boxes": [prompts.boxes]} if prompts.boxes else {}
        if not prompts.boxes:
            shown = {"input_points": [[prompts.points]], "input_labels": [[prompts.labels]]}
        soft, scores = self._predict(photo, shown)
        return soft.max(axis=0), sum(scores) / len(scores), ""

    @staticmethod
    def finish(job: tuple[np.ndarray, float | None, str]) -> FoundMask:
        """See ``MaskSource``."""
        soft, score, problem = job
        height, width = soft.shape
        if score is None:
            return no_object((height, width), problem)
        mask = soft > 0.5
        return rate_mask(mask.astype(np.float32), measure_mask(mask, agreement=agreement_of(soft, score), objects=1.0))


class Sam3Tracker(Sam2):
    """SAM 3, whose tracker takes boxes and points as SAM 2 does."""

    name = "sam3"
    kind = "Sam3Tracker"
    release = "5"
    way_out = (
        "a folder with its files as --model; on the hub, the weights of SAM 3 are for those who accepted its licence "
        "and logged in"
    )


def agreement_of(soft: np.ndarray, score: float) -> float:
    """Return how sure SAM is of a soft mask: the agreement of two thresholds, at most its own estimate of the IoU."""
    return min(threshold_agreement(soft), max(0.0, score))


def load_sam(model: str, prompts: dict[str, Prompts], *, device: torch.device | str = "cpu") -> Sam2:
    """Load SAM 2 or SAM 3, whichever a model is by its configuration; arguments as in ``Sam2``."""
    library = import_extra("transformers", "transformers")
    with readable_errors(f"transformers:{model}", Sam2.way_out):
        kind = str(library.PretrainedConfig.get_config_dict(model)[0].get("model_type"))
    if not kind.startswith(("sam2", "sam3")):
        raise UserError(f"expected a model of SAM 2 or SAM 3, {model} is {kind}: name {SAM}")
    return (Sam3Tracker if kind.startswith("sam3") else Sam2)(model, prompts, device=device)
