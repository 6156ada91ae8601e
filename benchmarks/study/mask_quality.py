"""How good masks without annotation are: TokenCut against human masks, with and without the bilateral solver.

    python -m benchmarks.study.mask_quality --data ../shared/data/voc-animals --weights vit_s.safetensors \\
        [--backgrounds ../shared/data/backgrounds]

DATA holds train/ and test/, each with images/CLASS/ and masks/CLASS/; WEIGHTS is a timm state dict of --model without a
head. The weights of the confidence (``robustvit.masks.confidence``) were fitted on train/; its calibration is reported
on test/, and fails the script if the mean IoU does not rise from one fifth of the photos to the next. IoU and accuracy
are means over photos; max F-beta (beta squared = 0.3) takes mean precision and recall over photos at 255 thresholds of
the solver's soft answer. BACKGROUNDS are photos without the objects: what is said of them? Writes dated files.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.dated import command_words, parser_of, write_dated
from robustvit import load_model
from robustvit.common.intervals import mean_interval
from robustvit.common.options import Side
from robustvit.common.provenance import versions
from robustvit.data.find_photos import find_photos
from robustvit.data.mask_files import read_mask
from robustvit.data.read_photos import read_photo
from robustvit.masks.confidence import overlap
from robustvit.masks.sources.tokencut import TokenCut
from robustvit.masks.tokencut.bilateral_solver import bilateral_solver
from robustvit.masks.tokencut.cut import CutJob, CutSettings, cut_objects

SETTINGS: dict[str, dict[str, Any]] = {
    "last tokens, centred, 0.1": {"feature": "tokens", "centre": True, "threshold": 0.1},
    "last keys, centred, 0.2": {"feature": "keys", "centre": True, "threshold": 0.2},
    "last keys as they are, 0.2": {"feature": "keys", "centre": False, "threshold": 0.2},
}
SIDES: tuple[Side, ...] = ("corners", "seed")
BETA, THRESHOLDS = 0.3, np.linspace(0, 1, 256)[1:]


@dataclass
class Scores:
    """Of one photo."""

    split: str
    verdict: str
    confidence: float
    coarse_iou: float
    iou: float
    accuracy: float
    precision: np.ndarray
    recall: np.ndarray


def scored(job: CutJob, truth: np.ndarray, split: str) -> Scores:
    """One photo's masks against the human one."""
    found, coarse = cut_objects(job), cut_objects(replace(job, settings=replace(job.settings, refine=False)))
    soft = bilateral_solver(job.photo, coarse.mask)
    soft = 1 - soft if overlap(soft > 0.5, coarse.mask > 0.5) < 0.5 else soft
    above = np.array([[(soft >= t).sum(), ((soft >= t) & truth).sum()] for t in THRESHOLDS])
    mask = found.mask > 0.5
    return Scores(
        split,
        found.verdict,
        found.confidence,
        overlap(coarse.mask > 0.5, truth),
        overlap(mask, truth),
        float((mask == truth).mean()),
        above[:, 1] / np.maximum(above[:, 0], 1),
        above[:, 1] / truth.sum(),
    )


def max_f(scores: list[Scores]) -> float:
    """Max F-beta of mean precision and recall."""
    precision, recall = (np.mean([getattr(s, name) for s in scores], axis=0) for name in ("precision", "recall"))
    return float(((1 + BETA) * precision * recall / np.maximum(BETA * precision + recall, 1e-9)).max())


def summary(scores: list[Scores]) -> dict[str, Any]:
    """Means with 95 % intervals over photos, good masks apart."""
    good = [s for s in scores if s.verdict == "good"]
    rest = [s for s in scores if s.verdict != "good"]
    interval = mean_interval([s.iou for s in scores])
    return {
        "photos": len(scores),
        "iou_coarse": float(np.mean([s.coarse_iou for s in scores])),
        "iou": interval.mean,
        "iou_low": interval.low,
        "iou_high": interval.high,
        "accuracy": float(np.mean([s.accuracy for s in scores])),
        "max_f": max_f(scores),
        "good": len(good),
        "iou_good": float(np.mean([s.iou for s in good])) if good else None,
        "iou_rest": float(np.mean([s.iou for s in rest])) if rest else None,
    }


def quintiles(scores: list[Scores]) -> list[dict[str, float]]:
    """Mean confidence and IoU by fifths of the confidence."""
    ranked = sorted(scores, key=lambda s: s.confidence)
    parts = [[ranked[i] for i in part] for part in np.array_split(np.arange(len(ranked)), 5)]
    return [
        {"confidence": float(np.mean([s.confidence for s in part])), "iou": float(np.mean([s.iou for s in part]))}
        for part in parts
    ]


def source_of(args: argparse.Namespace, name: str) -> TokenCut:
    """TokenCut with settings of a name."""
    chosen = dict(SETTINGS[name])
    threshold = chosen.pop("threshold")
    model = load_model(args.model, checkpoint=args.weights, head="none")
    return TokenCut(model, size=args.size, settings=CutSettings(threshold), **chosen)


def measured(args: argparse.Namespace, source: TokenCut) -> dict[str, list[Scores]]:
    """All photos of both splits, by the rule that says which side is the object."""
    scores: dict[str, list[Scores]] = {side: [] for side in SIDES}
    for split in ("train", "test"):
        photos = find_photos(args.data / split / "images", args.data / split / "masks")[:: args.every]
        for photo in photos:
            [job] = source.prepare([read_photo(photo.image)], [photo.image])
            truth = read_mask(photo.mask) > 0.5
            for side in SIDES:
                scores[side].append(scored(replace(job, settings=replace(job.settings, side=side)), truth, split))
    return scores


def on_backgrounds(args: argparse.Namespace, source: TokenCut) -> dict[str, int]:
    """Verdicts on photos without the objects."""
    photos = [photo.image for photo in find_photos(args.backgrounds, labelled=False)][:: args.every]
    verdicts = [cut_objects(source.prepare([read_photo(p)], [p])[0]).verdict for p in photos]
    return {name: verdicts.count(name) for name in ("good", "doubtful", "none")}


def as_text(record: dict[str, Any]) -> str:
    """The record as Markdown."""
    lines = [f"# Masks without annotation, {record['date']}", "", f"`{' '.join(record['command'])}`", ""]
    lines += [
        "| features | side | photos | IoU coarse | IoU refined | accuracy | max F | good | IoU good | IoU others |"
    ]
    lines += ["|---|---|---|---|---|---|---|---|---|---|"]
    for row in record["rows"]:
        good, rest = ("-" if row[name] is None else f"{row[name]:.3f}" for name in ("iou_good", "iou_rest"))
        refined = f"{row['iou']:.3f} [{row['iou_low']:.3f}, {row['iou_high']:.3f}]"
        lines.append(
            f"| {row['features']} | {row['side']} | {row['photos']} | {row['iou_coarse']:.3f} | {refined} | "
            f"{row['accuracy']:.3f} | {row['max_f']:.3f} | {row['good']} | {good} | {rest} |"
        )
    lines += ["", "Calibration on test/, first row's settings: mean IoU by fifths of the confidence", ""]
    lines += ["| confidence | IoU |", "|---|---|"]
    lines += [f"| {part['confidence']:.2f} | {part['iou']:.3f} |" for part in record["quintiles"]]
    if record["backgrounds"]:
        said = ", ".join(f"{count} {name}" for name, count in record["backgrounds"].items())
        lines += ["", f"Photos without the objects: {said}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, write, and fail if the confidence is not calibrated."""
    parser = parser_of(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--backgrounds", type=Path)
    parser.add_argument("--model", default="vit_small_patch14_dinov2")
    parser.add_argument("--size", type=int, default=518)
    parser.add_argument("--every", type=int, default=1, help="take only every n-th photo")
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    start, rows, kept, backgrounds = time.monotonic(), [], [], {}
    for name in SETTINGS:
        source = source_of(args, name)
        for side, scores in measured(args, source).items():
            rows.append({"features": name, "side": side, **summary(scores)})
            print(json.dumps(rows[-1]), flush=True)
            if not kept:
                kept = scores
                backgrounds = on_backgrounds(args, source) if args.backgrounds else {}
    record = {
        "date": str(date.today()),
        "command": command_words(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "versions": versions(),
        "seconds": round(time.monotonic() - start),
        "rows": rows,
        "quintiles": quintiles([s for s in kept if s.split == "test"]),
        "backgrounds": backgrounds,
    }
    write_dated("mask_quality", record, as_text(record), args.out)
    rising = [part["iou"] for part in record["quintiles"]]
    if rising != sorted(rising):
        sys.exit("the confidence is not calibrated: the mean IoU does not rise from fifth to fifth")


if __name__ == "__main__":
    main()
