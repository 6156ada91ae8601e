"""Panels of image, mask and both models' relevance maps (the paper's Figure 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch

from robustvit.common.errors import UserError
from robustvit.common.files import read_json, write_json
from robustvit.common.pictures import figure_of, overlay
from robustvit.data.datasets import MaskedPhotos, SwappedPhotos
from robustvit.evaluation.measure import PhotoMeasure
from robustvit.explanation.maps import relevance
from robustvit.models.classifier import Classifier

Outcome = Literal["corrected", "broken", "same"]


@dataclass(frozen=True)
class Panel:
    """A row of pictures and what it shows.

    Attributes:
        outcome: whether the prediction was ``corrected``, ``broken`` or stayed the ``same``.
        index: of the photo among those measured.
        donor: index of the photo whose background is used, or None for the original background.
        file: the picture, relative to the panels' folder.
        caption: predicted classes and their probabilities.
    """

    outcome: Outcome
    index: int
    donor: int | None = None
    file: str = ""
    caption: str = ""


def choose_panels(before: Sequence[PhotoMeasure], after: Sequence[PhotoMeasure], count: int = 4) -> list[Panel]:
    """Choose up to ``count`` examples of each outcome: predictions corrected, broken, and the same.

    Original photos come before swapped backgrounds, no photo is shown twice, and the classes vary.
    """
    plain, swapped = [], []
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        if old.label is None:
            continue
        plain.append((old.label, Panel(_outcome(old.predicted, new.predicted, old.label), index)))
        for a, b in zip(old.swapped, new.swapped, strict=True):
            if a.kind == "mixed-other":
                outcome = _outcome(a.predicted, b.predicted, old.label)
                swapped.append((old.label, Panel(outcome, index, a.donor)))
    outcomes: tuple[Outcome, ...] = ("corrected", "broken", "same")
    return [panel for outcome in outcomes for panel in _vary(plain + swapped, outcome, count)]


def _vary(candidates: Sequence[tuple[int, Panel]], outcome: Outcome, count: int) -> list[Panel]:
    """Choose up to ``count`` panels of one outcome: no photo twice, and no class twice before every class has one."""
    chosen: dict[int, tuple[int, Panel]] = {}
    for most_per_class in range(1, count + 1):
        for label, panel in candidates:
            shown = sum(other == label for other, _ in chosen.values())
            fits = panel.outcome == outcome and panel.index not in chosen and shown < most_per_class
            if fits and len(chosen) < count:
                chosen[panel.index] = (label, panel)
    return [panel for _, panel in chosen.values()]


def _outcome(old: int, new: int, label: int) -> Outcome:
    if old != label and new == label:
        return "corrected"
    return "broken" if old == label and new != label else "same"


def draw_panels(
    panels: Sequence[Panel],
    photos: MaskedPhotos,
    original: Classifier,
    guided: Classifier,
    folder: str | Path,
    method: str = "gae",
) -> list[Panel]:
    """Draw panels (image, mask, relevance before and after) as PNG files, with ``panels.json`` beside them.

    Both models must be on the CPU; ``method`` is that of the relevance. Returns the panels with files and captions.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for number, panel in enumerate(panels):
        item = photos[panel.index] if panel.donor is None else SwappedPhotos(photos, [(panel.index, panel.donor)])[0]
        image, mask, label = item["image"], item["mask"], item["label"]
        pictures = [("image" if panel.donor is None else "image, other background", image.permute(1, 2, 0).numpy())]
        pictures.append(("mask", mask[0].numpy()))
        words = []
        for when, model in (("before", original), ("after", guided)):
            with torch.no_grad():
                said = model(image[None]).softmax(dim=1)[0]
                found = relevance(model, image[None], method=method)[0]
            best = int(said.argmax())
            words.append(f"{when}: {model.name_of(best)} ({100 * float(said[best]):.0f} %)")
            pictures.append((words[-1], overlay(image, found)))
        file = f"{number:02d}-{panel.outcome}.png"
        figure_of(pictures, folder / file)
        caption = f"{guided.name_of(label) if label >= 0 else 'no label'}. " + ", ".join(words)
        drawn.append(Panel(panel.outcome, panel.index, panel.donor, file, caption))
    write_json([asdict(panel) for panel in drawn], folder / "panels.json")
    return drawn


def read_panels(folder: str | Path) -> list[Panel]:
    """Read the panels that ``draw_panels`` wrote; an empty list if it never ran."""
    path = Path(folder) / "panels.json"
    if not path.is_file():
        return []
    try:
        panels = [Panel(**row) for row in read_json(path)]
    except TypeError as error:
        raise UserError(f"{path} is not a list of panels that robustvit wrote ({error}): run it again") from error
    for panel in panels:
        picture = path.parent / str(panel.file)
        if picture.name != panel.file or picture.is_symlink() or not picture.is_file():
            raise UserError(f"{path} names {panel.file!r}, which is not a picture in the same folder: run it again")
    return panels
