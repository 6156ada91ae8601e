"""A long run stays flat: memory, tensors, hooks and open files do not grow with the steps."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from helpers.small_models import tiny_network
from robustvit.guidance.registry import guided_loss

STEPS, WARM = 2000, 200


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def hooks(network: nn.Module) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in network.modules() for kind in kinds) + sum(
        len(parameter._backward_hooks or ()) for parameter in network.parameters()
    )


def census(network: nn.Module) -> dict[str, int]:
    """What must not grow. A graph is held by a tensor, so graphs are counted as tensors that have a history."""
    gc.collect()
    tensors = [one for one in gc.get_objects() if isinstance(one, Tensor)]
    return {
        "hooks": hooks(network),
        "tensors": len(tensors),
        "graphs": sum(one.grad_fn is not None for one in tensors),
        "files": len(list(Path("/proc/self/fd").iterdir())),
    }


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="reads the process's memory the Linux way")
def test_two_thousand_guided_steps_stay_flat():
    network = tiny_network(img_size=32, depth=1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(8, 3, 32, 32, generator=generator)
    masks = (torch.rand(8, 1, 32, 32, generator=generator) > 0.5).float()
    labels = torch.arange(8) % 3
    warm, memory = {}, 0
    for step in range(STEPS):
        chosen = torch.randperm(8, generator=generator)[:2]
        options = {"second_order": bool(step % 2)}  # first and second order in turn
        guided = guided_loss(network, images[chosen], masks[chosen], labels[chosen], **options)
        guided.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        del guided
        if step + 1 == WARM:
            warm, memory = census(network), resident()
    assert census(network) == warm
    assert resident() < 1.02 * memory
    assert all(torch.isfinite(parameter).all() for parameter in network.parameters())
