"""AttnLRP: layer-wise relevance propagation through a transformer's attention, layer norms and activations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from robustvit.common.errors import UserError
from robustvit.explanation.attention.interception import Interception, ready_for_interception
from robustvit.explanation.methods.lrp_rules import RULED, LrpState, Rules
from robustvit.explanation.methods.trace import (
    Explain,
    Trace,
    catch_tokens,
    check_tokens,
    require_gradient,
    sum_target_logits,
)
from robustvit.models.classifier import logits_of
from robustvit.models.families import find_layout


def attnlrp(model: nn.Module, images: Tensor, second_order: bool = False, *, gamma: float = 0.0) -> Trace:
    """AttnLRP (Achtibat et al., ICML 2024, arXiv 2402.05602), written from the paper.

    The relevance of the patch tokens that enter the first block, negative ones cut at 0. Linear layers follow the
    epsilon rule with epsilon 0, softmax its own derivative, matrix products give each factor one half, activations
    and the division in a layer norm the identity rule. The derivative in the weights is exact, so a differentiable
    map is always of second order and ``second_order`` has no effect.

    With ``gamma`` above 0 linear layers follow the gamma rule instead (``Rules.linear``), by which the authors make the
    maps of vision transformers less noisy. They then take five products instead of one. The authors' library passes no
    relevance through the attention weights of a vision transformer (CP-LRP), to tune gamma more easily; here they keep
    AttnLRP's rule, with gamma too.

    Its authors say that layer-wise relevance propagation is patented, and free for personal and scientific use: ask
    them before commercial use.
    """
    logits, signed = signed_relevance(model, images, gamma=gamma)
    layout = find_layout(model)

    def explain(target: Tensor, differentiable: bool) -> Tensor:
        return layout.patch_map(signed(target, differentiable).clamp(min=0), images)

    return Trace(logits, explain)


def signed_relevance(model: nn.Module, images: Tensor, block: int = 0, *, gamma: float = 0.0) -> tuple[Tensor, Explain]:
    """Return the logits, and a function for the signed relevance ``(B, N)`` of all tokens that enter a block."""
    layout = find_layout(model)
    state = LrpState()
    mode = _RuledForward(Rules(state, gamma), model)
    with (
        ready_for_interception(model),
        catch_tokens(layout.blocks[block]) as caught,
        mode.from_block(layout.blocks[0]),
    ):
        logits = logits_of(model(require_gradient(model, images)))
    tokens = check_tokens(caught, layout, images)

    def signed(target: Tensor, differentiable: bool) -> Tensor:
        with state.explain():
            explained = sum_target_logits(model, logits, target)
            (gradient,) = torch.autograd.grad(explained, tokens, create_graph=differentiable)
        shares = (tokens if differentiable else tokens.detach()) * gradient
        return shares.sum(dim=-1, dtype=torch.promote_types(shares.dtype, torch.float32))

    return logits, signed


# Linear in every activation among their arguments.
_LINEAR = frozenset(
    {
        *("linear", "conv2d", "add", "add_", "__add__", "__radd__", "sub", "__sub__", "neg", "mean", "sum", "dropout"),
        *("cat", "stack", "chunk", "split", "unbind", "__getitem__", "index_select", "narrow", "select", "scatter"),
        *("reshape", "view", "permute", "transpose", "flatten", "unflatten", "expand", "expand_as", "squeeze", "pad"),
        *("unsqueeze", "contiguous", "clone", "movedim", "swapaxes", "roll", "flip", "repeat", "repeat_interleave"),
        *("to", "float", "type_as", "dim", "size", "__get__", "detach", "new_empty", "new_ones", "new_zeros"),
        *("_assert", "is_floating_point", "scaled_dot_product_attention", "multi_head_attention_forward"),
    }
)
# Linear where only one factor depends on the image.
_PRODUCTS = frozenset({"mul", "mul_", "__mul__", "__rmul__", "matmul", "__matmul__", "bmm", "addcmul", "einsum"})
_QUOTIENTS = frozenset({"div", "div_", "__truediv__", "true_divide"})


class _RuledForward(Interception):
    """Replace PyTorch's functions with the rules, and refuse functions that no rule covers.

    Otherwise a gated MLP, say, would get a plausible but wrong map.
    """

    def __init__(self, rules: Rules, model: nn.Module) -> None:
        super().__init__(rules.attend)
        self.linear = rules.linear
        self._ruled = {function: getattr(rules, name) for function, name in RULED.items()}
        self._name = type(getattr(model, "network", model)).__name__
        self._watching = False

    @contextmanager
    def from_block(self, first: nn.Module) -> Iterator[None]:
        """Active in a ``with`` block, from the first block on; what comes before has no relevance."""

        def watch(*_: object) -> None:
            self._watching = True

        with first.register_forward_pre_hook(watch), self:
            yield

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if not self._watching:
            return super().__torch_function__(func, types, args, kwargs)
        if func in self._ruled:
            return self._ruled[func](*args, **(kwargs or {}))
        name = getattr(func, "__name__", str(func))
        if name not in _LINEAR:
            self._check(name, [*args, *(kwargs or {}).values()])
        return super().__torch_function__(func, types, args, kwargs)

    def _check(self, name: str, given: list[Any]) -> None:
        """Refuse a function that is not linear in what depends on the image."""
        found = [_depends(one) for one in given]
        if not any(found) or (name in _PRODUCTS and sum(found) == 1) or (name in _QUOTIENTS and found == [True, False]):
            return
        what = "products of two activations (gated layers)" if name in _PRODUCTS else f"the function {name}"
        raise UserError(
            f"{self._name} is not supported by attnlrp: no rule covers {what}; use relevance gae, grad_cam or "
            "input_gradient"
        )


def _depends(value: object) -> bool:
    """Whether a value may depend on the image: with weights or image requiring gradients, all activations do."""
    if isinstance(value, (tuple, list)):
        return any(map(_depends, value))
    return isinstance(value, Tensor) and value.requires_grad and not isinstance(value, nn.Parameter)
