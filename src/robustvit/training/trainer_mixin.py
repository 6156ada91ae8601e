"""Relevance guidance in a ``Trainer`` of transformers: a mixin with the loss, and a collator that keeps the masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from robustvit.common.errors import UserError
from robustvit.data.datasets import evaluation_transform, training_transform
from robustvit.explanation.maps import relevance
from robustvit.guidance.paper_losses import relevance_loss
from robustvit.models.classifier import Classifier, Preprocessing


class RelevanceTrainerMixin:
    """Adds the relevance loss to a ``transformers.Trainer``: ``class MyTrainer(RelevanceTrainerMixin, Trainer)``.

    The loss is ``classification_weight`` times the trainer's own plus ``relevance_weight`` times equation 3 of the
    paper; both defaults are the paper's. Batches hold ``masks`` ``(B, 1, H, W)`` in [0, 1] with ``pixel_values`` and
    ``labels``; a batch without masks has the trainer's own loss alone. Masks follow random crops and flips:
    ``MaskedCollator`` makes such batches. A guided batch takes a second forward pass, for the map of the labels. The
    relevance loss is logged with the trainer's loss.

    Attributes:
        relevance_weight: of the relevance loss.
        classification_weight: of the trainer's own loss.
        relevance_method: see ``relevance``; as is ``second_order``.
    """

    relevance_weight: float = 0.8
    classification_weight: float = 0.2
    relevance_method: str = "gae"
    second_order: bool = True
    last_relevance_loss: float | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if getattr(getattr(self, "args", None), "remove_unused_columns", False):
            raise UserError(
                "expected TrainingArguments(remove_unused_columns=False): otherwise the Trainer drops the masks"
            )

    def compute_loss(
        self, model: Any, inputs: Mapping[str, Any], return_outputs: bool = False, **more: Any
    ) -> Tensor | tuple[Tensor, Any]:
        """Return the loss of a batch, and what the model returned if that is asked for."""
        own = {name: value for name, value in inputs.items() if name != "masks"}
        loss, outputs = super().compute_loss(model, own, return_outputs=True, **more)  # type: ignore[misc]
        if inputs.get("masks") is not None:
            maps = relevance(
                model, own["pixel_values"], own.get("labels"), method=self.relevance_method,
                second_order=self.second_order,
            )  # fmt: skip
            found = relevance_loss(maps, inputs["masks"].to(maps.device))
            self.last_relevance_loss = float(found.detach())
            loss = self.classification_weight * loss + self.relevance_weight * found * self._share(maps, more)
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], *more: Any, **options: Any) -> None:
        """Log ``relevance_loss``, that of the last guided batch, with the trainer's own numbers."""
        added = {} if self.last_relevance_loss is None else {"relevance_loss": self.last_relevance_loss}
        super().log(logs | added, *more, **options)  # type: ignore[misc]

    def _share(self, maps: Tensor, more: Mapping[str, Any]) -> Tensor | float:
        """Return the batch's share of a step's photos, where the trainer does not divide by accumulation itself."""
        photos = more.get("num_items_in_batch")
        return 1.0 if photos is None or not getattr(self, "model_accepts_loss_kwargs", False) else len(maps) / photos


class MaskedCollator:
    """Makes a batch of rows with ``image``, ``mask`` and ``label``, such as those of ``to_dataset``.

    Image and mask are transformed together: as in training if ``augment`` is set, else as in evaluation. The batch
    holds ``pixel_values`` ``(B, 3, H, W)``, normalised as the model expects, ``masks`` ``(B, 1, H, W)`` and ``labels``
    ``(B,)``. A row without a mask gets an empty one.

    Args:
        model: a ``Classifier`` or its preprocessing: size, mean and standard deviation.
        augment: crop and flip at random.
        normalise: off for a ``Classifier``, which takes images in [0, 1].
    """

    def __init__(self, model: Classifier | Preprocessing, *, augment: bool = False, normalise: bool = True) -> None:
        own = model.preprocessing if isinstance(model, Classifier) else model
        self.transform = training_transform(own) if augment else evaluation_transform(own)
        shape = (3, 1, 1)
        self.mean, self.std = (torch.tensor(value).expand(3).reshape(shape) for value in (own.mean, own.std))
        self.normalise = normalise

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        pairs = [self._pair(row) for row in rows]
        batch = {"pixel_values": torch.stack([image for image, _ in pairs])}
        batch["masks"] = torch.stack([mask for _, mask in pairs])
        if all(row.get("label") is not None for row in rows):
            batch["labels"] = torch.tensor([int(row["label"]) for row in rows])
        return batch

    def _pair(self, row: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        image = row["image"].convert("RGB")
        image, mask = self.transform(image, tv_tensors.Mask(_mask_of(row.get("mask"), image)))
        pixels = image.as_subclass(Tensor)
        return (pixels - self.mean) / self.std if self.normalise else pixels, mask.as_subclass(Tensor)


def _mask_of(mask: Image.Image | np.ndarray | None, image: Image.Image) -> Tensor:
    """Return a mask ``(1, H, W)`` in [0, 1]; 8-bit values are divided by 255."""
    if mask is None:
        return torch.zeros(1, image.height, image.width)
    values = np.asarray(mask.convert("L") if isinstance(mask, Image.Image) else mask)
    if values.shape != (image.height, image.width):
        raise UserError(f"expected a mask of {image.height} x {image.width} pixels like its image, got {values.shape}")
    scaled = values.astype(np.float32) / (255 if values.dtype == np.uint8 else 1)
    return torch.from_numpy(np.ascontiguousarray(scaled))[None]
