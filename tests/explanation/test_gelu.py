"""GELU that may be differentiated twice: the same numbers as PyTorch's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from robustvit.explanation.attention import gelu as activations
from robustvit.explanation.attention.gelu import twice_differentiable_gelu


@pytest.mark.parametrize("approximate", ["none", "tanh"])
@pytest.mark.parametrize("piece", [7, 2**16])
def test_values_and_both_derivatives_are_pytorchs(monkeypatch, approximate, piece):
    monkeypatch.setattr(activations, "_PIECE", piece)
    torch.manual_seed(0)
    x, gradient, weight = (3 * torch.randn(4, 5, 3, dtype=torch.double) for _ in range(3))
    x.requires_grad_()
    gradient.requires_grad_()

    def both(function):
        output = function(x, approximate=approximate)
        (first,) = torch.autograd.grad(output, x, gradient, create_graph=True)
        return output, first, *torch.autograd.grad((first * weight).sum() + output.sum(), (x, gradient))

    for mine, theirs in zip(both(twice_differentiable_gelu), both(F.gelu), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-12)


def test_gradcheck_and_half_precision():
    x = torch.randn(2, 6, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradgradcheck(twice_differentiable_gelu, (x,))
    low = x.detach().to(torch.bfloat16).requires_grad_()
    (first,) = torch.autograd.grad(twice_differentiable_gelu(low).sum(), low, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), low)
    assert second.dtype == torch.bfloat16
    exact = torch.exp(-(x.detach() ** 2) / 2) * (2 - x.detach() ** 2) / (2 * torch.pi) ** 0.5
    assert torch.allclose(second.double(), exact, atol=0.02)
