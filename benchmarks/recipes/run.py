"""Train and measure the cells of the comparison of recipes, a cell being an arm, a seed, and masks.

    python -m benchmarks.recipes.run --data ../shared/data --weights vit_s.safetensors --seeds 0 1
    python -m benchmarks.recipes.run ... --masks-from ellipses runs/recipes/boxes/ellipses
    python -m benchmarks.recipes.table

``--masks-from`` trains on other masks of the same photos, such as those of ``benchmarks.recipes.boxes``. Cells that are
recorded are left out, also those in the newest record of ``benchmarks/results``; start as many processes as there are
cores.
"""

from __future__ import annotations

import json
import shutil
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from benchmarks.dated import parser_of
from benchmarks.recipes.arms import ARMS, FIRST
from benchmarks.recipes.measuring import accuracies, answers
from benchmarks.recipes.pilot_methods import EqualNorms, registered
from benchmarks.recipes.testbed import Testbed
from benchmarks.study.study import claim
from robustvit import Classifier, finetune, load_model
from robustvit.common.files import write_json
from robustvit.training.interpolation import choose_share, interpolate_weights

METHODS = {"swaps + relevance, equal norms": EqualNorms}  # arms whose guidance is not the product's
MAX_DROP = 2.0  # points of ordinary accuracy that the share may cost on the validation photos, as by default


def load(folder: Path) -> Classifier:
    return load_model(f"local-dir:{folder}")


def measure_base(testbed: Testbed, seed: int) -> dict[str, Any]:
    """Answers of a base model."""
    return {"answers": answers(load(testbed.base(seed)), testbed.tests(), testbed.classes)}


def run_cell(testbed: Testbed, arm: str, seed: int, whose: str, masks: Path, samples: int) -> dict[str, Any]:
    """Train an arm; its answers as it is, and at the share of its weights that validation photos choose."""
    run = testbed.folder / "runs" / f"{arm}-{whose}-{seed}-{samples}"
    shutil.rmtree(run, ignore_errors=True)
    start = time.process_time()
    with registered(METHODS[arm]) if arm in METHODS else nullcontext():
        finetune(
            model=f"local-dir:{testbed.base(seed)}",
            images=str(testbed.base_photos / "train" / "images"),
            masks=str(masks),
            val_images=str(testbed.few / "validation" / "images"),
            val_masks=str(testbed.few / "validation" / "masks"),
            test_images=str(testbed.few / "test" / "images"),
            test_masks=str(testbed.few / "test" / "masks"),
            samples_per_class=samples,
            out=str(run),
            seed=seed,
            swaps=0,
            panels=0,
            recipe="paper",
            **({"select": "last"} | ARMS[arm]),
        )
    trained = time.process_time() - start
    found = measure_shares(testbed, load(testbed.base(seed)), load(run / "best"))
    shutil.rmtree(run)
    return {"options": ARMS[arm], "cpu_seconds": {"train": trained, "all": time.process_time() - start}, **found}


def measure_shares(testbed: Testbed, original: Classifier, finetuned: Classifier) -> dict[str, Any]:
    """Answers of a finetuned model, and at the share that validation photos choose."""
    tests, held_out = testbed.tests(), testbed.held_out()
    ends = [{name: weight.clone() for name, weight in model.network.state_dict().items()}
            for model in (original, finetuned)]  # fmt: skip
    found = {"answers": answers(finetuned, tests, testbed.classes)}

    def at(share: float) -> dict[str, float]:
        finetuned.network.load_state_dict(interpolate_weights(*ends, share))
        return accuracies(finetuned, held_out)

    share, tried = choose_share(at, MAX_DROP)
    found |= {"share": share, "tried": tried}
    if share != 1:
        at(share)
        found["answers_at_share"] = answers(finetuned, tests, testbed.classes)
    return found


def main() -> None:
    parser = parser_of(__doc__, out=False)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--weights", type=Path, required=True, help="safetensors of the pretrained backbone")
    parser.add_argument(
        "--masks-from", nargs=2, metavar=("NAME", "FOLDER"), default=("drawn", None),
        help="other masks of the training photos, by robustvit masks, and a name for them without hyphens",
    )  # fmt: skip
    parser.add_argument("--arms", nargs="+", choices=[*ARMS], default=[*FIRST])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--samples", nargs="+", type=int, default=[10], help="masks a class")
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--work", type=Path, default=Path("runs/recipes"))
    parser.add_argument("--earlier", type=lambda place: json.loads(Path(place).read_text(encoding="utf-8")))
    args = parser.parse_args()
    if "-" in args.masks_from[0]:
        parser.error(f"expected a name without hyphens for --masks-from, got {args.masks_from[0]}")
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    testbed = Testbed(args.work, args.data, args.weights, args.size)
    testbed.prepare()
    whose, masks = args.masks_from[0], Path(args.masks_from[1] or testbed.base_photos / "train" / "masks")
    results = args.work / "results"
    results.mkdir(exist_ok=True)
    known = set((args.earlier or {}).get("cells", {}))
    work = [(f"base-{args.size}-{seed}", lambda s=seed: measure_base(testbed, s)) for seed in args.seeds]
    work += [
        (f"{arm}-{whose}-{samples}-{args.size}-{seed}",
         lambda a=arm, s=seed, n=samples: run_cell(testbed, a, s, whose, masks, n))
        for seed in args.seeds for samples in args.samples for arm in args.arms
    ]  # fmt: skip
    for name, do in work:
        seed = int(name.rsplit("-", 1)[1])
        while (
            not name.startswith("base")
            and (results / f"base-{args.size}-{seed}.begun").exists()
            and not (results / f"base-{args.size}-{seed}.json").exists()
        ):
            time.sleep(5)  # another process trains it
        if name not in known and claim(results / name):
            print(time.strftime("%H:%M"), name, flush=True)
            write_json(do(), results / f"{name}.json")


if __name__ == "__main__":
    main()
