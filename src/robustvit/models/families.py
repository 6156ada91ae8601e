"""Families of vision transformers: how the models of each library arrange and read out their tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from timm.layers import to_2tuple
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
        return replace(self, readout=readout, class_only=_find_class_only(self.blocks, readout))

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
    """Return how the vision transformer in a network, or in a module around it, arranges its tokens.

    A network without a classification head is refused, unless only its features are needed (``headless``).
    """
    whole = getattr(model, "network", model)
    for module in model.modules():
        if (describe := _find_description(module)) is None:
            continue
        if module is whole and not headless and getattr(module, "num_classes", 1) <= 0:
            name = type(module).__name__
            raise UserError(f"{name} has no classification head, so no logit to explain: set num_classes")
        layout = describe(module)
        # A Classifier with a custom head has measured its readout, which a family of the whole network overrides.
        readout = None if module is whole else getattr(model, "readout", None)
        if readout == "unclear":
            raise unsupported(whole, "its head does not tell how much each token counts (register_family can say so)")
        return layout if readout in (None, layout.readout) else layout.read_from(readout)
    raise unsupported(whole, _explain_unknown(model))


def _find_description(module: nn.Module) -> Callable[[Any], Layout] | None:
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


def _explain_unknown(model: nn.Module) -> str:
    names = {type(module).__name__ for module in model.modules()}
    if any(word in name for name in names for word in ("Window", "Swin", "MaxxVit", "Hiera", "PartitionAttention")):
        return "it attends inside windows, so no row of its maps covers the whole image"
    if not any("Attention" in name or "Attn" in name for name in names):
        return "it has no attention"
    return "its family is not known (a transformer with one attention over all tokens per block can be registered)"


def _make_layout(
    blocks: Iterable[nn.Module],
    patch: int | Sequence[int],
    prefix: int = 1,
    readout: Readout = "class",
    pads: bool = False,
) -> Layout:
    blocks = list(blocks)
    return Layout(blocks, to_2tuple(patch), prefix, readout, pads, _find_class_only(blocks, readout))


def _find_class_only(blocks: Sequence[nn.Module], readout: Readout) -> tuple[nn.Module, ...]:
    """Return the modules of the last block of which only the class token's output is used."""
    names = ("mlp", "attn.proj", "attention.o_proj", "attention.output.dense") if readout == "class" else ()
    modules = dict(blocks[-1].named_modules())
    return tuple(modules[name] for name in names if name in modules)


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
    patch_size = model.patch_embed.feat_ratio(as_scalar=False)  # a hybrid's stem has a stride too
    pads = bool(getattr(model.patch_embed, "dynamic_img_pad", False))
    return _make_layout(model.blocks, patch_size, model.num_prefix_tokens, _timm_readout(model), pads)


def _timm_readout(model: TimmTransformer) -> Readout:
    pool = model.global_pool
    if hasattr(model, "head_dist"):
        return "distilled"
    if pool == "token" and model.num_prefix_tokens:
        return "class"
    if pool == "avg":
        return "tokens" if getattr(model, "pool_include_prefix", False) else "patches"
    if pool == "map":
        return "pool"
    raise unsupported(model, f"its pooling {pool!r} does not say how much each token counts")


for _name in _TIMM_MODELS:
    register_family(f"timm.models.{_name}")(_timm)


@register_family("torchvision.models.vision_transformer.VisionTransformer")
def _torchvision(model: TorchvisionTransformer) -> Layout:
    return _make_layout(model.encoder.layers, model.patch_size)


@register_family("open_clip.transformer.VisionTransformer")
def _open_clip(model: OpenClipTransformer) -> Layout:
    if model.attn_pool is not None or model.pool_type not in ("tok", "avg"):
        raise unsupported(model, "its pooling by several queries does not say how much each token counts")
    readout: Readout = "class" if model.pool_type == "tok" else "patches"
    return _make_layout(model.transformer.resblocks, model.patch_size, readout=readout)


def _transformers(backbone: str, prefix: int, readout: Readout, model: PreTrainedModel) -> Layout:
    config = getattr(model.config, "vision_config", model.config)
    inner = getattr(model, backbone) if backbone else model
    lists = [m for m in inner.modules() if isinstance(m, nn.ModuleList) and len(m) == config.num_hidden_layers]
    prefix += getattr(config, "num_register_tokens", 0)
    readout = "patches" if getattr(config, "use_mean_pooling", False) else readout
    return _make_layout(lists[0], config.patch_size, prefix, readout)


_REGISTERS = "dinov2_with_registers"
# By the start of class names: the classifier's attribute for its backbone, tokens before the patches (registers are
# added), what its logits are read from, and what is read from a backbone under a custom head, unless that is measured.
_HUGGING_FACE: dict[str, tuple[str, int, Readout, Readout]] = {
    "vit.modeling_vit.ViT": ("vit", 1, "class", "class"),
    "deit.modeling_deit.DeiT": ("deit", 2, "class", "class"),
    "beit.modeling_beit.Beit": ("beit", 1, "class", "class"),
    "dinov2.modeling_dinov2.Dinov2": ("dinov2", 1, "class+patches", "class"),
    f"{_REGISTERS}.modeling_{_REGISTERS}.Dinov2WithRegisters": (_REGISTERS, 1, "class+patches", "class"),
    "vit_msn.modeling_vit_msn.ViTMSN": ("vit", 1, "class", "class"),
    "ijepa.modeling_ijepa.IJepa": ("ijepa", 0, "patches", "patches"),
    "clip.modeling_clip.CLIP": ("vision_model", 1, "patches", "class"),
    "siglip.modeling_siglip.Siglip": ("vision_model", 0, "patches", "pool"),
}
for _name, (_backbone, _prefix, _readout, _bare) in _HUGGING_FACE.items():
    _start, _end = f"transformers.models.{_name}", "VisionModel" if _backbone == "vision_model" else "Model"
    register_family(f"{_start}ForImageClassification")(partial(_transformers, _backbone, _prefix, _readout))
    register_family(f"{_start}{_end}")(partial(_transformers, "", _prefix, _bare))
_distilled = register_family("transformers.models.deit.modeling_deit.DeiTForImageClassificationWithTeacher")
_distilled(partial(_transformers, "deit", 2, "distilled"))
