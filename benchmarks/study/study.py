"""The study: every guidance method, on two testbeds, over seeds, numbers of masks and kinds of masks.

    python -m benchmarks.study.study rates
    python -m benchmarks.study.study run --testbed embedded
    python -m benchmarks.study.study run --testbed photos --data ../shared/data/voc-animals \
        --weights vit_s.safetensors --tokencut MASKS
    python -m benchmarks.study.study table

``rates`` tries learning rates on the embedded benchmark's validation scenes, with a seed that the study does not use;
the best ones stand in testbeds.py. ``run`` goes through the cells (arm, seed, masks a class, whose masks), skips
those that are done and those that another process has begun; start as many processes as there are cores. ``table``
pools what there is: paired differences to the base model, averaged over seeds, bootstrapped over photos, and as a t
interval over seeds. With ``--earlier RECORD`` (a ``study-DATE.json``), ``run`` leaves out what that record holds and
``table`` takes it over, with its date.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.dated import parser_of
from benchmarks.study.arms import ARMS, GROUPS, METHODS, SLOW, options_of
from benchmarks.study.table import WHOSE, write_tables
from benchmarks.study.testbeds import Cell, Embedded, Photos
from robustvit import evaluate, finetune
from robustvit.common.files import write_json

Testbed = Embedded | Photos


def cells(testbed: Testbed, arms: str) -> list[Cell]:
    """All runs, the most important ones first; other rates for the first kind and number of masks alone."""
    if arms != "methods":
        groups = testbed.groups if arms == "ablations" else testbed.groups[:1]
        return [Cell(arm, seed, k, masks) for masks, k in groups for arm in GROUPS[arms] for seed in testbed.seeds]
    found = [Cell(arm, seed, k, masks) for masks, k in testbed.groups for seed in testbed.seeds for arm in METHODS]
    return sorted(found, key=lambda cell: cell.arm in SLOW and (cell.masks, cell.samples) != testbed.groups[0])


def recorded(earlier: dict[str, Any] | None, testbed: Testbed, cell: Cell) -> bool:
    """Whether an earlier record holds a cell, with all its seeds: the table takes an arm from one place."""
    groups = earlier["testbeds"].get(testbed.name, {}) if earlier else {}
    found = groups.get(f"{cell.samples} {WHOSE[cell.masks]} a class", {}).get(cell.arm, {})
    return set(testbed.seeds) <= set(found.get("seeds", []))


def measured(testbed: Testbed, model: Path) -> dict[str, Any]:
    """Values of every test photo by measure, and of every shifted test."""
    images, masks = testbed.judged
    found = evaluate(model=f"local-dir:{model}", images=images, masks=masks, swaps=testbed.swaps, seed=0)
    values = {name: [photo.values.get(name) for photo in found.photos] for name in found.measures}
    for name, folder in testbed.tests.items():
        seen = evaluate(model=f"local-dir:{model}", images=str(folder), seed=0)
        values[f"shift {name}"] = [photo.values["ordinary"] for photo in seen.photos]
    return values


def claim(place: Path) -> bool:
    """Take a piece of work, unless it is done or another process has it."""
    if Path(f"{place}.json").exists():
        return False
    try:
        Path(f"{place}.begun").open("x").close()
    except FileExistsError:
        return False
    return True


def run_base(testbed: Testbed, seed: int, results: Path) -> None:
    """Measure a base model."""
    base = testbed.base(seed)
    write_json(measured(testbed, base), results / f"base-{seed}.json")


def train(testbed: Testbed, cell: Cell, run: Path, **other: Any) -> dict[str, Any]:
    """Train one cell into a run folder; its options."""
    shutil.rmtree(run, ignore_errors=True)
    options = {**testbed.training(cell), **options_of(cell.arm, testbed.rates, testbed.temperature), **other}
    finetune(
        model=f"local-dir:{testbed.base(cell.seed)}",
        out=str(run),
        seed=cell.seed,
        swaps=0,
        panels=0,
        tracker="none",
        **{"recipe": "paper"} | options,
    )
    return options


def run_cell(testbed: Testbed, cell: Cell, results: Path) -> None:
    """Train and measure one cell; the weights are thrown away."""
    folder = testbed.folder / "runs" / cell.name
    start = time.monotonic()
    options = train(testbed, cell, folder)
    trained = time.monotonic() - start
    values = measured(testbed, folder / "last")
    seconds = {"train": trained, "measure": time.monotonic() - start - trained}
    write_json(
        {"cell": vars(cell), "options": options, "seconds": seconds, "values": values}, results / f"{cell.name}.json"
    )
    shutil.rmtree(folder)


def run(args: argparse.Namespace, testbed: Testbed) -> None:
    """Everything that is missing."""
    testbed.prepare()
    results = testbed.folder / "results"
    results.mkdir(exist_ok=True)
    for seed in testbed.seeds if testbed.name == "photos" else [0]:
        if claim(results / f"base-{seed}"):
            run_base(testbed, seed, results)
    for cell in cells(testbed, args.arms):
        if (args.only and cell.arm not in args.only) or recorded(args.earlier, testbed, cell):
            continue
        while not (testbed.base(cell.seed) / "config.json").is_file():
            time.sleep(5)  # another process trains it
        if claim(results / cell.name):
            print(time.strftime("%H:%M"), cell.name, flush=True)
            run_cell(testbed, cell, results)


def try_rates(testbed: Embedded) -> None:
    """Accuracy on random backgrounds and ordinary accuracy of the validation scenes, by arm and rate."""
    testbed.prepare()
    held_out = {
        "images": str(testbed.data / "validation" / "images"),
        "masks": str(testbed.data / "validation" / "masks"),
    }
    found = {}
    for arm in ("attention", "paper", "cft", "cross-entropy", "gradmask", "rrr", "swap-augmentation"):
        for rate in (1e-4, 3e-4, 1e-3) if arm == "attention" else (1e-5, 3e-5, 1e-4):
            run = testbed.folder / "rates" / f"{arm}-{rate:g}"
            train(testbed, Cell(arm, testbed.tuning_seed, 20), run, lr=rate)
            seen = evaluate(model=f"local-dir:{run / 'last'}", swaps=2, **held_out)
            found[run.name] = {name: round(100 * value.mean, 1) for name, value in seen.measures.items()}
            print(run.name, found[run.name], flush=True)
            shutil.rmtree(run)
    write_json(found, testbed.folder / "rates.json")


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("what", choices=["rates", "run", "table"])
    parser.add_argument("--testbed", choices=["embedded", "photos"], default="embedded")
    parser.add_argument("--arms", choices=[*GROUPS], default="methods")
    parser.add_argument("--only", nargs="+", choices=[*ARMS], help="some arms of the group")
    parser.add_argument("--data", type=Path, help="photos: folder with train/ and test/")
    parser.add_argument("--weights", type=Path, help="photos: safetensors of the pretrained backbone")
    parser.add_argument("--tokencut", type=Path, help="photos: masks of the training photos by robustvit masks")
    parser.add_argument("--work", type=Path, default=Path("runs/study"))
    parser.add_argument("--earlier", type=lambda place: json.loads(Path(place).read_text(encoding="utf-8")))
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.what == "table":
        return write_tables(args.work, args.out, args.earlier)
    if args.what == "rates":
        return try_rates(Embedded(args.work))
    if args.testbed == "embedded":
        return run(args, Embedded(args.work))
    needed = (args.data, args.weights, args.tokencut)
    if None in needed:
        parser.error("photos need --data, --weights and --tokencut")
    return run(args, Photos(args.work, *needed))


if __name__ == "__main__":
    main()
