"""What the scores of the segmentation test cost, against one scikit-learn call per image.

    pip install scikit-learn
    python -m benchmarks.speed.segmentation_speed [--images 64] [--repeats 9] [--out FOLDER]

The plain scores are ``sklearn.metrics.average_precision_score`` over both channels of one image after the other, and
pixel accuracy and IoU in NumPy. Beside them stands torchmetrics' ``binary_average_precision`` image by image. All are
given the same maps in one process, by turns; the ratios are those of the medians, by the clock and of the time that
processors worked (which other work on the machine disturbs less). Our scores are shared among torch's threads;
``OMP_NUM_THREADS=1`` compares on one. Writes dated files.
"""

from __future__ import annotations

import os
import platform
import sys
from datetime import date
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torchmetrics.functional.classification import binary_average_precision

from benchmarks.dated import command_words, parser_of, time_by_turns, write_dated
from robustvit.common.provenance import versions
from robustvit.evaluation.on_sets.segmentation_scores import map_average_precision, pixel_counts
from robustvit.explanation.maps import image_map

SIZE, GRID = 224, 14
Scores = tuple[float, float, float]


def examples(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Maps as models give them (relevance of 14 x 14 patches, upsampled) and masks that go with them."""
    generator = torch.Generator().manual_seed(0)
    grids = torch.rand(count, GRID, GRID, generator=generator) ** 4
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    centres = torch.randint(60, 164, (count, 2, 1, 1), generator=generator)
    masks = ((rows - centres[:, 0]) ** 2 + (columns - centres[:, 1]) ** 2 < 50**2)[:, None]
    inside = torch.nn.functional.avg_pool2d(masks.float(), SIZE // GRID)[:, 0]
    return image_map(grids + 0.3 * inside, (SIZE, SIZE)), masks


def ours(maps: torch.Tensor, masks: torch.Tensor) -> Scores:
    """As ``segmentation_test`` does it, without the intervals."""
    right, false, away, missed = pixel_counts(maps, masks).sum(axis=0)
    ious = right / (right + false + missed), away / (away + false + missed)
    return (
        (right + away) / (right + false + away + missed),
        sum(ious) / 2,
        float(map_average_precision(maps, masks).mean()),
    )


def plain(maps: torch.Tensor, masks: torch.Tensor) -> Scores:
    """Image by image, with scikit-learn and NumPy."""
    counts, precisions = np.zeros(4), []
    for values, inside in zip(maps[:, 0].numpy(), masks[:, 0].numpy(), strict=True):
        cut = values > values.mean(dtype=np.float64)
        counts += [(cut & inside).sum(), (cut & ~inside).sum(), (~cut & ~inside).sum(), (~cut & inside).sum()]
        labels = np.stack([~inside, inside]).astype(np.int64)
        precisions.append(average_precision_score(labels.ravel(), np.stack([1 - values, values]).ravel()))
    right, false, away, missed = counts
    ious = right / (right + false + missed), away / (away + false + missed)
    return (right + away) / counts.sum(), sum(ious) / 2, float(np.mean(precisions))


def torchmetrics_alone(maps: torch.Tensor, masks: torch.Tensor) -> float:
    """The average precision image by image with torchmetrics."""
    scores, labels = torch.cat([1 - maps, maps], dim=1), torch.cat([~masks, masks], dim=1).int()
    pairs = zip(scores.flatten(1), labels.flatten(1), strict=True)
    return float(torch.stack([binary_average_precision(*pair, validate_args=False) for pair in pairs]).mean())


def main() -> None:
    """Check that all give the same, time them, write the record."""
    parser = parser_of(__doc__)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    maps, masks = examples(args.images)
    found, expected = ours(maps, masks), plain(maps, masks)
    if np.abs(np.subtract(found, expected)).max() > 1e-9 or abs(torchmetrics_alone(maps, masks) - found[2]) > 1e-5:
        sys.exit("the scores differ: no use in comparing times")
    calls = {
        "ours, all three scores": ours,
        "scikit-learn and NumPy, all three scores": plain,
        "torchmetrics, mAP alone": torchmetrics_alone,
    }
    seconds = time_by_turns([lambda call=call: call(maps, masks) for call in calls.values()], args.repeats)
    rows = [
        {
            "what": name,
            "milliseconds_an_image": 1000 * clock / args.images,
            "of_ours": clock / seconds[0][0],
            "processor_milliseconds_an_image": 1000 * worked / args.images,
            "processor_of_ours": worked / seconds[0][1],
        }
        for name, (clock, worked) in zip(calls, seconds, strict=True)
    ]
    machine = f"{platform.machine()}, {os.cpu_count()} processors, {torch.get_num_threads()} threads"
    record = {"date": str(date.today()), "command": command_words(), "machine": machine, "images": args.images}
    record |= {"versions": versions() | {"scikit-learn": version("scikit-learn")}, "rows": rows}
    write_dated("segmentation_speed", record, as_markdown(record), args.out)


def as_markdown(record: dict[str, Any]) -> str:
    """Return the page of a record."""
    lines = [f"# Cost of the segmentation test's scores, {record['date']}", ""]
    about = f"{record['images']} maps of {SIZE} x {SIZE}, by turns in one process"
    lines += [f"`{' '.join(record['command'])}` on {record['machine']}: {about}", ""]
    lines += ["| what | milliseconds an image | times ours | of processors | times ours |", "|---|---|---|---|---|"]
    lines += [
        f"| {r['what']} | {r['milliseconds_an_image']:.2f} | {r['of_ours']:.1f} "
        f"| {r['processor_milliseconds_an_image']:.2f} | {r['processor_of_ours']:.1f} |"
        for r in record["rows"]
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
