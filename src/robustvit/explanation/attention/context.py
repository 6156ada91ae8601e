"""The context of an autograd function, for type checkers; PyTorch leaves it untyped."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor


class Context(Protocol):
    """What ``forward`` and ``backward`` of an autograd function share; subclasses declare further attributes."""

    saved_tensors: tuple[Any, ...]
    needs_input_grad: tuple[bool, ...]

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for the backward pass."""

    def set_materialize_grads(self, value: bool) -> None:
        """Whether missing gradients become zeros."""
