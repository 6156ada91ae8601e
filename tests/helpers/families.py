"""A small model of every family that relevance maps are tested on."""

from __future__ import annotations

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.small_models import tiny_torchvision, tiny_transformers

PATCH = 8


def from_timm(name: str, **options):
    def build() -> nn.Module:
        settings = {"patch_size": PATCH, "img_size": 32, "embed_dim": 16, "depth": 3, "num_heads": 2, "num_classes": 3}
        return timm.create_model(name, **(settings | options))

    return build


# Three blocks, so that one lies between the first and the last.
VISION = {"image_size": 32, "patch_size": PATCH, "hidden_size": 16, "intermediate_size": 32}


VISION |= {"num_hidden_layers": 3, "num_attention_heads": 2}


def from_transformers(name: str, attention: str, **options):
    kind, head = name.split("For")
    return lambda: tiny_transformers(kind, f"For{head}", **VISION, attn_implementation=attention, **options)


def from_transformers_vision(kind: str, attention: str):
    """A classifier whose configuration holds a vision and a text part."""

    def build() -> nn.Module:
        transformers = pytest.importorskip("transformers")
        config = getattr(transformers, f"{kind}Config")(
            vision_config=dict(VISION), num_labels=3, attn_implementation=attention
        )
        return getattr(transformers, f"{kind}ForImageClassification")(config)

    return build


class ZeroShotSketch(nn.Module):
    """Open CLIP's image tower against fixed text embeddings."""

    def __init__(self, **options) -> None:
        super().__init__()
        tower = pytest.importorskip("open_clip.transformer").VisionTransformer
        self.visual = tower(
            image_size=32, patch_size=PATCH, width=16, layers=3, heads=2, mlp_ratio=2, output_dim=8, **options
        )
        self.register_buffer("text", F.normalize(torch.randn(3, 8), dim=-1))

    def forward(self, images: Tensor) -> Tensor:
        return 10 * F.normalize(self.visual(images), dim=-1) @ self.text.T


class OwnBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix, self.out, self.mlp = nn.Linear(16, 48), nn.Linear(16, 16), nn.Linear(16, 16)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = self.mix(tokens).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.out(attended.transpose(1, 2).flatten(2))
        return tokens + self.mlp(tokens).tanh()


class OwnTransformer(nn.Module):
    """Somebody's own transformer, with two registers behind the class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, PATCH, PATCH)
        self.extra = nn.Parameter(torch.randn(1, 3, 16))
        self.layers = nn.ModuleList(OwnBlock() for _ in range(3))
        self.head = nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.extra.expand(len(images), -1, -1), patches], dim=1)
        for layer in self.layers:
            tokens = layer(tokens)
        return self.head(tokens[:, 0])


TIMM = {
    "ViT": from_timm("vit_tiny_patch16_224"),
    "ViT, average pooled": from_timm("vit_base_patch16_gap_224"),
    "ViT, average of all tokens": from_timm("vit_tiny_patch16_224", global_pool="avg", pool_include_prefix=True),
    "AugReg": from_timm("vit_small_patch16_224.augreg_in21k_ft_in1k"),
    "ViT, QK norm": from_timm("vit_tiny_patch16_224", qk_norm=True),
    "ViT, post-norm": from_timm("vit_base_patch16_rpn_224"),
    "ViT, 384 px": from_timm("vit_tiny_patch16_384", img_size=64),
    "ViT, not square": from_timm("vit_tiny_patch16_224", img_size=(32, 48)),
    "ViT, dynamic size": from_timm("vit_tiny_patch16_224", dynamic_img_size=True),
    "ViT, dynamic size and padding": from_timm("vit_tiny_patch16_224", dynamic_img_size=True, dynamic_img_pad=True),
    "ViT, dropouts": from_timm(
        "vit_tiny_patch16_224", attn_drop_rate=0.5, patch_drop_rate=0.5, pos_drop_rate=0.0, drop_path_rate=0.0
    ),
    "ViT, convolutional stem": from_timm("vit_tiny_r_s16_p8_224", img_size=64, patch_size=1),
    "DeiT": from_timm("deit_tiny_patch16_224"),
    "DeiT distilled": from_timm("deit_tiny_distilled_patch16_224"),
    "DeiT-III": from_timm("deit3_small_patch16_224"),
    "BEiT": from_timm("beit_base_patch16_224"),
    "BEiTv2": from_timm("beitv2_base_patch16_224"),
    "BEiT, shared bias": from_timm("beit_base_patch16_224", use_shared_rel_pos_bias=True, use_rel_pos_bias=False),
    "DINOv2": from_timm("vit_small_patch14_dinov2"),
    "DINOv2, registers": from_timm("vit_small_patch14_reg4_dinov2"),
    "EVA": from_timm("eva_giant_patch14_224"),
    "EVA-02": from_timm("eva02_tiny_patch14_224"),
    "EVA-02, class token": from_timm("eva02_base_patch14_448", global_pool="token"),
    "DINOv3": from_timm("vit_small_patch16_dinov3"),
    "ViT with RoPE": from_timm("vit_small_patch16_rope_224"),
    "Perception encoder": from_timm("vit_pe_core_tiny_patch16_384"),
    "CLIP": from_timm("vit_base_patch16_clip_224"),
    "SigLIP": from_timm("vit_base_patch16_siglip_224"),
    "SigLIP, average pooled": from_timm("vit_base_patch16_siglip_gap_224"),
    "FlexiViT": from_timm("flexivit_small"),
    "ViT, relative positions": from_timm("vit_relpos_small_patch16_224"),
}


TRANSFORMERS = {
    f"{kind}, {attention}": from_transformers(kind, attention, **options)
    for kind, options in {
        "ViTForImageClassification": {},
        "DeiTForImageClassification": {},
        "DeiTForImageClassificationWithTeacher": {},
        "BeitForImageClassification": {"use_relative_position_bias": True, "use_mean_pooling": True},
        "Dinov2ForImageClassification": {},
        "Dinov2WithRegistersForImageClassification": {"num_register_tokens": 4},
        "ViTMSNForImageClassification": {},
        "IJepaForImageClassification": {},
    }.items()
    for attention in ("sdpa", "eager")
} | {
    f"{kind}ForImageClassification, {attention}": from_transformers_vision(kind, attention)
    for kind in ("CLIP", "Siglip")
    for attention in ("sdpa", "eager")
}


OTHERS = {
    "torchvision": lambda: tiny_torchvision(image_size=32, hidden_dim=16, mlp_dim=32, num_layers=3, num_heads=2),
    "open_clip": ZeroShotSketch,
    "open_clip, average pooled": lambda: ZeroShotSketch(pool_type="avg", final_ln_after_pool=True),
    "own transformer": OwnTransformer,
}


FAMILIES = TIMM | TRANSFORMERS | OTHERS


SIZES = {
    "ViT, convolutional stem": (64, 64),
    "ViT, 384 px": (64, 64),
    "ViT, not square": (32, 48),
    "ViT, dynamic size": (40, 24),
}


SIZES["ViT, dynamic size and padding"] = (36, 30)
