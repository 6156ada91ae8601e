"""What does ``robustvit evaluate --on`` cost against a bare timm forward loop on the same images?

    python -m benchmarks.speed.evaluate_speed

Draws photos of 500 x 375 pixels in ImageNet's layout, and runs an untrained model over them by turns in one process:
once through ``robustvit.evaluate`` (listing, reading, model, numbers, records), once through timm's own data set,
transform and loader with nothing but a forward pass and an argmax. Loading the model is not counted on either side.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from timm.data import ImageDataset, create_loader, resolve_model_data_config

from benchmarks.dated import command_words, parser_of
from robustvit.common.devices import make_accelerator
from robustvit.common.provenance import versions
from robustvit.evaluation.on_sets.loop import SetSettings
from robustvit.evaluation.on_sets.recording import evaluate_set, make_set_model
from robustvit.evaluation.sets import BENCHMARKS
from robustvit.evaluation.sets.class_tables import imagenet_wnids
from robustvit.models.classifier import Classifier
from robustvit.models.load import load_model
from robustvit.models.save import save_model


def draw(root: Path, images: int) -> None:
    """Noise of low and high frequency, as JPEGs of about a photo's size on disk."""
    rng = np.random.default_rng(0)
    for number in range(images):
        folder = root / "imagenet-val" / imagenet_wnids()[number % 1000]
        folder.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize((500, 375))
        fine = rng.normal(0, 12, (375, 500, 3))
        pixels = (np.asarray(coarse) + fine).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:05d}.JPEG", quality=92)


def bare(network: torch.nn.Module, root: Path, batch_size: int, workers: int) -> float:
    """Seconds of timm's own loop."""
    config = resolve_model_data_config(network)
    start = time.perf_counter()
    loader = create_loader(
        ImageDataset(str(root / "imagenet-val")), input_size=config["input_size"], batch_size=batch_size,
        use_prefetcher=False, interpolation=config["interpolation"], mean=config["mean"], std=config["std"],
        crop_pct=config["crop_pct"], num_workers=workers, persistent_workers=False,
    )  # fmt: skip
    with torch.inference_mode():
        for images, _ in loader:
            network(images).argmax(dim=1)
    return time.perf_counter() - start


def ours(model_folder: Path, root: Path, batch_size: int, workers: int) -> float:
    """Seconds of an evaluation into a fresh folder of records."""
    model = make_set_model(load_model(str(model_folder)), str(model_folder))
    with tempfile.TemporaryDirectory() as records:
        accelerator = make_accelerator(device="cpu")
        place = SetSettings(root, Path(records), "standard", "no", accelerator, batch_size, workers)
        start = time.perf_counter()
        evaluate_set(BENCHMARKS["imagenet-val"], model, place)
        return time.perf_counter() - start


def measure_rates(args: argparse.Namespace) -> dict[str, list[float]]:
    """Return images per second of both, by turns; a first round warms up."""
    torch.manual_seed(0)
    network = timm.create_model(args.model, num_classes=1000).eval()
    rates: dict[str, list[float]] = {"bare timm loop": [], "robustvit evaluate": []}
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        draw(root, args.images)
        folder = save_model(Classifier(network), root / "model")
        for number in range(args.rounds + 1):
            found = (
                bare(network, root, args.batch_size, args.workers),
                ours(folder, root, args.batch_size, args.workers),
            )
            if number:  # the first round warms up
                for name, seconds in zip(rates, found, strict=True):
                    rates[name].append(args.images / seconds)
                print({name: round(values[-1], 2) for name, values in rates.items()}, flush=True)
    return rates


def main() -> None:
    """By turns, and the record."""
    parser = parser_of(__doc__, out=False)
    parser.add_argument("--model", default="vit_small_patch16_224")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(f"benchmarks/results/evaluate_speed-{date.today()}.json"))
    args = parser.parse_args()
    rates = measure_rates(args)
    one, other = rates.values()
    ratios = [b / a for a, b in zip(one, other, strict=True)]
    record = {
        "date": str(date.today()),
        "command": command_words(),
        "versions": versions(),
        "processors": os.cpu_count(),
        "settings": {k: v if not isinstance(v, Path) else v.name for k, v in vars(args).items() if k != "out"},
        "images_per_second": rates,
        "ratio": {"median": statistics.median(ratios), "each": ratios},
    }
    args.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"robustvit evaluate runs at {100 * statistics.median(ratios):.0f} % of the bare loop; written: {args.out}")


if __name__ == "__main__":
    main()
