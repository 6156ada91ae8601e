"""Relevance guidance as a callback of Lightning; import it from here, as it needs Lightning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from robustvit.common.errors import UserError
from robustvit.common.extras import import_extra
from robustvit.explanation.maps import relevance
from robustvit.guidance.paper_losses import relevance_loss

try:
    from lightning.pytorch import Callback
except ImportError:  # its older name
    Callback = import_extra("pytorch_lightning", "lightning", "RelevanceCallback").Callback  # type: ignore[misc]


class RelevanceCallback(Callback):
    """Adds the gradient of the relevance loss (equation 3 of the paper) after the backward pass of each batch.

    The LightningModule does not change. Its loss keeps its weight, so multiply it by 0.2 to have the paper's sum. A
    guided batch takes a further forward pass. Gradient accumulation is supported; precision 16-mixed is refused, as
    Lightning scales the module's loss alone.

    Args:
        weight: of the relevance loss.
        network: name of the attribute of the module that holds the network.
        method: relevance method; see ``relevance`` for it and ``second_order``.
        keys: where a batch holds images, masks and labels: names, or positions in a tuple.
        log: name under which the loss is logged; None does not log it.
    """

    def __init__(
        self,
        weight: float = 0.8,
        *,
        network: str = "model",
        method: str = "gae",
        second_order: bool = True,
        keys: tuple[str | int, str | int, str | int] = (0, 1, 2),
        log: str | None = "relevance_loss",
    ) -> None:
        super().__init__()
        self.weight, self.network, self.method, self.second_order = weight, network, method, second_order
        self.keys, self.name = keys, log
        self._batch: tuple[Tensor, Tensor, Tensor] | None = None

    def on_fit_start(self, trainer: Any, pl_module: nn.Module) -> None:
        """Refuse what would give a wrong gradient, before the first batch."""
        if str(trainer.precision) == "16-mixed":
            raise UserError(
                "expected another precision than 16-mixed, which scales your loss but not the callback's: use "
                "bf16-mixed, or add relevance_loss(relevance(...), masks) in training_step"
            )
        if not isinstance(getattr(pl_module, self.network, None), nn.Module):
            raise UserError(
                f"expected the network at {type(pl_module).__name__}.{self.network}, found none: name its attribute, "
                "RelevanceCallback(network=NAME)"
            )

    def on_train_batch_start(self, trainer: Any, pl_module: nn.Module, batch: Any, batch_idx: int) -> None:
        """Keep the batch for its backward pass."""
        try:
            images, masks, labels = (batch[key] for key in self.keys)
        except (KeyError, IndexError, TypeError) as error:
            held = ", ".join(map(str, batch)) if isinstance(batch, Mapping) else f"{len(batch)} parts"
            raise UserError(
                f"expected images, masks and labels at {self.keys} of a batch, which holds {held}: name them with "
                "RelevanceCallback(keys=(...))"
            ) from error
        self._batch = (images, masks, labels)

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        """Add the gradient of the relevance loss to that of the module's own loss."""
        if self._batch is None:
            return
        images, masks, labels = self._batch
        self._batch = None  # once for a batch, however often its optimizers go backwards
        maps = relevance(
            getattr(pl_module, self.network), images, labels, method=self.method, second_order=self.second_order
        )
        loss = relevance_loss(maps, masks)
        (self.weight * loss / trainer.accumulate_grad_batches).backward()
        if self.name is not None:
            pl_module.log(self.name, loss.detach())
