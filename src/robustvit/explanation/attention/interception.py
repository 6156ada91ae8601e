"""Interception of attention: inside a ``with`` block, every fused attention call goes to another function.

Works for any model that calls ``scaled_dot_product_attention`` or ``nn.MultiheadAttention``; its classes are not
changed. Shape legend: B images, H heads, N queries, M keys, D channels of a head.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from robustvit.common.errors import UserError
from robustvit.explanation.attention.gelu import twice_differentiable_gelu

Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None, float], Tensor]
_MULTI_HEAD = inspect.signature(F.multi_head_attention_forward)


class Interception(TorchFunctionMode):
    """Pass every attention call to ``attend(query, key, value, bias, scale)``.

    Queries are ``(B, H, N, D)``, keys and values ``(B, H, M, D)``; ``bias`` is added to the scores before the softmax,
    ``-inf`` where a mask hides a key. Dropout is left out: a map with holes is not the map of the model in use. With
    ``twice``, activations are used whose backward pass is cheap to differentiate.
    """

    def __init__(self, attend: Attend, twice: bool = False) -> None:
        super().__init__()
        self.attend, self.twice = attend, twice
        self.linear: Callable[..., Tensor] = F.linear

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            return self._attend(*args, **(kwargs or {}))
        if func is F.multi_head_attention_forward:
            call = _MULTI_HEAD.bind(*args, **(kwargs or {}))
            if call.arguments["query"] is call.arguments["key"]:  # else a pooling head: its query is not a token
                return self._multi_head(call)
        if func is F.gelu and self.twice:
            return twice_differentiable_gelu(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
        **_: object,
    ) -> Tensor:
        if is_causal:
            raise UserError("expected attention over the whole image, got causal attention: give the image tower alone")
        if enable_gqa:
            key, value = (x.repeat_interleave(query.shape[-3] // x.shape[-3], dim=-3) for x in (key, value))
        if torch.is_autocast_enabled(query.device.type):
            lower = torch.get_autocast_dtype(query.device.type)
            query, key, value = (x.to(lower) for x in (query, key, value))
        bias = attn_mask
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            bias = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill(~attn_mask, -math.inf)
        return self.attend(query, key, value, bias, 1 / math.sqrt(query.shape[-1]) if scale is None else scale)

    def _multi_head(self, call: inspect.BoundArguments) -> tuple[Tensor, Tensor | None]:
        """Return what ``nn.MultiheadAttention`` returns; its fast path cannot be intercepted."""
        call.apply_defaults()
        given = call.arguments
        tokens = given["query"]
        odd = ("bias_k", "bias_v", "add_zero_attn", "key_padding_mask", "use_separate_proj_weight")
        used = [name for name in odd if given[name] is not None and given[name] is not False]
        if tokens is not given["value"] or tokens.ndim != 3 or used:
            raise UserError("expected nn.MultiheadAttention as plain self-attention of tokens, got another use of it")
        heads, attn_mask = given["num_heads"], given["attn_mask"]
        if attn_mask is not None and attn_mask.ndim == 3:
            attn_mask = attn_mask.unflatten(0, (-1, heads))
        projected = self.linear(tokens, given["in_proj_weight"], given["in_proj_bias"])
        # (N, B, 3 H D) -> three times (B, H, N, D)
        query, key, value = projected.unflatten(2, (3, heads, -1)).permute(2, 1, 3, 0, 4)
        attended = self._attend(query, key, value, attn_mask, is_causal=given["is_causal"] and attn_mask is None)
        output = self.linear(attended.permute(2, 0, 1, 3).flatten(2), given["out_proj_weight"], given["out_proj_bias"])
        return output, None


class ConstantWeights(TorchFunctionMode):
    """Let no gradient reach the weights, so that nothing is stored or computed for them.

    The parameters' own flags stay as they are, so other threads may train the same model meanwhile.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") in ("__get__", "detach"):
            return func(*args, **(kwargs or {}))
        return func(*map(_constant, args), **{name: _constant(value) for name, value in (kwargs or {}).items()})


@contextmanager
def gradients_for_maps(differentiable: bool) -> Iterator[None]:
    """Enable gradients, which maps need, whatever the caller has set; for weights only if the map is differentiable."""
    with torch.inference_mode(False), torch.enable_grad(), nullcontext() if differentiable else ConstantWeights():
        yield


def leave_inference(*tensors: Tensor | None) -> list[Any]:
    """Return tensors that autograd can use: copies of those that were made in inference mode."""
    return [x.clone() if x is not None and x.is_inference() else x for x in tensors]


def _constant(value: object) -> object:
    if isinstance(value, nn.Parameter):
        return value.detach()
    return [_constant(x) for x in value] if isinstance(value, list) else value


@contextmanager
def ready_for_interception(model: nn.Module) -> Iterator[None]:
    """Let a model use fused attention, without patch dropout or gradient checkpointing, in a ``with`` block.

    Compiled models run uncompiled, since compiled attention cannot be intercepted. Everything is restored at the end,
    also after an error. timm reads ``fused_attn`` of each attention layer, transformers its configuration; dropped
    tokens would shift the map, and blocks that run twice would be recorded twice.
    """
    wanted: list[tuple[object, str, Any]] = []
    compiled = False
    for module in model.modules():
        compiled |= hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None
        if type(module).__name__ == "PatchDropout":
            wanted.append((module, "training", False))
        wanted += [(module, "fused_attn", True)] if hasattr(module, "fused_attn") else []
        for name in ("grad_checkpointing", "gradient_checkpointing"):
            wanted += [(module, name, False)] if getattr(module, name, False) is True else []
        config = getattr(module, "config", None)
        if getattr(config, "_attn_implementation", "sdpa") not in ("sdpa", None):
            wanted.append((config, "_attn_implementation", "sdpa"))
    with ExitStack() as restoring:
        for owner, name, new in wanted:
            if (old := getattr(owner, name)) != new:
                restoring.callback(setattr, owner, name, old)
                setattr(owner, name, new)
        if compiled:
            restoring.enter_context(torch.compiler.set_stance("force_eager"))
        yield
