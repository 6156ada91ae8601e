"""Options that name models: files, weights, heads and the baseline. Nothing heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass, field

from robustvit.common.options import ClassNames, Normalization


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """Model.

    Attributes:
        model: run folder, timm name, transformers:OWNER/NAME, torchvision:NAME, open_clip:ARCHITECTURE/TAG,
            hf-hub:OWNER/NAME or local-dir:FOLDER.
        checkpoint: weights for the model: safetensors, .pth or .pth.tar.
    """

    model: str | None = None
    checkpoint: str | None = None


@dataclass(frozen=True, kw_only=True)
class ModelOptions(ModelFile):
    """Model.

    Attributes:
        num_classes: number of classes of the model's head; default: read from the weights.
        normalization: model (its own mean and std) or paper (0.5 for every model).
        class_names: classes for a zero-shot model (default: ImageNet's), or class names for a head that has none:
            cat,dog, or a text file with one name per line.
    """

    num_classes: int | None = None
    normalization: Normalization | None = None
    class_names: ClassNames | None = None


@dataclass(frozen=True, kw_only=True)
class GivenModel(ModelOptions):
    """Model."""

    model: str = field()
    normalization: Normalization = "model"


@dataclass(frozen=True, kw_only=True)
class OptionalModels(ModelOptions):
    """Models.

    Attributes:
        baseline: model to compare with: "original" (the model that a run started from), or any source as for model.
    """

    baseline: str | None = None


@dataclass(frozen=True, kw_only=True)
class ShownModels(OptionalModels):
    """Models.

    Attributes:
        baseline: model to show next to it; default: the original of a run folder.
    """


@dataclass(frozen=True, kw_only=True)
class ComparedModels(GivenModel, OptionalModels):
    """Models."""
