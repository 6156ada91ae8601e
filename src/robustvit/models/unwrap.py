"""Taking off what wraps a network: compiled, parallel, averaged and adapted modules, and other number types."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from robustvit.common.errors import UserError
from robustvit.common.progress import warn
from robustvit.models.adapters import is_adapted, merge
from robustvit.models.quantised import refuse_quantised_network

# Classes that only hold a network, by name, with the attribute that it lies in.
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


def unwrap(network: nn.Module) -> nn.Module:
    """Return the network inside its wrappers, also where they wrap a part of it, in float32.

    Nothing of what is given changes: weights are shared where they need not change, and copied where an adapter (LoRA)
    is merged into them or they are converted to float32.
    """
    refuse_quantised_network(network)
    found = _take_off(network)
    if any(_wrapped(module) or _is_compiled(module) or is_adapted(module) for module in found.modules()):
        found = _rebuild(found, _take_off, {})
    if any(parameter.is_meta for parameter in found.parameters()):
        raise UserError(f"{type(found).__name__} has weights on the meta device, which hold no values: load them first")
    if any(weight.dtype in _HALVES for weight in found.parameters()):
        types = sorted({str(weight.dtype).removeprefix("torch.") for weight in found.parameters()})
        warn(f"{type(found).__name__} holds weights in {', '.join(types)}: a copy in float32 is used")
        found = copy.deepcopy(found).float()
    return found


def _wrapped(module: nn.Module) -> nn.Module | None:
    """Return what a wrapper holds, or None if a module is not a wrapper."""
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
    while True:
        inner = _merged(module) if is_adapted(module) else _wrapped(module)
        if inner is None:
            return _not_compiled(module) if _is_compiled(module) else module
        module = inner


def _merged(module: nn.Module) -> nn.Module:
    merged = merge(copy.deepcopy(module))
    warn(f"{type(module).__name__}: its adapter is merged into a copy of the weights")
    return merged


def _not_compiled(module: nn.Module) -> nn.Module:
    plain = _shallow(module)
    plain._compiled_call_impl = None
    return plain


def _shallow(module: nn.Module) -> nn.Module:
    """Return a module with the same weights whose submodules can be exchanged."""
    other = copy.copy(module)
    other._modules = dict(module._modules)
    return other


def _rebuild(
    module: nn.Module, change: Callable[[nn.Module], nn.Module], done: dict[nn.Module, nn.Module]
) -> nn.Module:
    """Return a module with every part changed; parts that occur twice stay one."""
    if module not in done:
        other = done[module] = _shallow(change(module))
        for name, child in other._modules.items():
            if child is not None:
                other._modules[name] = _rebuild(child, change, done)
    return done[module]
