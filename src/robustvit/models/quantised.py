"""Quantised weights, which cannot be finetuned: recognised in files, settings and modules, and refused."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from robustvit.common.errors import UserError

# Entries that quantisation adds to weights, or replaces them with: GPTQ and AWQ, bitsandbytes, and PyTorch.
_ENTRIES = re.compile(
    r"\.(qweight|qzeros|g_idx|SCB|weight_format|absmax|quant_map|nested_absmax|nested_quant_map|_packed_params"
    r"|weight_packed|weight_scale|weight_zero_point|weight_scale_inv)(\.|$)|\.quant_state\.|_qdata$"
)
_MODULES = ("bitsandbytes", "auto_gptq", "gptqmodel", "awq", "torchao", "optimum", "hqq", "eetq")
_NARROW = {torch.int8, torch.uint8, torch.float8_e4m3fn, torch.float8_e5m2, torch.qint8, torch.quint8, torch.qint32}
_WAY_OUT = (
    "finetuning needs the weights that it was made from, in float32, bfloat16 or float16: load those, and quantise the "
    "finetuned model afterwards"
)


def refuse_quantised_state(state: Mapping[str, Tensor], origin: object) -> None:
    """Refuse a state dict with quantised weights."""
    for name, weight in state.items():
        narrow = (weight.dtype in _NARROW or weight.is_quantized) and re.search(r"(^|[._])weight", name)
        if _ENTRIES.search(name) or narrow:
            kind = str(weight.dtype).removeprefix("torch.")
            raise UserError(f"{origin} holds quantised weights ({name}, {kind}): {_WAY_OUT}")


def refuse_quantised_settings(settings: Mapping[str, object], origin: object) -> None:
    """Refuse a model whose ``config.json`` says that its weights are quantised."""
    found = settings.get("quantization_config")
    if found:
        method = found.get("quant_method") if isinstance(found, Mapping) else getattr(found, "quant_method", None)
        raise UserError(
            f"{origin} is quantised ({getattr(method, 'value', method) or 'quantization_config'}): {_WAY_OUT}"
        )


def refuse_quantised_network(network: nn.Module) -> None:
    """Refuse a module with quantised layers or weights."""
    for module in network.modules():
        kind = type(module)
        if kind.__module__.split(".")[0] in _MODULES or kind.__module__.startswith("torch.ao.nn.quantized"):
            raise UserError(
                f"{type(network).__name__} is quantised (its {kind.__module__}.{kind.__name__}): {_WAY_OUT}"
            )
    for name, weight in network.named_parameters():
        holder = type(weight.data)
        if weight.dtype in _NARROW or holder.__module__.split(".")[0] in _MODULES:
            said = f"{name} is {holder.__name__}, {weight.dtype}"
            raise UserError(f"{type(network).__name__} is quantised ({said}): {_WAY_OUT}")
