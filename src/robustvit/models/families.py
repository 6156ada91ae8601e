"""Families of vision transformers: how the models of each library arrange and read out their tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn

from robustvit.common.errors import UserError, expect_one_of

if TYPE_CHECKING:
    from open_clip.transformer import VisionTransformer as OpenClipTransformer
    from timm.models import VisionTransformer as TimmTransformer
    from torchvision.models import VisionTransformer as TorchvisionTransformer
    from transformers import PreTrainedModel

Readout = Literal["class", "distilled", "patches", "tokens", "class+patches", "pool"]


@dataclass(frozen=True)
class Layout:
    """How a vision transformer arranges its tokens, as relevance maps need to know.

    Attributes:
        blocks: its blocks in order; each makes one attention call over all tokens.
        patch_size: height and width of a patch in pixels.
        prefix_tokens: tokens before the patches: class token, distillation token, registers.
        readout: the tokens of the last block that the logits are read from: the ``class`` token (row 0), ``distilled``
            (rows 0 and 1, averaged), the mean of the ``patches`` or of all ``tokens``, ``class+patches``, or an
            attention ``pool`` after the blocks.
        pads: whether incomplete patches at the border are padded instead of dropped.
        class_only: modules of the last block that process each token separately and whose output is added to the
            tokens: its MLP, the projection of its attention. If the readout is the class token, they run on it alone.
    """

    blocks: Sequence[nn.Module]
    patch_size: tuple[int, int]
    prefix_tokens: int = 1
    readout: Readout = "class"
    pads: bool = False
    class_only: tuple[nn.Module, ...] = ()

    def __post_init__(self) -> None:
        expect_one_of("readout", self.readout, get_args(Readout))

    def grid(self, images: Tensor) -> tuple[int, int]:
        """Return rows and columns of patches for images ``(B, 3, H, W)``."""
        rows, columns = (
            (-(-n // p) if self.pads else n // p) for n, p in zip(images.shape[-2:], self.patch_size, strict=True)
        )
        return rows, columns

    def patch_map(self, tokens: Tensor, images: Tensor) -> Tensor:
        """Arrange the values of the patches, from ``(B, N, ...)`` for all tokens, as ``(B, rows, columns, ...)``."""
        return tokens[:, self.prefix_tokens :].unflatten(1, self.grid(images))

    def read_from(self, readout: Readout) -> Layout:
        """Return the layout of the same transformer whose logits are read from other tokens."""
        return replace(self, readout=readout, class_only=_class_only(self.blocks, readout))

    @property
    def calls(self) -> int:
        """Number of attention calls of a forward pass."""
        return len(self.blocks) + (self.readout == "pool")

    def start(self, tokens: int, like: Tensor) -> Tensor:
        """Return the weights ``(tokens,)`` of the last block's tokens in the readout; they sum to 1."""
        row = torch.zeros(tokens, dtype=like.dtype, device=like.device)
        if self.readout in ("class", "class+patches"):
            row[0] = 1
        elif self.readout == "distilled":
            row[:2] = 1 / 2
        if self.readout in ("patches", "class+patches"):
            row[self.prefix_tokens :] += 1 / (tokens - self.prefix_tokens)
        elif self.readout == "tokens":
            row[:] = 1
        return row / row.sum()


_FAMILIES: dict[type | str, Callable[[Any], Layout]] = {}


def register_family(model: type[nn.Module] | str) -> Callable[[Callable[[Any], Layout]], Callable[[Any], Layout]]:
    """Register how models of a class arrange their tokens, so that relevance works for them.

    Args:
        model: the class, or its full name to avoid importing it; subclasses are included.

    Example:
        @register_family(MyTransformer)
        def layout(model):
            return Layout(blocks=model.layers, patch_size=(16, 16), prefix_tokens=1, readout="class")
    """

    def register(describe: Callable[[Any], Layout]) -> Callable[[Any], Layout]:
        _FAMILIES[model] = describe
        return describe

    return register


def find_layout(model: nn.Module, *, headless: bool = False) -> Layout:
    """Return how the vision transformer inside ``model`` arranges its tokens.

    Args:
        model: a network, or a module that holds one.
        headless: accept a network without a classification head, of which only features are needed.
    """
    whole = getattr(model, "network", model)
    for module in model.modules():
        describe = _describer(module)
        if describe is None:
            continue
        if module is whole and not headless and getattr(module, "num_classes", 1) <= 0:
            name = type(module).__name__
            raise UserError(f"{name} has no classification head, so no logit to explain: set num_classes")
        layout = describe(module)
        measured = getattr(model, "readout", None)  # of a Classifier with a custom head
        readout = None if module is whole else measured  # what was registered for the whole counts
        if readout == "unclear":
            raise unsupported(whole, "its head does not tell how much each token counts (register_family can say so)")
        return layout if readout in (None, layout.readout) else layout.read_from(readout)
    raise unsupported(whole, _reason(model))


def _describer(module: nn.Module) -> Callable[[Any], Layout] | None:
    for kind in type(module).__mro__:
        describe = _FAMILIES.get(kind) or _FAMILIES.get(f"{kind.__module__}.{kind.__qualname__}")
        if describe is not None and (kind is type(module) or not type(module).__module__.startswith("timm.")):
            return describe
    return None


def unsupported(model: nn.Module, reason: str) -> UserError:
    """Return the error for a model that attention cannot explain, with what works instead."""
    return UserError(
        f"{type(model).__name__} is not supported by attention-based relevance: {reason}; use relevance grad_cam or "
        "input_gradient, which do not need it"
    )


def _reason(model: nn.Module) -> str:
    names = {type(module).__name__ for module in model.modules()}
    if any(word in name for name in names for word in ("Window", "Swin", "MaxxVit", "Hiera", "PartitionAttention")):
        return "it attends inside windows, so no row of its maps covers the whole image"
    if not any("Attention" in name or "Attn" in name for name in names):
        return "it has no attention"
    return "its family is not known (a transformer with one attention over all tokens per block can be registered)"


def _class_only(blocks: Sequence[nn.Module], readout: Readout) -> tuple[nn.Module, ...]:
    """Return the modules of the last block of which only the class token's output is used."""
    places = ("mlp", "attn.proj", "attention.o_proj", "attention.output.dense") if readout == "class" else ()
    found = dict(blocks[-1].named_modules())
    return tuple(found[place] for place in places if place in found)


_TIMM_BLOCKS = ("Block", "ResPostBlock", "EvaBlock", "EvaBlockPostNorm", "RelPosBlock", "ResPostRelPosBlock")
_TIMM_MODELS = (
    "vision_transformer.VisionTransformer",
    "deit.VisionTransformerDistilled",
    "vision_transformer_relpos.VisionTransformerRelPos",
    "beit.Beit",
    "eva.Eva",
)


def _timm(model: TimmTransformer) -> Layout:
    for block in model.blocks:
        attention = type(getattr(block, "attn", None)).__name__
        if type(block).__name__ not in _TIMM_BLOCKS:
            raise unsupported(model, f"its {type(block).__name__}s have parallel or differential attention")
        if "Diff" in attention:
            raise unsupported(model, f"its {attention} is the difference of two maps")
    prefix = model.num_prefix_tokens
    readout = _timm_readout(model)
    patch = _patch_size(model.patch_embed.feat_ratio(as_scalar=False))  # a hybrid's stem has a stride of its own
    padded = bool(getattr(model.patch_embed, "dynamic_img_pad", False))
    blocks = list(model.blocks)
    return Layout(blocks, patch, prefix, readout, padded, _class_only(blocks, readout))


def _timm_readout(model: TimmTransformer) -> Readout:
    pool = model.global_pool
    inclusive = bool(getattr(model, "pool_include_prefix", False))
    if hasattr(model, "head_dist"):
        return "distilled"
    if pool == "token" and model.num_prefix_tokens:
        return "class"
    if pool == "avg":
        return "tokens" if inclusive else "patches"
    if pool == "map":
        return "pool"
    raise unsupported(model, f"its pooling {pool!r} does not say how much each token counts")


for _name in _TIMM_MODELS:
    register_family(f"timm.models.{_name}")(_timm)


def _patch_size(size: int | Sequence[int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


@register_family("torchvision.models.vision_transformer.VisionTransformer")
def _torchvision(model: TorchvisionTransformer) -> Layout:
    blocks = list(model.encoder.layers)
    return Layout(blocks, _patch_size(model.patch_size), class_only=_class_only(blocks, "class"))


@register_family("open_clip.transformer.VisionTransformer")
def _open_clip(model: OpenClipTransformer) -> Layout:
    if model.attn_pool is not None or model.pool_type not in ("tok", "avg"):
        raise unsupported(model, "its pooling by several queries does not say how much each token counts")
    blocks = list(model.transformer.resblocks)
    readout: Readout = "class" if model.pool_type == "tok" else "patches"
    return Layout(blocks, _patch_size(model.patch_size), readout=readout, class_only=_class_only(blocks, readout))


def _transformers(backbone: str, prefix: int, readout: Readout) -> Callable[[Any], Layout]:
    def describe(model: PreTrainedModel) -> Layout:
        config = getattr(model.config, "vision_config", model.config)
        inner = getattr(model, backbone) if backbone else model
        lists = [m for m in inner.modules() if isinstance(m, nn.ModuleList) and len(m) == config.num_hidden_layers]
        blocks, tokens = list(lists[0]), prefix + getattr(config, "num_register_tokens", 0)
        how: Readout = "patches" if getattr(config, "use_mean_pooling", False) else readout
        return Layout(blocks, _patch_size(config.patch_size), tokens, how, class_only=_class_only(blocks, how))

    return describe


# Attribute that holds the backbone, tokens before the patches (registers are added), and what the logits are read from.
_HUGGING_FACE: dict[str, tuple[str, int, Readout]] = {
    "vit.modeling_vit.ViTForImageClassification": ("vit", 1, "class"),
    "deit.modeling_deit.DeiTForImageClassification": ("deit", 2, "class"),
    "deit.modeling_deit.DeiTForImageClassificationWithTeacher": ("deit", 2, "distilled"),
    "beit.modeling_beit.BeitForImageClassification": ("beit", 1, "class"),
    "dinov2.modeling_dinov2.Dinov2ForImageClassification": ("dinov2", 1, "class+patches"),
    "dinov2_with_registers.modeling_dinov2_with_registers.Dinov2WithRegistersForImageClassification": (
        "dinov2_with_registers",
        1,
        "class+patches",
    ),
    "vit_msn.modeling_vit_msn.ViTMSNForImageClassification": ("vit", 1, "class"),
    "ijepa.modeling_ijepa.IJepaForImageClassification": ("ijepa", 0, "patches"),
    "clip.modeling_clip.CLIPForImageClassification": ("vision_model", 1, "patches"),
    "siglip.modeling_siglip.SiglipForImageClassification": ("vision_model", 0, "patches"),
}
# Backbones, for modules that put a head of their own on them; which tokens that reads is measured.
_BACKBONES: tuple[tuple[str, int, Readout], ...] = (
    ("vit.modeling_vit.ViT", 1, "class"),
    ("deit.modeling_deit.DeiT", 2, "class"),
    ("beit.modeling_beit.Beit", 1, "class"),
    ("dinov2.modeling_dinov2.Dinov2", 1, "class"),
    ("dinov2_with_registers.modeling_dinov2_with_registers.Dinov2WithRegisters", 1, "class"),
    ("vit_msn.modeling_vit_msn.ViTMSN", 1, "class"),
    ("ijepa.modeling_ijepa.IJepa", 0, "patches"),
    ("clip.modeling_clip.CLIPVision", 1, "class"),
    ("siglip.modeling_siglip.SiglipVision", 0, "pool"),
)
_HUGGING_FACE |= {f"{place}Model": ("", tokens, readout) for place, tokens, readout in _BACKBONES}
for _name, _described in _HUGGING_FACE.items():
    register_family(f"transformers.models.{_name}")(_transformers(*_described))
