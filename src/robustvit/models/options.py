"""Options that name models: files, weights, heads, and the model to compare with. No heavy imports."""

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
        num_classes: classes of the model's head; read from the weights when left out.
        normalization: model (its own mean and std) or paper (0.5 for every model).
        class_names: classes of a zero-shot model (default ImageNet's), or names for a head that has none: cat,dog, or a
            text file with one name per line.
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
        baseline: model to compare with: "original" for the one a run folder started from, or any source as for model.
    """

    baseline: str | None = None


@dataclass(frozen=True, kw_only=True)
class ShownModels(OptionalModels):
    """Models.

    Attributes:
        baseline: model to show beside it; a run folder's original when left out.
    """


@dataclass(frozen=True, kw_only=True)
class ComparedModels(GivenModel, OptionalModels):
    """Models."""
