"""What trains nothing, on the testbed of recipes: base models shown the object alone.

    python -m benchmarks.recipes.at_inference --data ../shared/data --weights vit_s.safetensors --seeds 0 1
    python -m benchmarks.recipes.at_inference --data ... --weights ... --table

The base models are those of ``benchmarks.recipes.run``, and so are the test photos. Objects are found in every picture,
by the base model's own relevance or by TokenCut on the pretrained backbone: drawn masks would be unfair, as no user has
them where a model is used, and on swapped backgrounds they say where the pasted object is. ``--table`` writes the dated
record of all cells, beside the arms that train in the newest record of recipes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from benchmarks.dated import RESULTS, parser_of, write_dated
from benchmarks.recipes.measuring import BATCH, logits_on, right
from benchmarks.recipes.run import load
from benchmarks.recipes.table import AT_SHARE, change_over_both, pooled, shown
from benchmarks.recipes.testbed import PAIR, Inputs, Testbed
from benchmarks.study.photo_base import new_model
from robustvit import Classifier
from robustvit.common.files import write_json
from robustvit.common.provenance import versions
from robustvit.evaluation.rivals import RivalPlan, ask_rivals
from robustvit.masks.sources.tokencut import TokenCut
from robustvit.masks.tokencut.cut import CutSettings
from robustvit.models.forward_pass import evaluating

KINDS = ("crop", "mask", "blur")
PLANS = {"relevance": RivalPlan(KINDS), "tokencut": RivalPlan(KINDS, by="masks")}
TESTS = ("ordinary", "mixed-other", "unseen")
COLUMNS: dict[str, tuple[str, ...]] = {
    "ordinary": ("ordinary",),
    "mixed-other": ("mixed-other",),
    "unseen backgrounds": ("unseen",),
    "PACS, two-way": tuple(f"pacs {one}, two-way" for one in ("art_painting", "cartoon", "photo", "sketch")),
}
ARM = "swaps + relevance-drawn-10"  # of the record of recipes: what training reaches on the same base models
ABOUT = (
    "Base models shown the object alone; nothing is trained. Changes in points against the same base model asked "
    "about the whole picture, with 95 % intervals over photos, bold where they exclude zero; over several base models "
    "also over these, with Student's t. Objects are found in every picture, never drawn: by the model's own relevance "
    "(gae, above its mean, the connected part with most relevance), or by TokenCut on the pretrained backbone (centred "
    "tokens, threshold 0.1, refined). Passes: forward passes a picture instead of one, where a relevance map counts as "
    "two; TokenCut's pass through the backbone counts as one, its cut is not counted. 'and photo': averaged with the "
    "probabilities for the whole picture. Last rows: what training reaches on the same base models (10 drawn masks a "
    "class, interpolated weights)."
)


def chosen_tests(testbed: Testbed) -> dict[str, Inputs]:
    """The tests of the columns."""
    return {name: one for name, one in testbed.tests().items() if name in TESTS or name.startswith("pacs ")}


def cut_objects(testbed: Testbed, tests: dict[str, Inputs], folder: Path) -> dict[str, Tensor]:
    """TokenCut's objects in the pictures of each test, ``(N, 1, H, W)``; found once and kept."""
    place = folder / f"tokencut-{testbed.size}.pt"
    if not place.is_file():
        backbone = new_model(testbed.weights, testbed.classes, testbed.size).eval()
        source = TokenCut(backbone, feature="tokens", centre=True, settings=CutSettings(threshold=0.1))
        found = {}
        for name, inputs in tests.items():
            pictures = [TF.to_pil_image(image) for image in inputs.images]
            masks: list[np.ndarray] = []
            for start in range(0, len(pictures), BATCH):
                part = pictures[start : start + BATCH]
                masks += [source.finish(job).mask for job in source.prepare(part, [Path()] * len(part))]
            found[name] = torch.from_numpy(np.stack(masks))[:, None]
        torch.save(found, place)
    return torch.load(place)


def rival_answers(model: Classifier, plan: RivalPlan, inputs: Inputs, objects: Tensor) -> dict[str, Tensor]:
    """Probabilities ``(N, C)`` by rival."""
    parts: dict[str, list[Tensor]] = {name: [] for name in plan.names}
    with evaluating(model):
        for images, masks in zip(inputs.images.split(BATCH), objects.split(BATCH), strict=True):
            for name, one in ask_rivals(model, plan, images.float() / 255, masks).items():
                parts[name].append(one)
    return {name: torch.cat(one) for name, one in parts.items()}


def measure(testbed: Testbed, seed: int, finder: str, folder: Path) -> dict[str, Any]:
    """Right and wrong answers of a base model and of its rivals on every test."""
    model, tests = load(testbed.base(seed)), chosen_tests(testbed)
    cut = cut_objects(testbed, tests, folder) if finder == "tokencut" else None
    pair = torch.tensor([testbed.classes.index(name) for name in PAIR])
    answers: dict[str, dict[str, str]] = {}
    for test, inputs in tests.items():
        objects = torch.zeros(len(inputs.images), 1, 1, 1) if cut is None else cut[test]
        found = {"": logits_on(model, inputs)} | rival_answers(model, PLANS[finder], inputs, objects)
        for name, scores in found.items():
            own = answers.setdefault(name, {})
            own[test] = right(scores, inputs.labels)
            if test.startswith("pacs "):
                two = (inputs.labels[:, None] == pair).int().argmax(dim=1)
                own[f"{test}, two-way"] = right(scores[:, pair], two)
    passes = {name: PLANS[finder].passes(name) + (finder == "tokencut") for name in PLANS[finder].names}
    return {"answers": answers, "passes": passes}


def row(title: str, passes: object, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> str:
    """A line of the table."""
    changes = [shown(change_over_both(pooled(before, tests), pooled(after, tests))) for tests in COLUMNS.values()]
    return f"| {title} | {passes} | " + " | ".join(changes) + " |"


def as_markdown(cells: dict[str, Any], recipes: dict[str, Any], size: int) -> list[str]:
    """A table for each base model, and one of all."""
    seeds = sorted({int(name.rsplit("-", 1)[1]) for name in cells})
    lines: list[str] = []
    for group in [[seed] for seed in seeds] + ([seeds] if len(seeds) > 1 else []):
        first = [cells[f"relevance-{size}-{seed}"]["answers"][""] for seed in group]
        means = [100 * pooled(first, tests).mean() for tests in COLUMNS.values()]
        title = f"Base model {group[0]}" if len(group) == 1 else f"{len(group)} base models"
        head = "| the model is shown | passes | " + " | ".join(COLUMNS) + " |"
        lines += ["", f"## {title}, {size} px", "", head, "|---" * (2 + len(COLUMNS)) + "|"]
        lines.append("| the whole picture, % | 1 | " + " | ".join(f"{mean:.1f}" for mean in means) + " |")
        for finder in PLANS:
            found = [cells[name] for seed in group if (name := f"{finder}-{size}-{seed}") in cells]
            if len(found) == len(group):
                for rival in PLANS[finder].names:
                    sides = [[one["answers"][name] for one in found] for name in ("", rival)]
                    lines.append(row(f"{rival}, object by {finder}", found[0]["passes"][rival], *sides))
        trained = [recipes[name] for seed in group if (name := f"{ARM}-{size}-{seed}") in recipes]
        if len(trained) == len(group):
            after = [one.get(AT_SHARE, one["answers"]) for one in trained]
            lines.append(row("trained with background swaps and relevance loss", 1, first, after))
    return lines


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--weights", type=Path, required=True, help="safetensors of the pretrained backbone")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--finders", nargs="+", choices=[*PLANS], default=[*PLANS])
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--work", type=Path, default=Path("runs/recipes"))
    parser.add_argument("--results", type=Path, help="folder of the cells; default: at-inference in the work folder")
    parser.add_argument("--table", action="store_true", help="write the record instead of measuring")
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder = args.results or args.work / "at-inference"
    folder.mkdir(parents=True, exist_ok=True)
    if args.table:
        cells = {place.stem: json.loads(place.read_text(encoding="utf-8")) for place in sorted(folder.glob("*.json"))}
        newest = max(RESULTS.glob("recipes-*.json"))
        recipes = json.loads(newest.read_text(encoding="utf-8"))["cells"]
        record = {"about": ABOUT, "recipes": newest.name, "versions": versions(), "cells": cells}
        said = ", ".join(f"{name} {value}" for name, value in record["versions"].items())
        lines = ["# Without training", "", "`python -m benchmarks.recipes.at_inference`", "", ABOUT]
        text = "\n".join([*lines, *as_markdown(cells, recipes, args.size), "", f"Versions: {said}", ""])
        write_dated("at_inference", record, text, args.out)
        return
    testbed = Testbed(args.work, args.data, args.weights, args.size)
    for seed in args.seeds:
        for finder in args.finders:
            place = folder / f"{finder}-{args.size}-{seed}.json"
            if not place.exists():
                write_json(measure(testbed, seed, finder, folder), place)
                print(place, flush=True)


if __name__ == "__main__":
    main()
