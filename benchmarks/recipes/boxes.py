"""Boxes of drawn masks, and the masks that robustvit masks makes of them again: how much of the object is left?

    python -m benchmarks.recipes.boxes --data ../shared/data/voc-animals-large/train

For the study of recipes, whose first run writes base-photos:

    python -m benchmarks.recipes.boxes --data runs/recipes/base-photos/train --work runs/recipes/boxes --out runs
    python -m benchmarks.recipes.run --data DATA --weights FILE --masks-from ellipses runs/recipes/boxes/ellipses
    python -m benchmarks.recipes.run --data DATA --weights FILE --masks-from hardboxes runs/recipes/boxes/hardboxes \\
        --arms "swaps + relevance" energy

The data hold images/CLASS/ and masks/CLASS/. Writes a COCO file with the boxes of the connected parts of each mask
(without those that are much smaller than the largest), a folder of masks for each way to read it, and dated files with
their overlap with the drawn masks.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from benchmarks.dated import parser_of, write_dated
from robustvit import make_masks
from robustvit.common.files import write_json
from robustvit.common.intervals import mean_interval
from robustvit.common.provenance import versions
from robustvit.data.find_photos import find_photos
from robustvit.data.manifest import MaskRecord
from robustvit.data.mask_files import read_mask
from robustvit.masks.confidence import overlap

WAYS: dict[str, dict[str, Any]] = {
    "ellipses": {"boxes": "ellipse"},
    "hardellipses": {"boxes": "ellipse", "feather": 0.0},
    "boxes": {"boxes": "box"},
    "hardboxes": {"boxes": "box", "feather": 0.0},
}
SMALLEST = 0.1  # of the largest part: smaller ones are seldom an object of their own


def boxes_of(mask: np.ndarray) -> list[list[int]]:
    """Boxes ``[left, top, width, height]`` of the connected parts of a mask ``(H, W)`` bool, as COCO has them."""
    parts, _ = ndimage.label(mask)
    sizes = np.bincount(parts.ravel())[1:]
    found = []
    for place, size in zip(ndimage.find_objects(parts), sizes, strict=True):
        if size >= SMALLEST * sizes.max():
            rows, columns = place
            found.append([columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start])
    return found


def as_coco(data: Path) -> dict[str, list[dict[str, Any]]]:
    """The boxes of all drawn masks."""
    photos = find_photos(data / "images", data / "masks")
    names = sorted({str(photo.class_name) for photo in photos})
    content: dict[str, list[dict[str, Any]]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names)],
    }
    for number, photo in enumerate(photos):
        assert photo.mask is not None
        mask = read_mask(photo.mask) > 0.5
        place = photo.image.relative_to(data / "images").as_posix()
        content["images"].append({"id": number, "file_name": place, "height": mask.shape[0], "width": mask.shape[1]})
        for box in boxes_of(mask):
            entry = {"id": len(content["annotations"]), "image_id": number, "bbox": box}
            content["annotations"].append(entry | {"category_id": names.index(str(photo.class_name))})
    return content


def overlaps(records: list[MaskRecord], data: Path) -> dict[str, float]:
    """IoU with drawn masks, the share of a mask's weight on the object, and the share of the object that it covers."""
    drawn_masks = {photo.image.resolve(): photo.mask for photo in find_photos(data / "images", data / "masks")}
    ious, inside, covered = [], [], []
    for record in records:
        mask = drawn_masks[record.image.resolve()]
        if record.mask is None or mask is None:  # the box is the whole photo
            continue
        drawn, made = read_mask(mask) > 0.5, read_mask(record.mask)
        ious.append(overlap(made > 0.5, drawn))
        inside.append(float(made[drawn].sum() / made.sum()))
        covered.append(float(made[drawn].mean()))
    interval = mean_interval(ious)
    return {
        "photos": len(ious), "iou": interval.mean, "iou_low": interval.low, "iou_high": interval.high,
        "inside": float(np.mean(inside)), "covered": float(np.mean(covered)),
    }  # fmt: skip


def as_markdown(record: dict[str, Any]) -> str:
    """The record as a table."""
    lines = [
        f"# Boxes of drawn masks, {record['date']}", "", f"`{record['command']}`", "", record["about"], "",
        "| masks | photos | IoU | share on the object | share of the object |", "|---|---|---|---|---|",
    ]  # fmt: skip
    lines += [
        f"| {name} | {one['photos']} | {one['iou']:.3f} [{one['iou_low']:.3f}, {one['iou_high']:.3f}] | "
        f"{one['inside']:.3f} | {one['covered']:.3f} |"
        for name, one in record["ways"].items()
    ]
    said = ", ".join(f"{name} {value}" for name, value in record["versions"].items())
    return "\n".join([*lines, "", f"Versions: {said}", ""])


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with images and masks by class")
    parser.add_argument("--work", type=Path, default=Path("runs/recipes/boxes"))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    source, content = args.work / "boxes.json", as_coco(args.data)
    write_json(content, source)
    ways = {}
    for name, options in WAYS.items():
        images = str(args.data / "images")
        made = make_masks(str(source), out=str(args.work / name), from_="coco", images=images, **options)
        print(made)
        ways[name] = overlaps(made.records, args.data)
    record = {
        "date": date.today().isoformat(),
        "command": "python -m benchmarks.recipes.boxes --data voc-animals-large/train",
        "about": f"{len(content['images'])} photos of animals with {len(content['annotations'])} boxes, one for each "
        "connected part of a drawn mask that has at least a tenth of the largest part's pixels. IoU is that of the "
        "masks above one half, with 95 % intervals over photos; the shares count soft values in part.",
        "ways": ways,
        "versions": versions(),
    }
    write_dated("boxes", record, as_markdown(record), args.out)


if __name__ == "__main__":
    main()
