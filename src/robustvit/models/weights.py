"""Weights of a network: loading a complete state dict, and hashing."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import torch
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from robustvit.common.errors import UserError
from robustvit.common.progress import warn
from robustvit.common.wording import pluralize
from robustvit.models.classifier import Classifier
from robustvit.models.state_dicts import fit_names, list_differences


def load_weights(network: nn.Module, state: dict[str, Tensor], origin: str | Path) -> None:
    """Load a complete state dict, under the network's names or after a prefix.

    Position embeddings of a timm transformer are resampled if their size differs, with a warning.
    """
    own = network.state_dict()
    state = fit_names(state, own, origin)
    state = _resample_positions(network, state, own.get("pos_embed"), origin)
    if wrong := list_differences(state, own):
        raise UserError(_explain(network, state, origin, wrong))
    network.load_state_dict(state)


def _resample_positions(
    network: nn.Module, state: dict[str, Tensor], ours: Tensor | None, origin: str | Path
) -> dict[str, Tensor]:
    theirs = state.get("pos_embed")
    if theirs is None or ours is None or theirs.shape[1] == ours.shape[1] or not isinstance(network, VisionTransformer):
        return state
    warn_of_resampling(network, theirs, origin)
    resampled: dict[str, Tensor] = checkpoint_filter_fn(state, network)
    return resampled


def _explain(network: nn.Module, state: dict[str, Tensor], origin: str | Path, wrong: list[str]) -> str:
    if any("lora_" in name for name in state):
        return (
            f"{origin} holds an adapter (LoRA), not the weights of {type(network).__name__}: merge it with peft's "
            "merge_and_unload, and save the state dict of that"
        )
    more = f" ({pluralize(len(wrong) - 1, 'more difference')})" if len(wrong) > 1 else ""
    return (
        f"{origin} is a checkpoint of another architecture than {type(network).__name__}: it {wrong[0]}{more}; name "
        "the model it was trained with"
    )


def warn_of_resampling(network: VisionTransformer, positions: Tensor, origin: str | Path) -> None:
    """Warn that position embeddings ``(1, N, D)`` are of another grid than a timm network's."""
    rows, columns = network.patch_embed.grid_size
    extra = network.num_prefix_tokens if not getattr(network, "no_embed_class", False) else 0
    side = math.isqrt(positions.shape[1] - extra)
    height, width = network.patch_embed.patch_size
    warn(
        f"{origin}: its position embeddings are of {side} x {side} patches, this model has {rows} x {columns}: "
        f"resampled; --input-size {side * height}{f'x{side * width}' * (width != height)} keeps the size that the "
        "weights were trained with"
    )


def weights_hash(model: nn.Module) -> str:
    """Return the SHA-256, in hexadecimal, of the sorted names, dtypes, shapes and bytes of a state dict.

    A ``Classifier`` has the hash of its network, so the hash does not depend on how the model was wrapped.
    """
    network = model.network if isinstance(model, Classifier) else model
    found = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        if isinstance(value, Tensor):
            plain = value.detach().cpu().contiguous()
            found.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
            found.update(plain.reshape(-1).view(torch.uint8).numpy().data)
        else:
            found.update(f"{name} {value!r}\n".encode())
    return found.hexdigest()
