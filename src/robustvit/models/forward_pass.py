"""One forward pass of a network: what its parts receive, what it returns, and which tokens its head reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from robustvit.common.errors import UserError
from robustvit.models.families import Layout, Readout, find_layout
from robustvit.models.outputs import has_two_heads, logits_of
from robustvit.models.preprocessing import Preprocessing

_OF_ALL: tuple[Readout, ...] = ("tokens", "class+patches", "pool")


@dataclass(frozen=True)
class ModuleCall:
    """A call of a module: what it received and what it returned."""

    module: nn.Module
    received: tuple[Tensor, ...]
    returned: object


@dataclass(frozen=True)
class ForwardPass:
    """A forward pass on noise ``(B, C, H, W)``, with the calls of its modules in the order in which they ended."""

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
    with _record_calls(network) as calls, torch.enable_grad(), torch.random.fork_rng(devices=[]):
        try:
            output = network(images)
        except UserError:
            raise
        except Exception as error:
            raise UserError(_explain(network, images, error)) from error
    logits = logits_of(output, distilled=has_two_heads(network))
    if not logits.requires_grad or _differentiate(logits.sum(), images) is None:
        raise UserError(
            f"{name} lets no gradient through to its images, so nothing can be explained: its forward runs under "
            "torch.no_grad or detaches; freeze weights with requires_grad_(False) instead"
        )
    return ForwardPass(images, logits, tuple(calls))


def _differentiate(value: Tensor, inside: Tensor) -> Tensor | None:
    return torch.autograd.grad(value, inside, retain_graph=True, allow_unused=True)[0]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode inside a ``with`` block; each module's mode is restored at the end."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _record_calls(network: nn.Module) -> Iterator[list[ModuleCall]]:
    """Record every call of a module, in evaluation mode."""
    calls: list[ModuleCall] = []

    def record(module: nn.Module, arguments: tuple[object, ...], named: dict[str, object], output: object) -> None:
        tensors = tuple(one for one in (*arguments, *named.values()) if isinstance(one, Tensor))
        calls.append(ModuleCall(module, tensors, output))

    with evaluating(network), ExitStack() as hooks:
        for module in network.modules():
            hooks.enter_context(module.register_forward_hook(record, with_kwargs=True))
        yield calls


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


def measure_readout(network: nn.Module, seen: ForwardPass) -> Readout | Literal["unclear"] | None:
    """Return the tokens of the last block that the logits of a forward pass depend on, measured by their gradient.

    None if the network holds no vision transformer of a known family, or its logits depend on nothing yet; ``unclear``
    if they depend on tokens in a way that does not tell how much each counts.
    """
    try:
        layout = find_layout(network, headless=True)
    except UserError:
        return None
    tokens = next((call.returned for call in reversed(seen.calls) if call.module is layout.blocks[-1]), None)
    tokens = tokens[0] if isinstance(tokens, tuple) else tokens
    if not isinstance(tokens, Tensor) or tokens.ndim != 3:
        return None
    read = _find_tokens_read(tokens, seen)
    return _name_readout(read, layout) if read.any() else None  # a head of zeros reads nothing yet


def _find_tokens_read(tokens: Tensor, seen: ForwardPass) -> Tensor:
    """Return which tokens the logits depend on, ``(N,)`` bool."""
    weights = torch.linspace(1, 2, seen.logits.shape[1], dtype=seen.logits.dtype, device=seen.logits.device)
    gradient = _differentiate((seen.logits * weights).sum(), tokens)
    if gradient is None:
        return torch.zeros(tokens.shape[1], dtype=torch.bool)
    if len(gradient) != len(seen.images):  # some run tokens first
        gradient = gradient.transpose(0, 1)
    return gradient.abs().amax(dim=(0, 2)) > 0


def _name_readout(read: Tensor, layout: Layout) -> Readout | Literal["unclear"]:
    where = set(read.nonzero().flatten().tolist())
    prefix, patches = layout.prefix_tokens, set(range(layout.prefix_tokens, len(read)))
    if prefix and where == {0}:
        return "class"
    if prefix > 1 and where == {0, 1}:
        return "distilled"
    if where == patches:
        return "pool" if layout.readout == "pool" else "patches"
    if prefix > 1 and where == {0} | patches:
        return "class+patches"
    return layout.readout if len(where) == len(read) and layout.readout in _OF_ALL else "unclear"
