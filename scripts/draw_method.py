"""Draw the two figures of docs/explanation/how-it-works.md: what the loss penalizes, and a guided step.

    robustvit demo --out runs/demo
    python scripts/draw_method.py --run runs/demo/run --scenes runs/demo/data/test

They use the embedded benchmark, so that anyone can reproduce them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from torch import Tensor

from robustvit import load_model, relevance
from robustvit.common.pictures import figure_of_rows, overlay
from robustvit.data.datasets import MaskedPhotos
from robustvit.data.find_photos import find_photos
from robustvit.models.baseline import load_original
from robustvit.models.classifier import Classifier

DOCS = Path(__file__).parent.parent / "docs"
EVERY, QUANTILES = 4, (0.9, 0.5, 0.1)  # of the scenes, by how much more of the relevance lies on the object
WHITE, BLUE, YELLOW, RED = "#ffffff", "#dbe9f9", "#fdf0cd", "#f9dede"

# Name, centre, size, colour: coordinates in inches
BOXES = {
    "photo": ("photo", (0.7, 2.65), (0.9, 0.6), WHITE),
    "vit": ("vision transformer,\nattention $A$ of each block recorded", (3.0, 2.65), (2.6, 0.7), BLUE),
    "logits": ("logits", (5.6, 2.65), (0.9, 0.6), WHITE),
    "confidence": ("keep the model's own\nanswer: cross-entropy (4)", (7.9, 2.65), (2.1, 0.7), RED),
    "map": (
        "relevance map $R$\n$\\bar A = $ mean$_h(\\nabla A \\odot A)^+$\n$R \\leftarrow R + \\bar A R$",
        (1.9, 1.5),
        (2.3, 0.9),
        YELLOW,
    ),
    "gradient": (
        "first backward pass, without weights:\n$\\nabla A = \\partial\\,$logit$_t\\,/\\,\\partial A$",
        (5.1, 1.5),
        (2.9, 0.7),
        BLUE,
    ),
    "mask": ("mask $S$", (0.7, 0.4), (0.9, 0.6), WHITE),
    "relevance loss": (
        "$2\\,\\|R\\,(1-S)\\|^2 + 0.3\\,\\|S - R\\,S\\|^2$\nbackground (1), foreground (2)",
        (3.0, 0.4),
        (2.8, 0.7),
        RED,
    ),
    "loss": (
        "$L = 0.8\\,L_{rel} + 0.2\\,L_{cls}$\nsecond backward pass, to the weights",
        (7.5, 0.4),
        (2.9, 0.7),
        YELLOW,
    ),
}
ARROWS = [
    ("photo", "vit"), ("vit", "logits"), ("logits", "gradient"), ("gradient", "map"), ("vit", "map"),
    ("map", "relevance loss"), ("mask", "relevance loss"), ("logits", "confidence"), ("relevance loss", "loss"),
    ("confidence", "loss"),
]  # fmt: skip


def draw_losses(run: Path, scenes: Path, path: Path) -> None:
    """Draw photo, mask, map, what equations 1 and 2 penalize, and the guided map, for scenes that gained and lost."""
    original, guided = load_original(run), load_model(str(run))
    photos = MaskedPhotos(find_photos(scenes / "images", scenes / "masks")[::EVERY], guided.preprocessing)
    drawn = [_maps(original, guided, item["image"], item["mask"]) for item in photos]
    drawn.sort(key=lambda found: found[0], reverse=True)
    chosen = [drawn[round((1 - quantile) * (len(drawn) - 1))] for quantile in QUANTILES]
    for gain, rows in chosen:
        print(f"{100 * gain:+.1f} points of the relevance on the object", rows[0][0])
    figure_of_rows([row for _, row in chosen], path)


def _maps(
    original: Classifier, guided: Classifier, image: Tensor, mask: Tensor
) -> tuple[float, list[tuple[str, np.ndarray]]]:
    """Return the gain of relevance on the object, and the pictures of a scene."""
    with torch.no_grad():
        before, after = relevance(original, image[None])[0], relevance(guided, image[None])[0]
    old, new = ((found * mask).sum() / found.sum() for found in (before, after))
    return float(new - old), [
        ("photo", image.permute(1, 2, 0).numpy()),
        ("mask S", mask[0].numpy()),
        (f"relevance R before, {100 * float(old):.0f} % on it", overlay(image, before)),
        ("(1): R (1 − S), squared", (before * (1 - mask))[0].square().numpy()),
        ("(2): S − R S, squared", (mask - before * mask)[0].square().numpy()),
        (f"relevance after, {100 * float(new):.0f} % on it", overlay(image, after)),
    ]


def _edge(centre: tuple[float, float], size: tuple[float, float], towards: tuple[float, float]) -> np.ndarray:
    """Return where the line from the centre of a box to a point leaves the box."""
    step = np.subtract(towards, centre)
    reach = min(half / abs(s) if s else np.inf for half, s in zip(np.divide(size, 2), step, strict=True))
    return np.add(centre, step * reach)


def draw_step(path: Path) -> None:
    """Draw boxes and arrows of a guided step."""
    figure = Figure(figsize=(9.2, 3.2), dpi=130)
    axis = figure.add_axes((0, 0, 1, 1), xlim=(0, 9.2), ylim=(0, 3.2))
    axis.set_axis_off()
    for text, centre, size, colour in BOXES.values():
        corner = np.subtract(centre, np.divide(size, 2))
        rounded = "round,pad=0,rounding_size=0.08"
        box = FancyBboxPatch(corner, *size, boxstyle=rounded, facecolor=colour, edgecolor="#555")
        axis.add_patch(box)
        axis.text(*centre, text, ha="center", va="center", fontsize=9)
    for start, end in ARROWS:
        (_, a, a_size, _), (_, b, b_size, _) = BOXES[start], BOXES[end]
        ends = _edge(a, a_size, b), _edge(b, b_size, a)
        axis.add_patch(FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=11, color="#333", shrinkA=1, shrinkB=1))
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a finished run on the embedded benchmark")
    parser.add_argument("--scenes", type=Path, required=True, help="its test scenes: folder with images/ and masks/")
    parser.add_argument("--out", type=Path, default=DOCS)
    args = parser.parse_args()
    draw_losses(args.run, args.scenes, args.out / "method-losses.jpg")
    draw_step(args.out / "method-step.png")


if __name__ == "__main__":
    main()
