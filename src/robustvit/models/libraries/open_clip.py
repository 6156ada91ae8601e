"""Zero-shot classifiers of open_clip: its image tower, and embeddings of the class names."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustvit.common.errors import UserError, did_you_mean
from robustvit.common.extras import import_extra
from robustvit.models.classifier import Preprocessing
from robustvit.models.libraries.library import Library, Loaded, Wanted, readable_errors
from robustvit.models.state_dicts import fit_names

if TYPE_CHECKING:
    from open_clip import CLIP

_WAY_OUT = "--checkpoint FILE with all of its weights, image and text, or --model open_clip:FOLDER"
_TEMPLATES = (
    "a photo of a {}.",
    "a photo of the {}.",
    "a close-up photo of a {}.",
    "a cropped photo of a {}.",
    "a picture of a {}.",
)


class ZeroShot(nn.Module):
    """A classifier that returns how close an image is to the text of each class; only the image tower is trainable.

    Args:
        tower: maps normalised images ``(B, 3, H, W)`` to features ``(B, D)``.
        embeddings: of the texts of the classes, ``(C, D)``, each of length 1.
        scale: multiplies the cosines, as in the contrastive loss that the tower was trained with.
        bias: added to the logits (SigLIP).
        architecture: name of the model that the tower belongs to.
        model_args: arguments to rebuild the tower.
    """

    embeddings: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(
        self,
        tower: nn.Module,
        embeddings: Tensor,
        scale: float | Tensor,
        bias: float | Tensor = 0.0,
        *,
        architecture: str = "",
        model_args: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.tower = tower
        trunk: Any = getattr(tower, "trunk", None)
        if getattr(trunk, "num_classes", None) == 0:
            trunk.num_classes = len(embeddings)  # a timm tower without a head: the texts are its head
        self.architecture, self.model_args = architecture, dict(model_args or {})
        for name, value in (("embeddings", embeddings), ("scale", scale), ("bias", bias)):
            fixed = torch.as_tensor(value, dtype=torch.float32).detach()
            self.register_buffer(name, fixed.clone(memory_format=torch.contiguous_format))

    @property
    def num_classes(self) -> int:
        return len(self.embeddings)

    def forward(self, images: Tensor) -> Tensor:
        features = self.tower(images)
        features = features[0] if isinstance(features, tuple) else features
        return self.scale * F.normalize(features, dim=-1) @ self.embeddings.T + self.bias


class OpenClip(Library):
    """See ``Library``; names are ``ARCHITECTURE/TAG``, ``ARCHITECTURE`` with a checkpoint, ``hf-hub:OWNER/NAME`` or
    a folder with ``open_clip_config.json``."""

    name = "open_clip"

    def owns(self, network: nn.Module) -> bool:
        """Whether a network is a zero-shot classifier with an image tower of open_clip."""
        return isinstance(network, ZeroShot) and bool(network.model_args)

    def load(self, name: str, wanted: Wanted) -> Loaded:
        """Load a model and embed its classes, ImageNet's if none are named."""
        library = import_extra("open_clip", "open_clip")
        names = wanted.class_names or tuple(library.IMAGENET_CLASSNAMES)
        templates = _TEMPLATES if wanted.class_names else library.OPENAI_IMAGENET_TEMPLATES
        if wanted.num_classes not in (None, len(names)):
            raise UserError(f"expected {wanted.num_classes} class names, one per class, got {len(names)}")
        architecture, tag = _split(library, name)
        if wanted.pretrained and tag is None and ":" not in architecture:
            tags = library.list_pretrained_tags_by_model(architecture)
            named = f"e.g. {architecture}/{tags[0]}" if tags else "--checkpoint FILE"
            raise UserError(f"expected the weights of {architecture}, none are named: give {named}")
        with readable_errors(f"open_clip:{name}", _WAY_OUT):
            model = _create(library, architecture, tag, wanted)
            tokenizer = library.get_tokenizer(architecture)
            embeddings = library.build_zero_shot_classifier(model, tokenizer, names, templates)
        return Loaded(
            _zero_shot(library, architecture, tag, model, embeddings),
            Preprocessing.from_open_clip(model.visual.preprocess_cfg),
            names,
        )

    def describe(self, network: nn.Module) -> dict[str, Any]:
        return {"architecture": network.architecture, "model_args": network.model_args}

    def rebuild(self, folder: Path, config: dict[str, Any]) -> nn.Module:
        """Build the tower that ``describe`` described; the embeddings are loaded later."""
        arguments = config["model_args"]
        tiny_text = {"context_length": 4, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1}
        clip = import_extra("open_clip", "open_clip").CLIP(**arguments, text_cfg=tiny_text)  # its tower is all we need
        embeddings = torch.zeros(config["num_classes"], arguments["embed_dim"])
        return ZeroShot(clip.visual, embeddings, 1.0, architecture=config["architecture"], model_args=arguments)


def _split(library: ModuleType, name: str) -> tuple[str, str | None]:
    """Return architecture and tag of a name, as open_clip spells them."""
    if Path(name).is_dir():
        return f"local-dir:{name}", None
    if name.startswith(("hf-hub:", "local-dir:")):
        return name, None
    architecture, _, tag = name.partition("/")
    known = library.list_models()
    if architecture not in known:
        hint = did_you_mean(architecture, known) or "open_clip.list_models() names them all"
        raise UserError(f"unknown open_clip model {architecture!r}: {hint}")
    tags = library.list_pretrained_tags_by_model(architecture)
    if tag and not library.get_pretrained_cfg(architecture, tag):
        hint = did_you_mean(tag, tags, cutoff=0.0) or "open_clip has none for it"
        raise UserError(f"unknown weights {tag!r} of {architecture}: {hint}")
    return architecture, tag or None


def _quick_gelu(library: ModuleType, architecture: str, tag: str | None) -> bool:
    """Whether the weights were trained with QuickGELU, which the architecture's name may not tell."""
    said = library.get_model_config(architecture).get("quick_gelu", False)
    return bool(said or (tag and library.get_pretrained_cfg(architecture, tag).get("quick_gelu", False)))


def _create(library: ModuleType, architecture: str, tag: str | None, wanted: Wanted) -> Any:
    if ":" in architecture and wanted.state is not None:
        raise UserError(f"expected no checkpoint with {architecture}, which has weights: leave one of the two out")
    model = library.create_model(
        architecture,
        pretrained=tag if wanted.pretrained else None,
        load_weights=wanted.pretrained,
        force_quick_gelu=_quick_gelu(library, architecture, tag),
        force_preprocess_cfg=dict(library.get_pretrained_cfg(architecture, tag)) if tag else None,
        pretrained_text=False,
    ).eval()
    if wanted.state is not None:
        _load_state(library, model, wanted.state, str(wanted.checkpoint))
    return model


def _load_state(library: ModuleType, model: nn.Module, state: dict[str, Tensor], checkpoint: str) -> None:
    """Load a checkpoint with the names of this model, else as open_clip converts it."""
    own = model.state_dict()
    state = fit_names(state, own, checkpoint)
    if state.keys() == own.keys():
        model.load_state_dict(state)
    else:
        library.load_checkpoint(model, checkpoint)


def _zero_shot(library: ModuleType, architecture: str, tag: str | None, model: CLIP, embeddings: Tensor) -> ZeroShot:
    config = library.get_model_config(architecture)
    arguments = {
        "embed_dim": config["embed_dim"],
        "vision_cfg": config["vision_cfg"] | {"timm_model_pretrained": False},
        "quick_gelu": _quick_gelu(library, architecture, tag),
    }
    bias = 0.0 if getattr(model, "logit_bias", None) is None else model.logit_bias
    scale = model.logit_scale.exp()
    return ZeroShot(model.visual, embeddings.T, scale, bias, architecture=architecture, model_args=arguments)
