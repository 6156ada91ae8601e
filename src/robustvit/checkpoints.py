"""Weights on disk: foreign checkpoints read without running what is in them, models written as drop-in timm folders."""

from __future__ import annotations

import argparse
import os
import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import timm.models
import torch
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from robustvit.classifier import Classifier
from robustvit.errors import UserError

__all__ = ["head_classes", "load_weights", "read_checkpoint", "save_model"]

_NESTED = ("state_dict", "model_state_dict", "model", "state")
_PREFIXES = ("module.", "_orig_mod.", "network.")


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from safetensors, ``.pth`` or the authors' ``.pth.tar``; nothing in the file is executed.

    A state dict nested under ``state_dict`` or ``model`` is found; prefixes that wrappers add are taken off.

    Raises:
        UserError: no such file, a file that is broken, or a pickle that holds more than tensors and plain data.
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
        raise UserError(f"cannot read checkpoint {path}, it is broken or cut off ({reason}): get it again") from error
    return _tensors(loaded, path)


def _load_pickle(path: Path) -> Any:
    try:
        # Training scripts often store their parsed options; the class only holds attributes, so it is harmless.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on old pickle formats would bury the one line that matters
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"refused to load {path}: it holds objects that could run code, or is no checkpoint; "
            "save its state dict as safetensors where you trust it"
        ) from error


def _tensors(loaded: Any, path: Path) -> dict[str, Tensor]:
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


def head_classes(state: dict[str, Tensor], classifier: str = "head") -> int | None:
    """Number of classes of the head in a state dict, or None where it has no such layer."""
    weight = state.get(f"{classifier}.weight")
    return None if weight is None else weight.shape[0]


def load_weights(network: nn.Module, state: dict[str, Tensor], origin: str | Path) -> None:
    """Load a state dict whole, position embeddings resampled to the network's grid where their size differs.

    Raises:
        UserError: names or shapes that are not the network's; nothing is loaded then.
    """
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


def save_model(classifier: Classifier, folder: str | Path) -> Path:
    """Write a folder that ``timm.create_model("local-dir:FOLDER", pretrained=True)`` loads without this package.

    It is written beside its place and moved there whole; a folder of the same name is replaced.

    Returns:
        The folder.
    """
    folder = Path(folder)
    fresh, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    config: dict[str, Any] = {"num_classes": classifier.num_classes}
    config["pretrained_cfg"] = classifier.preprocessing.as_timm() | config
    if classifier.class_names:
        config["label_names"] = list(classifier.class_names)
    network: Any = classifier.network
    network.pretrained_cfg = getattr(network, "pretrained_cfg", None) or {"architecture": type(network).__name__}
    timm.models.save_for_hf(
        network,
        str(fresh),
        model_config=config,
        safe_serialization=True,
    )
    if folder.exists():
        os.replace(folder, old)
    os.replace(fresh, folder)
    shutil.rmtree(old, ignore_errors=True)
    return folder
