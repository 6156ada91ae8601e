"""Options that name models: files, weights, heads and the baseline. Nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from robustvit.common.options import Channels, ClassNames, HeadKind, InputSize, Interpolation, Normalization

PREPROCESSING = ("mean", "std", "input_size", "interpolation")


def given_preprocessing(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options on preprocessing that were given, by name."""
    return {name: options[name] for name in PREPROCESSING if options.get(name) is not None}


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """Model.

    Attributes:
        model: run folder, timm name, transformers:OWNER/NAME, torchvision:NAME, open_clip:ARCHITECTURE/TAG,
            hf-hub:OWNER/NAME or local-dir:FOLDER.
        checkpoint: weights for the model: safetensors, .pth, .ckpt or .pth.tar, the index of several files, or a folder
            with an adapter (LoRA); FILE#ENTRY for those under a name in the file, such as state_dict_ema.
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
        head: what the outputs are: softmax (one class a photo), binary (one output, a sigmoid: a class and its
            absence), multi-label (a sigmoid for each class), regression or ordinal (explained only); default: as the
            model says, else softmax.
        mean: mean of the channels that the model's input is normalised with, such as 0.485,0.456,0.406; default: the
            model's own. Needed, with std, input_size and interpolation, for models that do not say how photos are
            prepared.
        std: standard deviation of the channels, such as 0.229,0.224,0.225.
        input_size: side of the model's input in pixels, or height x width (224x336).
        interpolation: how photos are resized.
    """

    num_classes: int | None = None
    normalization: Normalization | None = None
    class_names: ClassNames | None = None
    head: HeadKind | None = None
    mean: Channels | None = None
    std: Channels | None = None
    input_size: InputSize | None = None
    interpolation: Interpolation | None = None

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What was given of the preprocessing, by name."""
        return given_preprocessing(vars(self))


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
