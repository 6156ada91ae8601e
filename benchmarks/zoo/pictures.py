"""The picture of docs/reference/zoo.md: what every relevance method says about one scene of the embedded benchmark.

    python -m benchmarks.zoo.pictures

The model is the one that comes with the package; nothing is downloaded.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from robustvit import load_model, relevance
from robustvit.common.pictures import figure_of_rows, overlay
from robustvit.data.embedded.scenes import BACKGROUNDS, CLASSES, make_scene
from robustvit.explanation.methods import RELEVANCE_METHODS

PICTURE = Path(__file__).parents[2] / "docs" / "reference" / "zoo.png"
LABEL, BACKGROUND, DRAW = 0, 4, 1  # a symbol on a background that goes with another one
ACROSS = 4


def tiles() -> list[tuple[str, np.ndarray]]:
    """The scene, its mask, and the map of every method for the class that is right."""
    scene = make_scene(LABEL, BACKGROUND, np.random.default_rng([11, DRAW]), part="test")
    with as_file(files("robustvit.data.embedded") / "model") as place:
        model = load_model(f"local-dir:{place}")
    image = torch.from_numpy(scene.image.copy()).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        said = CLASSES[int(model(image).argmax())]
    found = [
        (f"{CLASSES[LABEL]} on {BACKGROUNDS[BACKGROUND]}", scene.image),
        (f"mask (the model says {said})", scene.mask / 255),
    ]
    for name in RELEVANCE_METHODS:
        with torch.no_grad():
            found.append((name, overlay(image[0], relevance(model, image, torch.tensor([LABEL]), method=name)[0])))
    return found


def main() -> None:
    found = tiles()
    found += [("", np.ones((2, 2)))] * (-len(found) % ACROSS)
    figure_of_rows([found[start : start + ACROSS] for start in range(0, len(found), ACROSS)], PICTURE)
    drawn = Image.open(PICTURE).convert("RGB")  # 256 colours have half the bytes
    drawn.quantize(palette=drawn.quantize(256), dither=Image.Dither.FLOYDSTEINBERG).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
