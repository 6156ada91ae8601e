"""One forward pass of a network that somebody built: what its parts receive, and what comes out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustvit.common.errors import UserError
from robustvit.models.outputs import has_two_heads, logits_of
from robustvit.models.preprocessing import Preprocessing


@dataclass(frozen=True)
class ModuleCall:
    """One call of a module: what it received and what it returned."""

    module: nn.Module
    received: tuple[Tensor, ...]
    returned: object


@dataclass(frozen=True)
class ForwardPass:
    """A forward pass on noise.

    Attributes:
        images: what the network received, ``(B, C, H, W)`` with 3 channels, or 1 if it takes grey images.
        logits: what it returned.
        calls: of the modules inside, in the order in which they ended.
    """

    images: Tensor
    logits: Tensor
    calls: tuple[ModuleCall, ...]

    def received_by(self, part: nn.Module) -> Tensor | None:
        """Return the images that first reach a part of the network, whichever of its modules is called."""
        inside = set(part.modules())
        images = (one for call in self.calls if call.module in inside for one in call.received if one.ndim == 4)
        return next(images, None)


def run_on_noise(network: nn.Module, preprocessing: Preprocessing) -> ForwardPass:
    """Run a network once on two images of noise, in evaluation mode; nothing of it changes."""
    weights = next((one for one in network.parameters() if one.is_floating_point()), torch.empty(0))
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(2, preprocessing.channels, *preprocessing.input_size, generator=generator)
    mean, std = (torch.tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
    images = ((noise - mean) / std).to(weights.device, weights.dtype).requires_grad_()
    name = type(network).__name__
    calls: list[ModuleCall] = []
    with _watched(network, calls), torch.enable_grad(), torch.random.fork_rng(devices=[]):
        try:
            output = network(images)
        except UserError:
            raise
        except Exception as error:
            raise UserError(_explain(network, images, error)) from error
    logits = logits_of(output, distilled=has_two_heads(network))
    if not logits.requires_grad or _gradient(logits.sum(), images) is None:
        raise UserError(
            f"{name} lets no gradient through to its images, so nothing can be explained: its forward runs under "
            "torch.no_grad or detaches; freeze weights with requires_grad_(False) instead"
        )
    return ForwardPass(images, logits, tuple(calls))


def _gradient(value: Tensor, images: Tensor) -> Tensor | None:
    return torch.autograd.grad(value, images, retain_graph=True, allow_unused=True)[0]


@contextmanager
def _watched(network: nn.Module, calls: list[ModuleCall]) -> Iterator[None]:
    """Record every call of a module, in evaluation mode."""

    def record(module: nn.Module, arguments: tuple[object, ...], named: dict[str, object], output: object) -> None:
        tensors = tuple(one for one in (*arguments, *named.values()) if isinstance(one, Tensor))
        calls.append(ModuleCall(module, tensors, output))

    modes = [(module, module.training) for module in network.modules()]
    hooks = [module.register_forward_hook(record, with_kwargs=True) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes:
            module.training = mode


def _explain(network: nn.Module, images: Tensor, error: Exception) -> str:
    """Return one line that says why a forward pass failed."""
    name, size = type(network).__name__, f"{images.shape[2]} x {images.shape[3]}"
    first = next((one for one in network.modules() if isinstance(one, nn.Conv2d)), None)
    if first is not None and first.in_channels not in (1, 3):
        return describe_channels(network, first.in_channels)
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return (
        f"{name} fails on images of {images.shape[1]} x {size} pixels ({reason:.200}): give the size it takes with "
        "--input-size (in Python: preprocessing={'input_size': ...})"
    )


def describe_channels(network: nn.Module, channels: int) -> str:
    """Return the line that refuses a network of other than one or three channels."""
    return (
        f"{type(network).__name__} takes images of {channels} channels, photos have 3 (or 1, grey): give a model of 3 "
        "channels or of 1, or a module that converts them"
    )
