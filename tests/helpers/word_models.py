"""Tiny models of transformers that take words, with random weights and tokenizers of their own, saved to folders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

WORDS = ("a", "photo", "of", "cat", "dog", "tabby", "bird", "beak", "kitten")
SIDE = 64


def library():
    return pytest.importorskip("transformers")


def clip_tokenizer(length=16):
    """Whole words as tokens."""
    vocab = {"<|startoftext|>": 0, "<|endoftext|>": 1}
    merges = []
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        for part in parts:
            vocab.setdefault(part, len(vocab))
        while len(parts) > 1:
            if tuple(parts[:2]) not in merges:
                merges.append(tuple(parts[:2]))
            parts[:2] = ["".join(parts[:2])]
            vocab.setdefault(parts[0], len(vocab))
    return library().CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=length), len(vocab)


def _images(kind, side=SIDE, **options):
    return getattr(library(), kind)(size={"height": side, "width": side}, **options)


def save_clipseg(folder: Path, **text) -> Path:
    """CLIPSeg on images of 64 pixels."""
    models = library()
    torch.manual_seed(0)
    tokenizer, words = clip_tokenizer()
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = models.CLIPSegConfig(
        text_config=small | {"vocab_size": words, "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 1,
                             "pad_token_id": 1} | text,
        vision_config=small | {"image_size": SIDE, "patch_size": 16}, projection_dim=16, extract_layers=[0, 1],
        reduce_dim=8, decoder_num_attention_heads=2, decoder_intermediate_size=16,
    )  # fmt: skip
    network = models.CLIPSegForImageSegmentation(config)
    with torch.no_grad():
        network.decoder.transposed_convolution.weight.mul_(0.2)  # heat that is neither 0 nor 1
    network.save_pretrained(folder)
    models.CLIPSegProcessor(_images("ViTImageProcessor"), tokenizer).save_pretrained(folder)
    return folder


def save_grounding(folder: Path) -> Path:
    """Grounding DINO with ten boxes for each photo."""
    models = library()
    torch.manual_seed(0)
    vocab = {word: index for index, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", *WORDS])}
    text = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "vocab_size": len(vocab), "model_type": "bert"}  # fmt: skip
    backbone = models.SwinConfig(
        image_size=SIDE, embed_dim=8, depths=[1, 1, 1], num_heads=[1, 2, 2], window_size=2,
        out_features=["stage1", "stage2", "stage3"],
    )  # fmt: skip
    config = models.GroundingDinoConfig(
        backbone_config=backbone, text_config=text, num_queries=10, d_model=32, encoder_layers=1, decoder_layers=2,
        encoder_ffn_dim=32, decoder_ffn_dim=32, encoder_attention_heads=2, decoder_attention_heads=2,
        num_feature_levels=4, encoder_n_points=2, decoder_n_points=2, max_text_len=12,
    )  # fmt: skip
    network = models.GroundingDinoForObjectDetection(config)
    with torch.no_grad():
        network.model.decoder.layer_norm.weight.mul_(0.2)  # scores that are neither 0 nor 1
    network.save_pretrained(folder)
    images = models.GroundingDinoImageProcessor(size={"height": SIDE, "width": SIDE})
    models.GroundingDinoProcessor(images, models.BertTokenizer(vocab=vocab)).save_pretrained(folder)
    return folder


def save_sam3(folder: Path) -> Path:
    """SAM 3 with six objects for each photo."""
    models = library()
    torch.manual_seed(0)
    tokenizer, words = clip_tokenizer(32)
    small = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2}
    vision = {
        "backbone_config": {"model_type": "sam3_vit_model", **small, "num_hidden_layers": 1, "image_size": 56,
                            "patch_size": 14, "window_size": 2, "global_attn_indexes": [0], "pretrain_image_size": 28},
        "fpn_hidden_size": 32, "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    }  # fmt: skip
    config = models.Sam3Config(
        vision_config=vision,
        text_config={"model_type": "clip_text_model", **small, "num_hidden_layers": 1, "vocab_size": words,
                     "max_position_embeddings": 32, "projection_dim": 32, "bos_token_id": 0, "eos_token_id": 1,
                     "pad_token_id": 1},
        geometry_encoder_config={**small, "num_layers": 1},
        detr_encoder_config={**small, "num_layers": 1},
        detr_decoder_config={**small, "num_layers": 1, "num_queries": 6},
        mask_decoder_config={"hidden_size": 32, "num_attention_heads": 2},
    )  # fmt: skip
    models.Sam3Model(config).save_pretrained(folder)
    images = models.Sam3ImageProcessor(size={"height": 56, "width": 56}, mask_size={"height": 16, "width": 16})
    models.Sam3Processor(images, tokenizer).save_pretrained(folder)
    return folder
