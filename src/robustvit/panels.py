"""Pictures: relevance laid over photos, and panels of image, mask and both models' maps (the paper's Figure 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from robustvit.classifier import Classifier
from robustvit.data.batches import MaskedPhotos, SwappedPhotos
from robustvit.errors import UserError
from robustvit.files import read_json, write_json
from robustvit.measurement import PhotoMeasure
from robustvit.relevance_maps import relevance

__all__ = ["Panel", "choose_panels", "draw_panels", "figure_of", "figure_of_rows", "overlay", "read_panels"]

Outcome = Literal["corrected", "broken", "same"]


@dataclass(frozen=True)
class Panel:
    """One row of pictures and what it shows.

    Attributes:
        outcome: whether the prediction was ``corrected``, ``broken`` or stayed the ``same``.
        index: the photo's place among those measured.
        donor: the photo that lends its background, or None for the photo as it is.
        file: the picture, relative to the panels' folder.
        caption: names and probabilities in words.
    """

    outcome: Outcome
    index: int
    donor: int | None = None
    file: str = ""
    caption: str = ""


def overlay(image: Tensor, relevance_map: Tensor, opacity: float = 0.55) -> np.ndarray:
    """Lay a relevance map over an image as a heat map.

    Args:
        image: ``(3, H, W)`` in [0, 1].
        relevance_map: ``(1, H, W)`` in [0, 1].
        opacity: of the colours, 0 to 1.

    Returns:
        uint8 ``(H, W, 3)``.
    """
    colours = matplotlib.colormaps["inferno"](relevance_map[0].detach().cpu().numpy())[..., :3]
    photo = image.detach().cpu().permute(1, 2, 0).numpy()
    return (255 * ((1 - opacity) * photo + opacity * colours)).round().clip(0, 255).astype(np.uint8)


def figure_of(pictures: Sequence[tuple[str, np.ndarray]], path: str | Path) -> None:
    """Write titled pictures, uint8 or [0, 1] arrays, side by side as one PNG."""
    figure_of_rows([pictures], path)


def figure_of_rows(rows: Sequence[Sequence[tuple[str, np.ndarray]]], path: str | Path) -> None:
    """Write rows of titled pictures, as many in each, as one PNG; pictures as in ``figure_of``."""
    across = len(rows[0])
    figure = Figure(figsize=(2.4 * across, 2.75 * len(rows)), dpi=110, layout="constrained")
    grid = figure.subplots(len(rows), across, squeeze=False, subplot_kw={"xticks": [], "yticks": []})  # half the time
    for axes, pictures in zip(grid, rows, strict=True):
        for axis, (title, picture) in zip(axes, pictures, strict=True):
            axis.imshow(picture, cmap="gray", vmin=0, vmax=1 if picture.ndim == 2 else None)
            axis.set_title(title, fontsize=9, parse_math=False)
            axis.set_axis_off()
    figure.savefig(path)


def choose_panels(before: Sequence[PhotoMeasure], after: Sequence[PhotoMeasure], count: int = 4) -> list[Panel]:
    """Choose up to ``count`` examples of each outcome: predictions corrected, broken, and the same.

    Photos as they are come before swapped backgrounds, no photo comes twice, and the classes vary.
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
    return [panel for outcome in outcomes for panel in _varied(plain + swapped, outcome, count)]


def _varied(candidates: Sequence[tuple[int, Panel]], outcome: Outcome, count: int) -> list[Panel]:
    """Up to ``count`` panels of one outcome, no photo twice, and no class twice before every class had its turn."""
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
    """Read what ``draw_panels`` wrote; none where it never ran.

    Raises:
        UserError: it is no such file, or names pictures outside the folder.
    """
    path = Path(folder) / "panels.json"
    if not path.is_file():
        return []
    try:
        panels = [Panel(**row) for row in read_json(path)]
    except TypeError as error:
        raise UserError(f"{path} is no list of panels of ours ({error}): make the run again") from error
    for panel in panels:
        place = path.parent / str(panel.file)
        if place.name != panel.file or place.is_symlink() or not place.is_file():
            raise UserError(f"{path} names {panel.file!r}, which is no picture beside it: make the run again")
    return panels
