"""Models of torchvision by name, with the weights it recommends for each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torchvision.models
from torch import nn
from torchvision.models import VisionTransformer, get_model, get_model_weights, list_models
from torchvision.models.vision_transformer import EncoderBlock

from robustvit.common.errors import UserError, did_you_mean, expect_one_of
from robustvit.models.classifier import Preprocessing
from robustvit.models.heads import classes_of, describe_changed_head
from robustvit.models.libraries.library import Library, Loaded, Wanted, readable_errors, refuse_other_head

if TYPE_CHECKING:
    from torchvision.transforms._presets import ImageClassification

_NAME = "torchvision_name"  # attribute of a network: its name in the library


class Torchvision(Library):
    """See ``Library``; names are ``vit_b_16`` or, with other weights than the default, ``vit_b_16/TAG``."""

    name = "torchvision"

    def owns(self, network: nn.Module) -> bool:
        """Whether a network is a vision transformer, which records how it was built, or was loaded by name."""
        return type(network) is VisionTransformer or hasattr(network, _NAME)

    def load(self, name: str, wanted: Wanted) -> Loaded:
        architecture, _, tag = name.partition("/")
        weights = _weights(architecture, tag)
        if not wanted.pretrained:
            network = _build(architecture, {} if wanted.classes is None else {"num_classes": wanted.classes})
            if wanted.state is not None:
                self.load_state(network, wanted.state, str(wanted.checkpoint))
            return Loaded(network, class_names=self.class_names(network))
        names = tuple(weights.meta["categories"])
        refuse_other_head(name, len(names), wanted.num_classes)
        with readable_errors(f"torchvision:{name}", "--checkpoint FILE with its weights"):
            network = get_model(architecture, weights=weights)
        setattr(network, _NAME, architecture)
        return Loaded(network, _preset(weights.transforms()), names)

    def describe(self, network: nn.Module) -> dict[str, Any]:
        """Return what ``rebuild`` needs; a transformer's size is read from the network."""
        if type(network) is not VisionTransformer:
            arguments: dict[str, Any] = {"num_classes": classes_of(network)}
            if hasattr(network, "transform_input"):  # GoogLeNet and Inception: published weights change these
                arguments |= {name: getattr(network, name) for name in ("transform_input", "aux_logits")}
            return {"architecture": getattr(network, _NAME), "model_args": arguments}
        arguments = {name: getattr(network, name) for name in ("image_size", "patch_size", "hidden_dim", "mlp_dim")}
        blocks = [module for module in network.modules() if isinstance(module, EncoderBlock)]
        arguments |= {"num_layers": len(blocks), "num_heads": blocks[0].num_heads}
        arguments |= {"num_classes": classes_of(network), "representation_size": network.representation_size}
        return {"architecture": "VisionTransformer", "model_args": arguments}

    def own_head(self, network: nn.Module) -> list[list[Any]] | None:
        return describe_changed_head(network, lambda: self.rebuild(Path(), self.describe(network)))

    def rebuild(self, folder: Path, config: dict[str, Any]) -> nn.Module:
        if config["architecture"] == "VisionTransformer":
            return VisionTransformer(**config["model_args"])
        return _build(config["architecture"], config["model_args"])


def _build(architecture: str, arguments: dict[str, Any]) -> nn.Module:
    network: nn.Module = get_model(architecture, weights=None, **arguments)
    setattr(network, _NAME, architecture)
    return network


def _weights(architecture: str, tag: str) -> Any:
    names = list_models(module=torchvision.models)
    if architecture not in names:
        hint = did_you_mean(architecture, names) or f"it has e.g. {names[-1]}"
        raise UserError(f"unknown torchvision model {architecture!r}: {hint}")
    weights = get_model_weights(architecture)
    if tag:
        expect_one_of(f"the weights of {architecture}", tag, weights.__members__)
    return weights[tag] if tag else weights.DEFAULT  # type: ignore[attr-defined]


def _preset(transforms: ImageClassification) -> Preprocessing:
    (crop,), (resized,) = transforms.crop_size, transforms.resize_size
    return Preprocessing(
        (crop, crop),
        tuple(transforms.mean),
        tuple(transforms.std),
        crop / resized,
        transforms.interpolation.value,
    )
