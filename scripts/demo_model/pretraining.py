"""Pretraining of the demo's base model: a trimmed, distilled ViT-S that knows symbols and textures apart."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from robustvit.data.embedded.scenes import CLASSES, SIZE
from scenes import ALL_SYMBOLS, ALL_TEXTURES, GRID, MIXED_PATCH, PATCH, Range, normalized, scenes

__all__ = ["ARCHITECTURE", "MODEL_ARGS", "distil", "name_symbols", "student_model"]

ARCHITECTURE = "vit_small_patch16_224"
MODEL_ARGS = {"img_size": SIZE, "patch_size": PATCH, "depth": 4, "mlp_ratio": 1.75, "num_classes": len(CLASSES)}
GENERIC = Range(symbols=len(ALL_SYMBOLS), area=(0.04, 0.25), center=(0.2, 0.8), angle=40, covered=0.5)
BENCHMARK = Range(symbols=len(CLASSES), area=(0.05, 0.16), center=(0.3, 0.7), angle=25, covered=0.4)
BATCH, RATE = 16, 3e-4
Losses = dict[str, Tensor]
Schedule = Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]


def student_model() -> VisionTransformer:
    """The small ViT, freshly initialised."""
    return timm.create_model(ARCHITECTURE, pretrained=False, **MODEL_ARGS)


def teacher_model(weights: Path) -> VisionTransformer:
    """The pretrained ViT-S/14, its position embedding resampled to our grid."""
    teacher = timm.create_model("vit_small_patch14_dinov2", num_classes=0, img_size=SIZE).eval()
    teacher.load_state_dict(checkpoint_filter_fn(load_file(weights), teacher))
    return teacher


@torch.inference_mode()
def teacher_tokens(teacher: VisionTransformer, images: Tensor) -> dict[str, Tensor]:
    """``middle`` (after block 6) and ``late`` tokens ``(N, 65, 384)``, each channel standardised."""
    middle, late = [], []
    for start in range(0, len(images), 32):
        last, [(patches, prefix)] = teacher.forward_intermediates(
            normalized(images[start : start + 32]), indices=[5], output_fmt="NLC", return_prefix_tokens=True
        )
        middle.append(torch.cat([prefix, patches], dim=1).half())
        late.append(last.half())
        if start % 640 == 0:
            print(f"teacher: {start} of {len(images)} scenes", flush=True)
    return {"middle": _standardized(torch.cat(middle)), "late": _standardized(torch.cat(late))}


def _standardized(tokens: Tensor) -> Tensor:
    some = tokens[:1000].float()
    mean, std = some.mean(dim=(0, 1)), some.std(dim=(0, 1))
    for chunk in tokens.split(500):  # clamped: a few huge channels would rule the loss
        chunk.copy_(((chunk.float() - mean) / std).clamp(-6, 6))
    return tokens


@torch.no_grad()
def copy_first_blocks(student: VisionTransformer, teacher: VisionTransformer, images: Tensor) -> None:
    """Start the student as the teacher's first blocks, with the hidden units of each MLP that matter most.

    Layer scale is folded into the weights, and what the units left out give on average into the bias.
    """
    tokens = teacher._pos_embed(teacher.patch_embed(normalized(images)))
    student.patch_embed.load_state_dict(teacher.patch_embed.state_dict())
    student.cls_token.copy_(teacher.cls_token)
    student.pos_embed.copy_(teacher.pos_embed)
    for ours, theirs in zip(student.blocks, teacher.blocks, strict=False):
        for name in ("norm1", "norm2", "attn.qkv"):
            ours.get_submodule(name).load_state_dict(theirs.get_submodule(name).state_dict())
        ours.attn.proj.weight.copy_(theirs.attn.proj.weight * theirs.ls1.gamma[:, None])
        ours.attn.proj.bias.copy_(theirs.attn.proj.bias * theirs.ls1.gamma)
        tokens = tokens + theirs.ls1(theirs.attn(theirs.norm1(tokens)))
        hidden = theirs.mlp.act(theirs.mlp.fc1(theirs.norm2(tokens))).flatten(0, 1)
        outgoing = theirs.mlp.fc2.weight * theirs.ls2.gamma[:, None]
        kept = (hidden.std(0) * outgoing.norm(dim=0)).topk(ours.mlp.fc1.out_features).indices.sort().values
        lost = torch.ones(hidden.shape[1], dtype=torch.bool).index_fill_(0, kept, False)
        ours.mlp.fc1.weight.copy_(theirs.mlp.fc1.weight[kept])
        ours.mlp.fc1.bias.copy_(theirs.mlp.fc1.bias[kept])
        ours.mlp.fc2.weight.copy_(outgoing[:, kept])
        average = outgoing[:, lost] @ hidden.mean(0)[lost]
        ours.mlp.fc2.bias.copy_(theirs.mlp.fc2.bias * theirs.ls2.gamma + average)
        tokens = tokens + theirs.ls2(theirs.mlp(theirs.norm2(tokens)))


class Heads(nn.Module):
    """The student with the heads that only pretraining needs; its two forwards give losses by name."""

    def __init__(self, student: VisionTransformer) -> None:
        super().__init__()
        self.student = student
        width = student.embed_dim
        self.middle, self.late = nn.Linear(width, 384), nn.Linear(width, 384)
        self.patches = nn.Linear(width, len(ALL_SYMBOLS) + len(ALL_TEXTURES))
        self.symbol, self.texture = nn.Linear(width, len(ALL_SYMBOLS)), nn.Linear(width, len(ALL_TEXTURES))

    def distilled(self, batch: dict[str, Tensor]) -> Losses:
        """Copy the teacher's tokens, and name patches, symbol and texture."""
        student = self.student
        tokens = student._pos_embed(student.patch_embed(normalized(batch["images"])))
        tokens = student.blocks[:3](tokens)
        middle = self.middle(tokens)
        tokens = student.norm(student.blocks[3:](tokens))
        return {
            "middle": F.mse_loss(middle, batch["middle"].float()),
            "late": F.mse_loss(self.late(tokens), batch["late"].float()),
            "patches": F.cross_entropy(self.patches(tokens[:, 1:]).flatten(0, 1), batch["patches"].flatten()),
            "symbol": F.cross_entropy(self.symbol(tokens[:, 0]), batch["symbol"]),
            "texture": F.cross_entropy(self.texture(tokens[:, 0]), batch["texture"]),
        }

    def named(self, batch: dict[str, Tensor]) -> Losses:
        """Only name things; patches of the symbol weigh as much as all of the ground."""
        tokens = self.student.forward_features(normalized(batch["images"]))
        names, logits = batch["patches"].flatten(), self.patches(tokens[:, 1:]).flatten(0, 1)
        on_symbol = (names >= 0) & (names < len(ALL_SYMBOLS))
        return {
            "patches": F.cross_entropy(logits[on_symbol], names[on_symbol]),
            "ground": F.cross_entropy(logits[~on_symbol], names[~on_symbol], ignore_index=MIXED_PATCH),
            "symbol": F.cross_entropy(self.symbol(tokens[:, 0]), batch["symbol"]),
            "texture": 0.3 * F.cross_entropy(self.texture(tokens[:, 0]), batch["texture"]),
        }


def _mirrored(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    order = torch.arange(GRID * GRID).view(GRID, GRID).flip(1).flatten()
    with_class_token = torch.cat([torch.zeros(1, dtype=torch.long), order + 1])
    flipped = batch | {"images": batch["images"].flip(2), "patches": batch["patches"][:, order]}
    return flipped | {name: batch[name][:, with_class_token] for name in ("middle", "late")}


def _train(model: nn.Module, losses_of: Callable[[], Losses], steps: int, schedule: Schedule) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
    scheduler = schedule(optimizer)
    started = time.time()
    for step in range(steps):
        losses = losses_of()
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        if step % 20 == 0 or step == steps - 1:
            shown = "  ".join(f"{name} {loss.item():.3f}" for name, loss in losses.items())
            print(f"step {step} of {steps}  {shown}  {time.time() - started:.0f} s", flush=True)


def _pairs(count: int, ranges: Range, rng: np.random.Generator) -> list[tuple[int, int]]:
    symbols, textures = rng.integers(ranges.symbols, size=count), rng.integers(len(ALL_TEXTURES), size=count)
    return list(zip(symbols.tolist(), textures.tolist(), strict=True))


def distil(weights: Path, *, count: int, steps: int, seed: int) -> VisionTransformer:
    """First stage: ``count`` generic scenes, whose tokens the teacher computes once.

    The rate follows the first half of a cycle of twice the steps: the second stage goes on from a high rate.
    """
    rng = np.random.default_rng(seed)
    data = scenes(_pairs(count, GENERIC, rng), GENERIC, rng)
    data |= teacher_tokens(teacher_model(weights), data["images"])
    torch.manual_seed(seed)
    student = student_model()
    copy_first_blocks(student, teacher_model(weights), data["images"][:64])
    heads = Heads(student)
    generator = torch.Generator().manual_seed(seed)
    batches = _shuffled(count, generator)

    def losses() -> Losses:
        indices = next(batches)
        batch = {name: values[indices] for name, values in data.items()}
        return heads.distilled(_mirrored(batch) if torch.rand((), generator=generator) < 0.5 else batch)

    cycle = partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=RATE, total_steps=2 * steps, pct_start=0.1)
    _train(heads, losses, steps, cycle)
    return student


def _shuffled(count: int, generator: torch.Generator) -> Iterator[Tensor]:
    order = torch.empty(0, dtype=torch.long)
    while True:
        if len(order) < BATCH:
            order = torch.randperm(count, generator=generator)
        yield order[:BATCH]
        order = order[BATCH:]


def name_symbols(student: VisionTransformer, *, area: tuple[float, float], steps: int, seed: int) -> None:
    """Second stage: fresh scenes at every step, the benchmark's symbols on all textures alike."""
    ranges = replace(BENCHMARK, area=area)
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    heads = Heads(student)

    def losses() -> Losses:
        return heads.named(scenes(_pairs(BATCH, ranges, rng), ranges, rng))

    def factor(step: int) -> float:
        return min(1.0, (step + 1) / 20, 2 * (1 - step / steps))

    _train(heads, losses, steps, partial(torch.optim.lr_scheduler.LambdaLR, lr_lambda=factor))
