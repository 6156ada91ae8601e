"""Panels of image, mask and both models' relevance maps (the paper's Figure 2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from robustvit.common.errors import UserError
from robustvit.common.files import read_json, write_json
from robustvit.common.pictures import outline_mask
from robustvit.data.datasets import MaskedPhotos, SwappedPhotos, enlarge_input
from robustvit.data.photo import Photo
from robustvit.evaluation.photo_measures import PhotoMeasure
from robustvit.explanation.maps import overlay_relevance
from robustvit.models.classifier import Classifier

AnswerChange = Literal["corrected", "broken", "same"]


@dataclass(frozen=True)
class Panel:
    """Pictures of a photo, and their caption.

    Attributes:
        outcome: whether the prediction was ``corrected``, ``broken`` or stayed the ``same``.
        index: of the photo among those measured.
        donor: index of the photo whose background is used, or None for the original background.
        file: the photo with the outline of its mask, relative to the panels' folder; of an older version, a strip of
            photo, mask and both maps.
        caption: name and class of the photo; of an older version, the predictions too.
        before: prediction of the original, and the file of its map.
        after: prediction of the guided model, and the file of its map.
        total: number of answers with this outcome, of which a few are drawn.
        no_object: whether the photo shows no object.
    """

    outcome: AnswerChange
    index: int
    donor: int | None = None
    file: str = ""
    caption: str = ""
    before: tuple[str, str] | None = None
    after: tuple[str, str] | None = None
    total: int = 0
    no_object: bool = False


def choose_panels(before: Sequence[PhotoMeasure], after: Sequence[PhotoMeasure], count: int = 4) -> list[Panel]:
    """Choose up to ``count`` examples of each outcome: predictions corrected, broken, and the same.

    Original photos come before swapped backgrounds, no photo is shown twice, and the classes vary.
    """
    plain, swapped = [], []
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        if old.label is None:
            continue
        plain.append((old.label, Panel(_name_change(old.is_right(old), old.is_right(new)), index)))
        for a, b in zip(old.swapped, new.swapped, strict=True):
            if a.kind == "mixed-other":
                outcome = _name_change(old.is_right(a), old.is_right(b))
                swapped.append((old.label, Panel(outcome, index, a.donor)))
    outcomes: tuple[AnswerChange, ...] = ("corrected", "broken", "same")
    every = plain + swapped
    totals = Counter(panel.outcome for _, panel in every)
    return [replace(panel, total=totals[outcome]) for outcome in outcomes for panel in _vary(every, outcome, count)]


def _vary(candidates: Sequence[tuple[int, Panel]], outcome: AnswerChange, count: int) -> list[Panel]:
    """Choose up to ``count`` panels of one outcome: no photo twice, and no class twice before every class has one."""
    chosen: dict[int, tuple[int, Panel]] = {}
    for most_per_class in range(1, count + 1):
        for label, panel in candidates:
            shown = sum(other == label for other, _ in chosen.values())
            fits = panel.outcome == outcome and panel.index not in chosen and shown < most_per_class
            if fits and len(chosen) < count:
                chosen[panel.index] = (label, panel)
    return [panel for _, panel in chosen.values()]


def _name_change(was_right: bool, is_right: bool) -> AnswerChange:
    if was_right == is_right:
        return "same"
    return "corrected" if is_right else "broken"


def draw_panels(
    panels: Sequence[Panel],
    photos: MaskedPhotos,
    original: Classifier,
    guided: Classifier,
    folder: str | Path,
    method: str = "gae",
) -> list[Panel]:
    """Draw panels (the photo with its mask, relevance before and after) as JPEG files, and write ``panels.json``.

    Both models must be on the CPU; ``method`` is that of the relevance. Returns the panels with files and captions.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    large = MaskedPhotos(photos.photos, enlarge_input(photos.preprocessing), mask_format=photos.mask_format)
    drawn = []
    for number, panel in enumerate(panels):
        item, shown = _item(photos, panel), _item(large, panel)["image"]
        name = f"{number:02d}-{panel.outcome}"
        mask = F.interpolate(item["mask"][None], size=shown.shape[1:], mode="bilinear")[0]
        _save(outline_mask(shown, mask, max(shown.shape)), folder / f"{name}.jpg")
        sides = []
        for when, model in (("before", original), ("after", guided)):
            with torch.no_grad():
                said = model.probabilities(model(item["image"][None]))[0]
            _save(overlay_relevance(model, item["image"], shown, None, method), folder / f"{name}-{when}.jpg")
            sides.append((describe_answer(model, said), f"{name}-{when}.jpg"))
        panel = replace(panel, file=f"{name}.jpg", before=sides[0], after=sides[1], no_object=item["empty"])
        drawn.append(replace(panel, caption=_caption(photos.photos, panel, item, guided)))
    write_json([asdict(panel) for panel in drawn], folder / "panels.json")
    return drawn


def _caption(photos: Sequence[Photo], panel: Panel, item: dict[str, Any], model: Classifier) -> str:
    """Return name, classes and background of a photo."""
    labels = photos[panel.index].labels
    if labels is None:
        labels = () if item["label"] < 0 else (item["label"],)
    caption = f"{Path(photos[panel.index].image).name}: "
    caption += ", ".join(map(model.name_of, labels)) if labels else "no label"
    caption += ", no object" if item["empty"] else ""
    return caption if panel.donor is None else f"{caption}, on the background of {Path(photos[panel.donor].image).name}"


def describe_answer(model: Classifier, said: Tensor) -> str:
    """Name the most probable class of probabilities ``(C,)``; for a multi-label model all classes above one half."""
    order = said.argsort(descending=True).tolist()
    shown = [label for label in order if float(said[label]) > 0.5] if model.head_kind == "multi-label" else []
    return ", ".join(f"{model.name_of(label)} ({100 * float(said[label]):.0f} %)" for label in shown or order[:1])


def _item(photos: MaskedPhotos, panel: Panel) -> dict[str, Any]:
    return photos[panel.index] if panel.donor is None else SwappedPhotos(photos, [(panel.index, panel.donor)])[0]


def _save(pixels: np.ndarray, path: Path) -> None:
    Image.fromarray(pixels).save(path, quality=88)


def read_panels(folder: str | Path) -> list[Panel]:
    """Read the panels that ``draw_panels`` wrote; an empty list if it never ran."""
    path = Path(folder) / "panels.json"
    if not path.is_file():
        return []
    try:
        panels = [_read_panel(row) for row in read_json(path)]
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} is not a list of panels that robustvit wrote ({error}): run it again") from error
    for file in (file for panel in panels for file in files_of(panel)):
        picture = path.parent / str(file)
        if picture.name != file or picture.is_symlink() or not picture.is_file():
            raise UserError(f"{path} names {file!r}, which is not a picture in the same folder: run it again")
    return panels


def files_of(panel: Panel) -> list[str]:
    """Return the names of a panel's pictures."""
    return [panel.file, *(side[1] for side in (panel.before, panel.after) if side is not None)]


def _read_panel(row: dict[str, Any]) -> Panel:
    sides = {side: tuple(row[side]) for side in ("before", "after") if row.get(side) is not None}
    if any(len(side) != 2 for side in sides.values()):
        raise ValueError("before and after must be an answer and a file")
    return Panel(**row | sides)
