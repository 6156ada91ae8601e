"""Which learning rate an adapter (LoRA) needs: the recommended recipe at several rates, beside all weights at its own.

    python -m benchmarks.recipes.adapters --data ../shared/data --weights vit_s.safetensors --work runs/recipes

Uses the testbed of the comparison of recipes; what is measured are its validation photos. Writes dated files.
"""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from benchmarks.dated import parser_of, write_dated
from benchmarks.recipes.measuring import accuracies, logits_on
from benchmarks.recipes.testbed import Testbed
from robustvit import finetune, load_model
from robustvit.common.provenance import versions

RATES = (2e-6, 1e-5, 1e-4, 1e-3)
LORA = {"r": 8, "lora_alpha": 16, "target_modules": ["qkv", "proj", "fc1", "fc2"]}


def train(testbed: Testbed, seed: int, rate: float, adapter: bool, epochs: int) -> dict[str, Any]:
    """Train once; how far the answers of validation photos moved, and how many are right."""
    run = testbed.folder / "runs" / f"{'adapter' if adapter else 'all'}-{rate:g}-{seed}"
    lora = run.with_name(f"{run.name}-lora")
    shutil.rmtree(run, ignore_errors=True)
    base = f"local-dir:{testbed.base(seed)}"
    original = load_model(base)
    if adapter:
        torch.manual_seed(seed)
        get_peft_model(load_model(base).network, LoraConfig(**LORA)).save_pretrained(str(lora))
    finetune(
        model=base,
        checkpoint=str(lora) if adapter else None,
        images=str(testbed.base_photos / "train" / "images"),
        masks=str(testbed.base_photos / "train" / "masks"),
        val_images=str(testbed.few / "validation" / "images"),
        val_masks=str(testbed.few / "validation" / "masks"),
        test_images=str(testbed.few / "test" / "images"),
        test_masks=str(testbed.few / "test" / "masks"),
        out=str(run),
        train="adapter" if adapter else "all",
        lr=rate,
        epochs=epochs,
        weight_interpolation=1.0,
        seed=seed,
        swaps=0,
        panels=0,
        at_inference="none",
        backgrounds="none",
    )
    finetuned, held_out = load_model(f"local-dir:{run / 'best'}"), testbed.held_out()
    before, after = (logits_on(one, held_out["ordinary"]) for one in (original, finetuned))
    shutil.rmtree(run)
    shutil.rmtree(lora, ignore_errors=True)
    return {
        "trains": "the adapter" if adapter else "all weights",
        "lr": rate,
        "moved": float((after - before).abs().mean() / before.std()),
        **accuracies(finetuned, held_out),
    }


def as_markdown(record: dict[str, Any]) -> str:
    lines = [
        f"# Learning rates of an adapter, {record['date']}", "", f"`{record['command']}`", "", record["about"], "",
        "| trains | learning rate | logits moved | ordinary | mixed-other |", "|---|---|---|---|---|",
    ]  # fmt: skip
    lines += [
        f"| {one['trains']} | {one['lr']:g} | {one['moved']:.4f} | {one['ordinary']:.1%} | {one['mixed-other']:.1%} |"
        for one in record["rows"]
    ]
    said = ", ".join(f"{name} {value}" for name, value in record["versions"].items())
    return "\n".join([*lines, "", f"Versions: {said}", ""])


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--weights", type=Path, required=True, help="safetensors of the pretrained backbone")
    parser.add_argument("--work", type=Path, default=Path("runs/recipes"))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    testbed = Testbed(args.work, args.data, args.weights)
    testbed.prepare()
    base = accuracies(load_model(f"local-dir:{testbed.base(args.seed)}"), testbed.held_out())
    rows: list[dict[str, Any]] = [{"trains": "nothing", "lr": 0.0, "moved": 0.0, **base}]
    rows.append(train(testbed, args.seed, 1e-5, False, args.epochs))
    for rate in RATES:
        rows.append(train(testbed, args.seed, rate, True, args.epochs))
        print(rows[-1], flush=True)
    about = (
        f"A ViT-S at 112 px, five animals, 10 masks a class, {args.epochs} epochs of `--recipe recommended` without "
        f"interpolation, one seed. LoRA of rank {LORA['r']} on {', '.join(LORA['target_modules'])}. "
        f"{5 * 20} validation photos: the mean change of a logit in standard deviations of all logits, and accuracies. "
        "One base model and 100 photos: the differences between accuracies of a few points say nothing."
    )
    command = f"python -m benchmarks.recipes.adapters --data DATA --weights vit_s.safetensors --epochs {args.epochs}"
    record = {
        "date": date.today().isoformat(), "command": command, "about": about, "rows": rows, "versions": versions(),
    }  # fmt: skip
    write_dated("adapter_rates", record, as_markdown(record), args.out)


if __name__ == "__main__":
    main()
