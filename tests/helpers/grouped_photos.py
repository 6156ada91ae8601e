"""Drawn photos of three classes from two places, in folders by site and as lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from helpers.drawn_photos import CLASSES, draw_photo

SITES = ("north", "south")


def write_sites(folder: Path, counts: dict[str, int], seed: int = 0) -> tuple[Path, Path]:
    """Write ``images/SITE/CLASS/NNN.png`` with masks, as many of each class as the count of the site."""
    rng = np.random.default_rng(seed)
    for site, count in counts.items():
        for label, name in enumerate(CLASSES):
            for kind in ("images", "masks"):
                (folder / kind / site / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                photo, mask = draw_photo(rng, label)
                photo.save(folder / "images" / site / name / f"{number:03d}.png")
                mask.save(folder / "masks" / site / name / f"{number:03d}.png")
    return folder / "images", folder / "masks"


def list_sites(folder: Path, column: str = "group") -> Path:
    """Write ``list.csv`` beside the images, with their sites in a column."""
    rows = [f"image,mask,label,{column}"]
    for path in sorted((folder / "images").rglob("*.png")):
        site, name = path.parts[-3:-1]
        inside = f"{site}/{name}/{path.name}"
        rows.append(f"images/{inside},masks/{inside},{name},{site}")
    (folder / "list.csv").write_text("\n".join(rows) + "\n")
    return folder / "list.csv"
