"""Real photos: does guidance with few masks make a pretrained ViT-S look less at the background?

    python -m benchmarks.study.real_photos --data ../shared/data/voc-animals --weights vit_s.safetensors
    python -m benchmarks.study.real_photos ... --masks MASKS --arm made      (and again with --arm human)

DATA holds train/ and test/, each with images/CLASS/ and masks/CLASS/; WEIGHTS is a timm state dict of
vit_small_patch14_dinov2 without a head. For each seed

1. a base model is finetuned on the training photos in the ordinary way (cross-entropy, new head, no masks),
2. ``robustvit.finetune`` guides it with one of RECIPES on masked photos out of the same training photos,
3. ``robustvit.evaluate`` measures both on the test photos, SWAPS backgrounds a photo and kind, the same for all.

With ``--masks``, a folder that ``robustvit masks`` wrote for the training photos, guidance uses those masks
(``made``) or people's masks of the same photos (``human``), so that the two can be compared.

Each photo's values are averaged over its swaps and over the seeds; the intervals are paired bootstraps over photos.
Finished parts stay in --work and are reused, so seeds can be spread over processes (--only 0 & --only 1 & …) and
pooled by a last call without --only. On one core a seed takes about half an hour.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import torch

from benchmarks.dated import command_words, parser_of
from benchmarks.study.photo_base import ARCHITECTURE, BASE_BATCH, BASE_EPOCHS, BASE_RATES, preprocessing, train_base
from robustvit import evaluate, finetune
from robustvit.common.intervals import mean_interval, paired_difference
from robustvit.common.provenance import versions
from robustvit.data.find_photos import find_photos
from robustvit.data.mask_filter import MaskFilter
from robustvit.evaluation.measured_intervals import is_accuracy
from robustvit.evaluation.photo_measures import MEASURES

SIZE = 154
_SAME: dict[str, Any] = {"samples_per_class": 24, "epochs": 2}  # finetune holds six of the 30 photos of a class out
_LABELS = {"target": "label", "classification": "label", "classification_weight": 1.0, "lr": 3e-6}
RECIPES: dict[str, dict[str, Any]] = {
    "second-order": {**_SAME, **_LABELS, "second_order": True},
    "control": {**_SAME, **_LABELS, "relevance_weight": 0.0},  # the same steps without guidance
    "attention": {**_SAME, "train": "attention", "lr": 1e-4},
}
KEPT = "last"


def measured(model: Path, data: Path, swaps: int, out: Path) -> list[dict]:
    """Measures of every test photo, by the package; read again where they were made before."""
    if not out.is_file():
        images, masks = str(data / "test" / "images"), str(data / "test" / "masks")
        evaluate(model=str(model), images=images, masks=masks, swaps=swaps, seed=0, out=str(out))
    return json.loads(out.read_text(encoding="utf-8"))["photos"]


def guidance_photos(args: argparse.Namespace) -> dict[str, str]:
    """Where the photos and masks to guide with are."""
    images, drawn = args.data / "train" / "images", args.data / "train" / "masks"
    if args.masks is None or args.arm == "made":
        return {"images": str(images), "masks": str(args.masks or drawn)}
    listed = args.work / "human.csv"
    used = find_photos(images, args.masks, keep=MaskFilter(images, args.masks))
    by_hand = {photo.image: photo.mask for photo in find_photos(images, drawn)}
    with listed.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "mask", "label"])
        writer.writerows([p.image.resolve(), by_hand[p.image].resolve(), p.class_name] for p in used)
    return {"images": str(listed)}


def arm(args: argparse.Namespace, whose: str | None = None) -> str:
    """Name of what is compared: the recipe, and the kind of masks where there are two."""
    return args.recipe if args.masks is None else f"{args.recipe}-{whose or args.arm}-masks"


def run_seed(args: argparse.Namespace, seed: int) -> tuple[list[dict], list[dict]]:
    """Base model, guidance, and the test photos before and after."""
    base, run = args.work / f"base-{seed}", args.work / f"{arm(args)}-{seed}"
    if not (base / "config.json").is_file():
        train_base(args.data, args.weights, seed, base, SIZE)
    if not (run / "verdict.json").is_file():
        finetune(
            model=str(base),
            out=str(run),
            seed=seed,
            swaps=0,  # the test photos are measured below; validation photos only choose the epoch
            panels=0,
            tracker="none",
            resume=(run / "config.yaml").is_file(),
            **guidance_photos(args),
            recipe="paper",
            **RECIPES[args.recipe],
        )
    before = measured(base, args.data, args.swaps, args.work / f"before-{seed}-{args.swaps}.json")
    return before, measured(run / KEPT, args.data, args.swaps, args.work / f"{arm(args)}-{seed}-{args.swaps}.json")


def mean_over_seeds(runs: list[list[dict]], measure: str) -> list[float]:
    """One value per photo; photos that the measure does not apply to (cut off by the crop, say) are left out."""
    photos = zip(*([photo["values"] for photo in run] for run in runs), strict=True)
    return [sum(v[measure] for v in values) / len(values) for values in photos if all(measure in v for v in values)]


def compared(before: list[list[dict]], after: list[list[dict]]) -> dict[str, dict]:
    """Both models and their paired difference, in points, with 95 % intervals over photos."""
    found = {}
    for measure in MEASURES:
        old, new = mean_over_seeds(before, measure), mean_over_seeds(after, measure)
        shares = is_accuracy(measure)
        parts = {"before": mean_interval(old, shares=shares), "after": mean_interval(new, shares=shares),
                 "difference": paired_difference(old, new, shares=shares)}  # fmt: skip
        found[measure] = {
            side: {"mean": 100 * i.mean, "low": 100 * i.low, "high": 100 * i.high, "photos": i.count}
            for side, i in parts.items()
        }
    return found


def measure_mask(photos: list[dict]) -> dict[str, float]:
    """Plain means of one run, in points."""
    values = {measure: [p["values"][measure] for p in photos if measure in p["values"]] for measure in MEASURES}
    return {measure: round(100 * sum(found) / len(found), 2) for measure, found in values.items()}


def record_of(
    args: argparse.Namespace, runs: dict[int, tuple[list[dict], list[dict]]], seconds: float
) -> dict[str, Any]:
    """Return the record of the runs of all seeds, pooled."""
    before, after = ([pair[side] for pair in runs.values()] for side in (0, 1))
    record = {
        "date": str(date.today()),
        "command": command_words(),
        "versions": versions(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "seconds_of_this_call": round(seconds),
        "architecture": ARCHITECTURE,
        "preprocessing": asdict(preprocessing(SIZE)),
        "base": {"epochs": BASE_EPOCHS, "batch_size": BASE_BATCH, "rates": BASE_RATES},
        "recipe": {"name": args.recipe, **RECIPES[args.recipe]},
        "masks": "human, all photos" if args.masks is None else f"{args.arm}, photos with a good TokenCut mask",
        "kept": KEPT,
        "swaps": args.swaps,
        "test_photos": len(before[0]),
        "per_seed": {
            seed: {"before": measure_mask(b), "after": measure_mask(a), "paired": compared([b], [a])}
            for seed, (b, a) in runs.items()
        },
        "pooled": compared(before, after),
    }
    if args.against:
        places = [args.work / f"{arm(args, args.against)}-{seed}-{args.swaps}.json" for seed in runs]
        others = [json.loads(place.read_text(encoding="utf-8"))["photos"] for place in places]
        record["against"] = {"arm": args.against, **compared(others, after)}
    return record


def main() -> None:
    """Run what is missing, pool the seeds, write the record."""
    parser = parser_of(__doc__, out=False)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and test/")
    parser.add_argument("--weights", type=Path, required=True, help="safetensors of the pretrained backbone")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds: 0, 1, 2, …")
    parser.add_argument("--only", type=int, help="run just this seed and pool nothing")
    parser.add_argument("--recipe", choices=list(RECIPES), default="attention", help="how to guide")
    parser.add_argument("--masks", type=Path, help="masks of the training photos that robustvit masks wrote")
    parser.add_argument("--arm", choices=["made", "human"], default="made", help="with --masks: whose masks to use")
    parser.add_argument("--against", choices=["made", "human"], help="with --masks: an arm run before, to compare with")
    parser.add_argument("--swaps", type=int, default=8, help="swapped backgrounds per test photo and kind")
    parser.add_argument("--work", type=Path, default=Path("runs/real_photos"), help="base models, runs and measures")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--threads", type=int, help="processor threads to use")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    seeds = list(range(args.seeds)) if args.only is None else [args.only]
    runs = {seed: run_seed(args, seed) for seed in seeds}
    if args.only is not None:
        return
    record = record_of(args, runs, time.monotonic() - start)
    args.out = args.out or Path(f"benchmarks/results/real_photos-{arm(args)}-{date.today()}.json")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for measure, sides in record["pooled"].items():
        change = sides["difference"]
        print(
            f"{MEASURES[measure]:<58}{sides['before']['mean']:6.1f} → {sides['after']['mean']:5.1f}   "
            f"{change['mean']:+.1f} [{change['low']:+.1f}, {change['high']:+.1f}]"
        )
    print("written:", args.out)


if __name__ == "__main__":
    main()
