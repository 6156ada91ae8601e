"""The head of a network: its module, its number of classes, and a description to rebuild it from."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from robustvit.common.errors import UserError
from robustvit.models.kinds import is_torchvision, is_transformers, made_by

_PLACES = ("classifier", "cls_classifier", "heads", "head", "fc")
# Layers that a custom head may consist of, each with the settings that rebuild it.
_LAYERS: dict[str, tuple[str, ...]] = {
    "Linear": ("in_features", "out_features"),
    "Dropout": ("p",),
    "LayerNorm": ("normalized_shape", "eps", "elementwise_affine"),
    "BatchNorm1d": ("num_features", "eps", "momentum", "affine", "track_running_stats"),
    "LeakyReLU": ("negative_slope",),
    "GELU": ("approximate",),
    "Flatten": ("start_dim", "end_dim"),
    **dict.fromkeys(("Identity", "ReLU", "Tanh", "Sigmoid", "SiLU", "Hardswish"), ()),
}


def head_of(network: Any) -> nn.Module | None:
    """Return the module that holds a network's head, or None; the first of two heads."""
    if is_transformers(network) or is_torchvision(network):
        found = (getattr(network, place, None) for place in _PLACES)
        return next((one for one in found if isinstance(one, nn.Module)), None)
    if not made_by(network, "timm") or not hasattr(network, "get_classifier"):
        return None
    try:
        head = network.get_classifier()
    except AttributeError:  # its head was replaced by one without the parts of timm's
        head = getattr(network, "head", None)
    head = head[0] if isinstance(head, (tuple, list, nn.ModuleList)) and len(head) else head
    return head if isinstance(head, nn.Module) else None


def replace_head(network: nn.Module, head: nn.Module) -> None:
    """Replace the head of a network."""
    old = head_of(network)
    name = next((name for name, module in network.named_modules() if module is old), None)
    if name is None:
        raise UserError(f"{type(network).__name__} has no place for a head")
    network.set_submodule(name, head)


def classes_of(network: nn.Module) -> int:
    """Return the number of logits: of the head, else by the network's attribute or its last linear layer."""
    head = head_of(network)
    linear = last_linear(network if head is None else head)
    if head is not None and linear is not None:
        return linear.out_features  # ``num_classes`` is outdated if the head was replaced
    if isinstance(head, nn.Identity):
        return 0
    said = getattr(network, "num_classes", None)
    if said is None:
        said = getattr(getattr(network, "config", None), "num_labels", None)
    if said is None and linear is None:
        raise UserError(f"cannot tell how many classes {type(network).__name__} has: set its attribute num_classes")
    return int(linear.out_features if said is None else said)  # type: ignore[union-attr]


def last_linear(module: nn.Module) -> nn.Linear | None:
    """Return the last linear layer in a module, or None."""
    return next((one for one in reversed([*module.modules()]) if isinstance(one, nn.Linear)), None)


def describe_head(head: nn.Module) -> list[list[Any]] | None:
    """Return the layers of a head as name, kind and settings, or None if a layer is not among ``_LAYERS``."""
    layers = dict(head.named_children()) if isinstance(head, nn.Sequential) else {"": head}
    for layer in layers.values():
        if not type(layer).__module__.startswith("torch.nn.") or type(layer).__name__ not in _LAYERS:
            return None
    return [[name, type(layer).__name__, _settings(layer)] for name, layer in layers.items()]


def _settings(layer: nn.Module) -> dict[str, Any]:
    found = {name: getattr(layer, name) for name in _LAYERS[type(layer).__name__]}
    if isinstance(layer, (nn.Linear, nn.LayerNorm)):
        found["bias"] = layer.bias is not None
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def build_head(described: Sequence[Sequence[Any]]) -> nn.Module:
    """Build the head that ``describe_head`` described."""
    layers = OrderedDict((str(name), _build_layer(str(kind), dict(settings))) for name, kind, settings in described)
    return layers[""] if list(layers) == [""] else nn.Sequential(layers)


def _build_layer(kind: str, settings: dict[str, Any]) -> nn.Module:
    if kind not in _LAYERS:
        raise UserError(f"expected layers of a head among {', '.join(_LAYERS)}, got {kind!r:.60}")
    made: nn.Module = getattr(nn, kind)(**settings)
    return made


def describe_changed_head(network: nn.Module, build: Callable[[], nn.Module]) -> list[list[Any]] | None:
    """Return the description of a head that a library would not build, or None if it builds the same.

    ``build`` builds such a network anew; it is called on the meta device.
    """
    head = head_of(network)
    if head is None:
        return None
    with torch.device("meta"):
        usual = head_of(build())
    if usual is not None and {*usual.state_dict()} == {*head.state_dict()}:
        return None
    return describe_head(head)


def count_head_classes(state: Mapping[str, Tensor]) -> int | None:
    """Return the number of classes of the head in a state dict of any library, or None if it has no such layer."""
    found: dict[str, list[tuple[int, int]]] = {}
    for name, tensor in state.items():
        for place in ("heads.head", *_PLACES):
            before, met, after = name.rpartition(f"{place}.")
            number = after.removesuffix(".weight").removesuffix("weight")
            if met and tensor.ndim == 2 and after.endswith("weight") and (number.isdigit() or not number):
                if not before or before.endswith("."):
                    found.setdefault(before, []).append((int(number or 0), tensor.shape[0]))
                break
    shares = {before: sum(name.startswith(before) for name in state) for before in found}
    counts = {max(found[before])[1] for before, share in shares.items() if share == max(shares.values())}
    return counts.pop() if len(counts) == 1 else None
