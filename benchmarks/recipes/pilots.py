"""Pilots: one change at a time in the recommended recipe, on two base models, judged on validation photos alone.

    python -m benchmarks.recipes.pilots --data ../shared/data --weights vit_s.safetensors --pilots "keep answers" SAM
    python -m benchmarks.recipes.pilot_table

Base models, training photos and masks are those of ``benchmarks.recipes.run``; start that first. DATA also holds
coco128-polygons, whose photos without animals are backgrounds that no photo has: those of the test are left alone.
"""

from __future__ import annotations

import shutil
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.dated import parser_of
from benchmarks.recipes.measuring import BATCH, right
from benchmarks.recipes.pilot_changes import BASE, ORDERS, PILOTS, PLAIN, SAMPLES, SOUP, Pilot, Start, empty_photos
from benchmarks.recipes.pilot_methods import registered
from benchmarks.recipes.run import load
from benchmarks.recipes.testbed import Inputs, Testbed, as_bytes, inputs_of
from benchmarks.study.study import claim
from robustvit import Classifier, finetune
from robustvit.common.files import write_json
from robustvit.data.datasets import MaskedPhotos, SwappedPhotos
from robustvit.data.swap_pairs import pair_backgrounds
from robustvit.data.swaps import paste, usable_background
from robustvit.models.forward_pass import evaluating
from robustvit.models.save import save_model
from robustvit.training.interpolation import interpolate_weights

SHARES = (1.0, 0.6)  # of the trained weights; none is chosen
BACKGROUNDS = 5  # of either kind, for each photo
NAMES = (*PILOTS, SOUP, BASE)


def train(start: Start, pilot: Pilot) -> Classifier:
    """Train a pilot; the trained model."""
    testbed, model = start.testbed, start.base
    common = {
        "images": str(testbed.base_photos / "train" / "images"),
        "masks": str(testbed.base_photos / "train" / "masks"),
        "val_images": str(testbed.few / "validation" / "images"),
        "val_masks": str(testbed.few / "validation" / "masks"),
        "test_images": str(testbed.few / "test" / "images"),
        "test_masks": str(testbed.few / "test" / "masks"),
        "recipe": "recommended", "guidance": "swap-relevance", "samples_per_class": SAMPLES, "precision": "bf16",
        "weight_interpolation": 1.0, "seed": start.seed, "swaps": 0, "panels": 0, "at_inference": "none",
    }  # fmt: skip
    own = nullcontext() if pilot.method is None else registered(pilot.method)
    with own, pilot.around(start) as finish:
        for number, stage in enumerate(pilot.stages):
            named = {} if pilot.method is None else {"guidance": pilot.method.title, "train": "all", "lr": 1e-5}
            options = common | named | (pilot.more(start) if number == 0 else {}) | stage
            finetune(model=f"local-dir:{model}", out=str(start.folder / str(number)), **options)
            model = start.folder / str(number) / "best"
        trained = load(model)
        if finish is not None:
            finish(trained)
    return trained


def mean_of(folders: list[Path]) -> Classifier:
    """The model whose weights are the mean of those of several."""
    model, states = load(folders[0]), [load(folder).network.state_dict() for folder in folders]
    means = {name: torch.stack([state[name] for state in states]).mean(dim=0) for name in states[0]}
    model.network.load_state_dict(means)
    return model


def run_pilot(testbed: Testbed, name: str, seed: int, work: Path) -> dict[str, Any]:
    """Train and measure one."""
    start = Start(testbed, seed, work / "runs" / f"{name}-{seed}")
    shutil.rmtree(start.folder, ignore_errors=True)
    start.folder.mkdir(parents=True)
    begun = time.process_time()
    if name in PILOTS:
        trained = train(start, PILOTS[name])
        if name in (PLAIN, *ORDERS):
            save_model(trained, work / "kept" / f"{name}-{seed}")
    else:
        trained = (
            load(start.base) if name == BASE else mean_of([work / "kept" / f"{one}-{seed}" for one in (PLAIN, *ORDERS)])
        )
    seconds = time.process_time() - begun
    shutil.rmtree(start.folder)
    return {"cpu_seconds": seconds, "answers": answers_at_shares(load(start.base), trained, held_out(testbed, work))}


def answers_at_shares(original: Classifier, trained: Classifier, tests: dict[str, Inputs]) -> dict[str, dict[str, str]]:
    """Right and wrong answers, by share of the trained weights."""
    first = original.network.state_dict()
    last = {name: weight.clone() for name, weight in trained.network.state_dict().items()}
    found = {}
    for share in SHARES:
        trained.network.load_state_dict(interpolate_weights(first, last, share))
        found[f"{share:g}"] = {name: right(quick_logits(trained, one), one.labels) for name, one in tests.items()}
    return found


@torch.no_grad()
def quick_logits(model: Classifier, inputs: Inputs) -> Tensor:
    """Logits ``(N, C)``, in bfloat16."""
    with evaluating(model), torch.autocast("cpu", torch.bfloat16):
        return torch.cat([model(batch.float() / 255).float() for batch in inputs.images.split(BATCH)])


def donors(testbed: Testbed, photos: MaskedPhotos, masks: Tensor, unseen: int) -> dict[str, list[tuple[int, int]]]:
    """Pairs of photo and background for each test: another photo, or one of the unseen ones."""
    labels = [int(photo.label or 0) for photo in photos.photos]
    usable = [bool(usable_background(mask)) for mask in masks]
    other = pair_backgrounds(labels, usable, "mixed-other", swaps=BACKGROUNDS, seed=0)
    rng = np.random.default_rng(0)
    drawn = [rng.choice(unseen, BACKGROUNDS, replace=False).tolist() for _ in labels]
    return {
        "ordinary": [(index, index) for index in range(len(labels))],
        "mixed-other": [(index, donor) for index, chosen in enumerate(other) for donor in chosen],
        "unseen": [(index, donor) for index, chosen in enumerate(drawn) for donor in chosen],
    }


def held_out(testbed: Testbed, work: Path) -> dict[str, Inputs]:
    """Validation photos as they are, on backgrounds of other classes, and on photos of COCO; pairs are written once."""
    photos = testbed.photos(testbed.validation / "images", testbed.validation / "masks")
    plain, backgrounds = inputs_of(photos), empty_photos(testbed, 0)
    assert plain.masks is not None
    pairs = donors(testbed, photos, plain.masks, len(backgrounds))
    write_json(pairs, work / "pairs.json")
    images = plain.images.float() / 255
    pasted = [paste(images[index], plain.masks[index], backgrounds[donor]) for index, donor in pairs["unseen"]]
    found = {
        "ordinary": plain.images,
        "mixed-other": inputs_of(SwappedPhotos(photos, pairs["mixed-other"])).images,
        "unseen": as_bytes(torch.stack(pasted)),
    }
    return {name: Inputs(found[name], plain.labels[[index for index, _ in pairs[name]]]) for name in found}


def main() -> None:
    parser = parser_of(__doc__, out=False)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--weights", type=Path, required=True, help="safetensors of the pretrained backbone")
    parser.add_argument("--pilots", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2], help="of base models")
    parser.add_argument("--testbed", type=Path, default=Path("runs/recipes"), help="work folder of recipes.run")
    parser.add_argument("--work", type=Path, default=Path("runs/pilots"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    testbed = Testbed(args.testbed, args.data, args.weights)
    testbed.prepare()
    (args.work / "results").mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        for name in args.pilots:
            if claim(args.work / "results" / f"{name}-{seed}"):
                print(time.strftime("%H:%M"), name, seed, flush=True)
                write_json(run_pilot(testbed, name, seed, args.work), args.work / "results" / f"{name}-{seed}.json")


if __name__ == "__main__":
    main()
