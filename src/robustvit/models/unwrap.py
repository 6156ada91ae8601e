"""Taking off the wrappers of a network: compiled, parallel, averaged and adapted modules, and other number types."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

from robustvit.common.errors import UserError
from robustvit.common.progress import warn
from robustvit.models.adapters import is_adapted, merge
from robustvit.models.quantised import refuse_quantised_network

# Classes that only hold a network, by name, with the attribute that holds it.
WRAPPERS: dict[str, str] = {
    "torch._dynamo.eval_frame.OptimizedModule": "_orig_mod",
    "torch.nn.parallel.data_parallel.DataParallel": "module",
    "torch.nn.parallel.distributed.DistributedDataParallel": "module",
    "torch.optim.swa_utils.AveragedModel": "module",
    "timm.utils.model_ema.ModelEma": "ema",
    "timm.utils.model_ema.ModelEmaV2": "module",
    "timm.utils.model_ema.ModelEmaV3": "module",
    "lightning.fabric.wrappers._FabricModule": "_original_module",
    "lightning_fabric.wrappers._FabricModule": "_original_module",
    "deepspeed.runtime.engine.DeepSpeedEngine": "module",
}
_HALVES = (torch.float16, torch.bfloat16)
Module = TypeVar("Module", bound=nn.Module)


def unwrap(network: nn.Module) -> nn.Module:
    """Return a network in float32 without its wrappers, also those of its parts.

    The given module does not change: weights are shared, or copied if an adapter (LoRA) is merged into them or they are
    converted to float32.
    """
    refuse_quantised_network(network)
    plain = _take_off(network)
    if any(_find_wrapped(module) or _is_compiled(module) or is_adapted(module) for module in plain.modules()):
        plain = _rebuild(plain, {})
    if any(parameter.is_meta for parameter in plain.parameters()):
        raise UserError(f"{type(plain).__name__} has weights on the meta device, which hold no values: load them first")
    if any(weight.dtype in _HALVES for weight in plain.parameters()):
        types = sorted({str(weight.dtype).removeprefix("torch.") for weight in plain.parameters()})
        warn(f"{type(plain).__name__} holds weights in {', '.join(types)}: a copy in float32 is used")
        plain = copy.deepcopy(plain).float()
    return plain


def _find_wrapped(module: nn.Module) -> nn.Module | None:
    """Return the network in a wrapper, or None if a module is not a wrapper."""
    for kind in type(module).__mro__:
        attribute = WRAPPERS.get(f"{kind.__module__}.{kind.__qualname__}")
        inner = getattr(module, attribute, None) if attribute else None
        if isinstance(inner, nn.Module):
            return inner
    return None


def _is_compiled(module: nn.Module) -> bool:
    """Whether a module was compiled in place, by its method ``compile``."""
    return getattr(module, "_compiled_call_impl", None) is not None


def _take_off(module: nn.Module) -> nn.Module:
    """Return a module without the wrappers around it; the wrappers of its parts stay."""
    while (inner := _merge_adapter(module) if is_adapted(module) else _find_wrapped(module)) is not None:
        module = inner
    if _is_compiled(module):
        module = copy_shallow(module)
        module._compiled_call_impl = None
    return module


def _merge_adapter(module: nn.Module) -> nn.Module:
    merged = merge(copy.deepcopy(module))
    warn(f"{type(module).__name__}: its adapter is merged into a copy of the weights")
    return merged


def copy_shallow(module: Module) -> Module:
    """Return a module with the same weights whose submodules can be exchanged."""
    other = copy.copy(module)
    other._modules = dict(module._modules)
    return other


def _rebuild(module: nn.Module, done: dict[nn.Module, nn.Module]) -> nn.Module:
    """Take the wrappers off a module and all of its parts; a part that occurs twice stays a single part."""
    if module not in done:
        other = done[module] = copy_shallow(_take_off(module))
        for name, child in other._modules.items():
            if child is not None:
                other._modules[name] = _rebuild(child, done)
    return done[module]
