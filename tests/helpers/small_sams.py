"""Tiny SAM 2 and SAM 3 with random weights, saved as transformers saves them, and a fake that fills boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

_SIDE = 128


def save_sam2(folder: Path) -> Path:
    library = pytest.importorskip("transformers")
    if not hasattr(library, "Sam2Model"):
        pytest.skip("needs transformers with SAM 2")
    torch.manual_seed(0)
    backbone = library.Sam2HieraDetConfig(
        hidden_size=8, num_attention_heads=1, blocks_per_stage=[1, 1, 2, 1], embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 2, 4, 8], global_attention_blocks=[3],
        image_size=[_SIDE, _SIDE],
    )  # fmt: skip
    vision = library.Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=[64, 32, 16, 8], fpn_hidden_size=32,
        backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
    )  # fmt: skip
    return _save(library, "Sam2", vision, library.Sam2ImageProcessorFast, folder)


def save_sam3(folder: Path) -> Path:
    """The part of SAM 3 that takes boxes and points."""
    library = pytest.importorskip("transformers")
    if not hasattr(library, "Sam3TrackerModel"):
        pytest.skip("needs transformers with SAM 3")
    torch.manual_seed(0)
    backbone = library.Sam3ViTConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=_SIDE,
        patch_size=16, window_size=4, global_attn_indexes=[1], pretrain_image_size=_SIDE,
    )  # fmt: skip
    vision = library.Sam3VisionConfig(
        backbone_config=backbone, fpn_hidden_size=32, backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]]
    )
    return _save(library, "Sam3Tracker", vision, library.Sam3ImageProcessor, folder)


def _save(library, name: str, vision, image_processor, folder: Path) -> Path:
    """Save a model with the classes that begin with a name, and its processor."""

    def of(kind: str):
        return getattr(library, name + kind)

    prompt = of("PromptEncoderConfig")(hidden_size=32, image_size=_SIDE, patch_size=16)
    decoder = of("MaskDecoderConfig")(
        hidden_size=32, mlp_dim=32, num_attention_heads=4, iou_head_hidden_dim=32, iou_head_depth=2
    )
    config = of("Config")(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    of("Model")(config).save_pretrained(folder)
    images = image_processor(size={"height": _SIDE, "width": _SIDE}, mask_size={"height": 32, "width": 32})
    of("Processor")(images, target_size=_SIDE).save_pretrained(folder)
    return folder


class FilledBoxes:
    """Fills each box but the last pixel row, keeps what it was asked, and is sure of the first box."""

    name = "sam2"

    def __init__(self, first: float = 1.0, others: float = 1.0) -> None:
        self.scores = first, others
        self.asked: list[list[list[float]]] = []

    def content(self, path):
        return "weights"

    def segment_boxes(self, photo, boxes):
        self.asked.append(boxes)
        soft = np.zeros((len(boxes), photo.height, photo.width), np.float32)
        for mask, (left, top, right, bottom) in zip(soft, boxes, strict=True):
            mask[round(top) : round(bottom), round(left) : round(right)] = 0.9
        first, others = self.scores
        return soft, [first, *[others] * (len(boxes) - 1)]
