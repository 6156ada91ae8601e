"""How much of a model's reliance on the background does an audit still show with masks that are not right?

    python -m benchmarks.study.audit_masks

The model of the embedded benchmark does look at the background. Its cost of a wrong background is measured on scenes
with their exact masks, and with masks that are grown, shrunk or moved: parts of the object then count as background, or
the background comes along with the object. Found masks have errors of all three kinds.
"""

from __future__ import annotations

import platform
import tempfile
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion

from benchmarks.dated import parser_of, write_dated
from robustvit.audits.measures import audit_photos
from robustvit.audits.summary import means
from robustvit.common.provenance import versions
from robustvit.data.cached_photos import CachedPhotos
from robustvit.data.class_matching import match_labels
from robustvit.data.embedded.scenes import write_split
from robustvit.data.find_photos import find_photos
from robustvit.evaluation.measuring import MeasureSettings
from robustvit.masks.confidence import overlap
from robustvit.models.load import load_model

STEPS = {"grown": (2, 4, 7, 11), "shrunk": (1, 2, 4, 6), "moved": (3, 6, 10, 16)}  # pixels of 112


def changed(mask: np.ndarray, kind: str, pixels: int) -> np.ndarray:
    """Return a mask ``(H, W)`` bool that is wrong by some pixels; an object that would be lost stays."""
    if kind == "grown":
        return binary_dilation(mask, iterations=pixels)
    if kind == "shrunk":
        smaller = binary_erosion(mask, iterations=pixels)
        return smaller if smaller.any() else mask
    moved = np.roll(mask, (pixels, pixels), axis=(0, 1))
    moved[:pixels] = moved[:, :pixels] = False
    return moved if moved.any() else mask


def measure(folder: Path, masks: Path, model: Any, seed: int) -> dict[str, Any]:
    """Return cost and relevance inside the masks of a folder."""
    photos = match_labels(find_photos(folder / "images", masks), model.num_classes, model.class_names)
    held = CachedPhotos(photos, model.preprocessing)
    found = means(audit_photos(model, held, MeasureSettings(seed=seed), tries=1, variants=()))
    return {name: vars(found[name]) for name in ("cost", "mixed-other", "energy")}


def write_wrong(masks: Path, folder: Path, kind: str, pixels: int) -> float:
    """Write masks that are wrong by some pixels; return their mean overlap with the exact ones."""
    overlaps = []
    for path in sorted(masks.rglob("*.png")):
        exact = np.asarray(Image.open(path)) > 127
        mask = changed(exact, kind, pixels)
        overlaps.append(overlap(exact, mask))
        target = folder / path.relative_to(masks)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(target)
    return float(np.mean(overlaps))


def main() -> None:
    """Measure with exact and with wrong masks, and write both files."""
    parser = parser_of(__doc__)
    parser.add_argument("--scenes", type=int, default=8, help="of each class")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, as_file(files("robustvit.data.embedded") / "model") as place:
        folder, model = Path(temporary), load_model(f"local-dir:{place}")
        write_split(folder, given.scenes, seed=given.seed, part="test", correlation=0.5)
        rows = [{"masks": "exact", "iou": 1.0, **measure(folder, folder / "masks", model, given.seed)}]
        for kind, steps in STEPS.items():
            for pixels in steps:
                wrong = folder / f"{kind}-{pixels}"
                iou = write_wrong(folder / "masks", wrong, kind, pixels)
                one = measure(folder, wrong, model, given.seed)
                rows.append({"masks": f"{kind} by {pixels} pixels", "iou": iou, **one})
    whole = rows[0]["cost"]["mean"]
    for row in rows:
        row["share_of_cost"] = row["cost"]["mean"] / whole
    lines = [
        f"| {row['masks']} | {row['iou']:.2f} | {100 * row['cost']['mean']:.1f} [{100 * row['cost']['low']:.1f}, "
        f"{100 * row['cost']['high']:.1f}] | {100 * row['share_of_cost']:.0f} | {100 * row['energy']['mean']:.1f} |"
        for row in rows
    ]
    head = "| masks | IoU with exact ones | cost of a wrong background, points | % of the cost | relevance inside, % |"
    table = "\n".join([head, "|---|---:|---:|---:|---:|", *lines])
    command = f"python -m benchmarks.study.audit_masks --scenes {given.scenes} --seed {given.seed}"
    text = f"# An audit with masks that are not right\n\n`{command}`, the embedded model and scenes.\n\n{table}\n"
    machine = f"{platform.machine()}, {platform.system()}"
    write_dated("audit_masks", {"command": command, "versions": versions(), "machine": machine, "rows": rows}, text,
                given.out)  # fmt: skip


if __name__ == "__main__":
    main()
