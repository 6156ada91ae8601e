"""Weights on disk: checkpoints are read without running code in them."""

from __future__ import annotations

import argparse
import hashlib
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from robustvit.common.errors import UserError
from robustvit.models.classifier import Classifier

_NESTED = ("state_dict", "model_state_dict", "model", "state")
_HEADS = ("head", "classifier", "heads.head", "cls_classifier", "fc")
_PREFIXES = ("module.", "_orig_mod.", "network.")


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from safetensors, ``.pth`` or the authors' ``.pth.tar``; nothing in the file is executed.

    A state dict may be nested under ``state_dict`` or ``model``; prefixes that wrappers add are removed.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"expected a checkpoint file, found none at {path}: check the path")
    try:
        loaded = load_file(path) if path.suffix == ".safetensors" else _load_pickle(path)
    except UserError:
        raise
    except Exception as error:  # a broken pickle can raise anything at all
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"cannot read checkpoint {path}, it is broken or cut off ({reason}): download it again"
        ) from error
    return _tensors(loaded, path)


def _load_pickle(path: Path) -> Any:
    try:
        # Training scripts often store their parsed options; the class only holds attributes, so it is harmless.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on old pickle formats would bury the one line that matters
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"refused to load {path}: it holds objects that could run code, or is not a checkpoint; "
            "if you trust it, save its state dict as safetensors"
        ) from error


def _tensors(loaded: object, path: Path) -> dict[str, Tensor]:
    for name in _NESTED:
        if isinstance(loaded, dict) and isinstance(loaded.get(name), dict):
            loaded = loaded[name]
            break
    state = {k: v for k, v in loaded.items() if isinstance(v, Tensor)} if isinstance(loaded, dict) else {}
    if not state:
        raise UserError(f"expected a state dict of tensors in {path}, found none: save model.state_dict() there")
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name[len(prefix) :]: tensor for name, tensor in state.items()}
    return state


def count_head_classes(state: dict[str, Tensor]) -> int | None:
    """Return the number of classes of the head in a state dict of any library, or None if it has no such layer."""
    heads = [state[f"{name}.weight"] for name in _HEADS if f"{name}.weight" in state]
    return heads[0].shape[0] if heads and heads[0].ndim == 2 else None


def load_weights(network: nn.Module, state: dict[str, Tensor], origin: str | Path) -> None:
    """Load a complete state dict; position embeddings of a timm transformer are resampled if their size differs."""
    own = network.state_dict()
    theirs, ours = state.get("pos_embed"), own.get("pos_embed")
    resize = theirs is not None and ours is not None and theirs.shape[1] != ours.shape[1]
    if resize and isinstance(network, VisionTransformer):
        state = checkpoint_filter_fn(state, network)
    wrong = [f"lacks {name}" for name in own if name not in state]
    wrong += [f"has {name}" for name in state if name not in own]
    wrong += [
        f"{name} is {tuple(state[name].shape)}, not {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if wrong:
        raise UserError(
            f"{origin} is a checkpoint of another architecture than {type(network).__name__}: it {wrong[0]}"
            f"{f' and {len(wrong) - 1} more differ' if len(wrong) > 1 else ''}; name the model it was trained with"
        )
    network.load_state_dict(state)


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
