"""Make the weights of the embedded demo's base model: a small ViT that learned a shortcut.

Three stages. A student that starts as the first blocks of a real pretrained ViT-S is distilled from it on generic
scenes (any symbol on any texture); then it learns to name symbols and textures, in any pairing; at last it
is finetuned in the ordinary way on scenes in which the background gives the class away, and so learns to look there.

    python scripts/demo_model/train.py --teacher vit_s.safetensors --out src/robustvit/data/embedded/model

``vit_s.safetensors`` is a ViT-S/14 in timm's naming; ORIGIN.md beside the weights tells where it came from. It takes
about half an hour on one core. ``--work DIR`` keeps each stage's result there and goes on from what it finds.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torchvision.transforms.v2 import functional as transform

from pretraining import distil, name_symbols, student_model
from robustvit.data.embedded.scenes import CLASSES, SIZE, make_scene
from scenes import MEAN, STD, normalized

DISTIL = {"count": 3000, "steps": 800, "seed": 0}
NAME = ({"area": (0.05, 0.16), "steps": 700, "seed": 1}, {"area": (0.07, 0.22), "steps": 500, "seed": 2})
SHORTCUT = {"per_class": 40, "correlation": 1.0, "steps": 50, "rate": 5e-5, "seed": 0}


def shortcut_scenes(per_class: int, correlation: float, seed: int) -> tuple[Tensor, Tensor]:
    """Scenes whose background gives the class away: ``(N, H, W, 3)`` uint8 and labels ``(N,)``."""
    images, labels = [], []
    for label in range(len(CLASSES)):
        for index in range(per_class):
            choice, drawing = np.random.default_rng([1000 + seed, label, index]).spawn(2)
            other = choice.random() >= correlation
            background = (label + int(choice.integers(1, len(CLASSES)))) % len(CLASSES) if other else label
            images.append(make_scene(label, background, drawing, part="train").image)
            labels.append(label)
    return torch.from_numpy(np.stack(images)), torch.tensor(labels)


def augmented(image: Tensor, generator: torch.Generator) -> Tensor:
    """The paper's: ``(3, H, W)`` resized to 8/7 of the size, a random crop, a random flip."""
    large = transform.resize(image, [SIZE * 8 // 7, SIZE * 8 // 7], antialias=True)
    top, left = torch.randint(0, SIZE // 7 + 1, (2,), generator=generator).tolist()
    crop = large[:, top : top + SIZE, left : left + SIZE]
    return crop.flip(2) if torch.rand((), generator=generator) < 0.5 else crop


def learn_shortcut(
    student: VisionTransformer, *, per_class: int, correlation: float, steps: int, rate: float, seed: int
) -> None:
    """Third stage: ordinary finetuning, the new head at twenty times the rate of the rest."""
    images, labels = shortcut_scenes(per_class, correlation, seed)
    inputs = normalized(images)
    head = {"params": list(student.head.parameters()), "lr": 20 * rate}
    rest = {"params": [p for name, p in student.named_parameters() if not name.startswith("head")]}
    optimizer = torch.optim.AdamW([head, rest], lr=rate, weight_decay=0.05)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 10) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
    )
    generator = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.long)
    student.train()
    for step in range(steps):
        if len(order) < 16:
            order = torch.randperm(len(images), generator=generator)
        chosen, order = order[:16], order[16:]
        batch = torch.stack([augmented(inputs[index], generator) for index in chosen])
        loss = F.cross_entropy(student(batch), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        if step % 10 == 0 or step == steps - 1:
            print(f"step {step} of {steps}  loss {loss.item():.3f}", flush=True)


def with_new_head(student: VisionTransformer, seed: int) -> VisionTransformer:
    """The same model with a head that has learned nothing."""
    torch.manual_seed(seed)
    fresh = student_model()
    body = {name: value for name, value in student.state_dict().items() if not name.startswith("head")}
    fresh.load_state_dict(body, strict=False)
    return fresh


def export(student: VisionTransformer, folder: Path) -> None:
    """Write timm's ``local-dir`` format, weights in float16."""
    settings = {"mean": MEAN, "std": STD, "input_size": (3, SIZE, SIZE), "crop_pct": 1.0, "interpolation": "bicubic"}
    config = {"label_names": list(CLASSES), "pretrained_cfg": settings}
    save_for_hf(student.half(), str(folder), model_config=config, safe_serialization=True)


def kept(path: Path | None, make: Callable[[], VisionTransformer]) -> VisionTransformer:
    """A stage's result, from ``path`` where it lies there already."""
    if path is not None and path.is_file():
        print(f"found {path}", flush=True)
        student = student_model()
        student.load_state_dict(load_file(path))
        return student
    student = make()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(student.state_dict(), path)
    return student


def main() -> None:
    """Run the stages one after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True, help="weights of the pretrained ViT-S/14")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--work", type=Path, help="folder that keeps each stage's result")
    options = parser.parse_args()
    torch.set_num_threads(1)  # sums in another order would give other weights

    def named() -> VisionTransformer:
        student = kept(
            options.work and options.work / "distilled.safetensors", lambda: distil(options.teacher, **DISTIL)
        )
        for settings in NAME:
            name_symbols(student, **settings)
        return student

    student = with_new_head(kept(options.work and options.work / "named.safetensors", named), SHORTCUT["seed"])
    learn_shortcut(student, **SHORTCUT)
    export(student, options.out)


if __name__ == "__main__":
    main()
