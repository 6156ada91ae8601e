"""The library that a network's class comes from, and its channels; no library is imported to find out."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from torch import nn


def made_by(network: nn.Module, library: str) -> bool:
    """Whether a network's class, or a module class that it derives from, belongs to a library."""
    return any(
        kind.__module__.split(".")[0] == library for kind in type(network).__mro__ if issubclass(kind, nn.Module)
    )


def channels_of(network: nn.Module) -> int:
    """Return the channels of the images that a network's first convolution takes; 3 if it does not tell."""
    first = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    unlike = first is None or first.groups > 1 or first.in_channels == 12  # patches of 2 x 2 pixels as channels
    return 3 if first is None or unlike else first.in_channels


def is_timm(network: nn.Module) -> bool:
    """Whether a network is a model that timm built by name, not a layer of timm."""
    return made_by(network, "timm") and bool(getattr(network, "pretrained_cfg", None))


def is_transformers(network: nn.Module) -> bool:
    """Whether a network is a model of transformers."""
    return any(
        kind.__name__ == "PreTrainedModel" and kind.__module__.startswith("transformers.")
        for kind in type(network).__mro__
    )


def is_torchvision(network: nn.Module) -> bool:
    """Whether a network is a classifier of torchvision, not a layer of it."""
    return any(
        kind.__module__.startswith("torchvision.models.") and "num_classes" in inspect.signature(kind).parameters
        for kind in type(network).__mro__
    )


def is_open_clip(network: nn.Module) -> bool:
    """Whether a network is an image tower of open_clip that records its preprocessing."""
    return bool(getattr(network, "preprocess_cfg", None)) and hasattr(network, "forward")


def is_known(network: nn.Module) -> bool:
    """Whether a network itself is of a known library, not a module around such a network."""
    return any(is_one(network) for is_one in (is_transformers, is_torchvision, is_timm, is_open_clip))


def find_inside(network: nn.Module) -> Iterator[nn.Module]:
    """Yield the outermost networks of known libraries inside a network, or the network itself."""
    if is_known(network):
        yield network
        return
    for child in network.children():
        yield from find_inside(child)
