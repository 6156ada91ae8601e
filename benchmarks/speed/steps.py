"""Kinds of training steps and forward passes that ``step.py`` times: one function each, all of the same model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustvit import guided_loss, relevance
from robustvit.explanation.attention.recorded import record_forward
from robustvit.explanation.maps import image_map
from robustvit.guidance.paper_losses import confidence_loss, relevance_loss


@dataclass
class Bench:
    """A model with a batch to step on; weights and images are random, which costs the same as real ones."""

    model: nn.Module
    images: Tensor
    masks: Tensor
    labels: Tensor
    optimizer: torch.optim.Optimizer
    original: nn.Module | None = None

    @classmethod
    def of(cls, name: str, batch: int, size: int) -> Bench:
        torch.manual_seed(0)
        model = timm.create_model(name, num_classes=1000, img_size=size).train()
        images = torch.rand(batch, 3, size, size)
        masks = (torch.rand(batch, 1, size, size) > 0.5).float()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, weight_decay=1e-4)
        return cls(model, images, masks, torch.randint(0, 1000, (batch,)), optimizer)

    def step(self, loss: Tensor) -> None:
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def plain_forward(bench: Bench) -> None:
    with torch.no_grad():
        bench.model(bench.images)


def relevance_map(bench: Bench) -> None:
    with torch.no_grad():
        relevance(bench.model, bench.images, bench.labels)


def plain_step(bench: Bench) -> None:
    bench.step(F.cross_entropy(bench.model(bench.images), bench.labels))


def first_order(bench: Bench) -> None:
    bench.step(guided_loss(bench.model, bench.images, bench.masks, bench.labels).loss)


def second_order(bench: Bench) -> None:
    bench.step(guided_loss(bench.model, bench.images, bench.masks, bench.labels, second_order=True).loss)


def gradmask(bench: Bench) -> None:
    """Input gradients with a double backward; ``rrr`` costs the same."""
    bench.step(guided_loss(bench.model, bench.images, bench.masks, bench.labels, guidance="gradmask").loss)


def swap_augmentation(bench: Bench) -> None:
    bench.step(guided_loss(bench.model, bench.images, bench.masks, bench.labels, guidance="swap-augmentation").loss)


def swap_relevance(bench: Bench) -> None:
    """Swapped backgrounds, answer and map from one forward pass: ``--recipe recommended``."""
    bench.step(guided_loss(bench.model, bench.images, bench.masks, bench.labels, guidance="swap-relevance").loss)


def _stored_maps(bench: Bench, second: bool) -> None:
    forward = record_forward(bench.model, bench.images)
    explained = forward.logits.gather(1, bench.labels[:, None]).sum()
    gradients = torch.autograd.grad(explained, forward.attentions, create_graph=second, retain_graph=True)
    row = torch.zeros(len(bench.labels), 1, forward.attentions[0].shape[-1])
    row[:, :, 0] = 1
    for attention, gradient in zip(reversed(forward.attentions), reversed(gradients), strict=True):
        row = row + row @ (gradient * attention).clamp(min=0).mean(dim=1)
    maps = image_map(forward.layout.patch_map(row[:, 0], bench.images), bench.images.shape[-2:])
    bench.step(0.8 * relevance_loss(maps, bench.masks) + 0.2 * confidence_loss(forward.logits))


def stored_first(bench: Bench) -> None:
    """One forward, every map and its gradient kept in the graph: the simplest right implementation."""
    _stored_maps(bench, False)


def stored_second(bench: Bench) -> None:
    _stored_maps(bench, True)


def authors(bench: Bench) -> None:
    """A step with the cost structure of the authors' released scripts, written anew from their description.

    Attention in the open, two forward passes (one for the map, one for the output), one gradient call per block,
    N x N matrices propagated from the first block, and a forward pass of the original model.
    """
    if bench.original is None:
        bench.original = timm.create_model(
            bench.model.default_cfg["architecture"], num_classes=1000, img_size=bench.images.shape[-2:]
        ).eval()
    forward = record_forward(bench.model, bench.images)
    explained = forward.logits.gather(1, bench.labels[:, None]).sum()
    tokens = forward.attentions[0].shape[-1]
    product = torch.eye(tokens).expand(len(bench.labels), tokens, tokens)
    for attention in forward.attentions:
        (gradient,) = torch.autograd.grad(explained, attention, retain_graph=True)
        product = product + (gradient * attention).clamp(min=0).mean(dim=1) @ product
    maps = image_map(forward.layout.patch_map(product[:, 0], bench.images), bench.images.shape[-2:])
    logits = record_forward(bench.model, bench.images).logits
    with torch.no_grad():
        record_forward(bench.original, bench.images)
    bench.step(0.8 * relevance_loss(maps, bench.masks) + 0.2 * confidence_loss(logits))


STEPS: dict[str, Callable[[Bench], None]] = {
    "plain forward": plain_forward,
    "relevance map": relevance_map,
    "plain step": plain_step,
    "first order": first_order,
    "second order": second_order,
    "gradmask": gradmask,
    "swap-augmentation": swap_augmentation,
    "swap-relevance": swap_relevance,
    "first order, maps stored": stored_first,
    "second order, maps stored": stored_second,
    "authors' cost structure": authors,
}
