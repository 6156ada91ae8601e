"""Files of weights: read without running code in them; other files are recognised and refused."""

from __future__ import annotations

import argparse
import datetime
import pathlib
import pickle
import re
import types
import warnings
import zipfile
from collections import OrderedDict, deque
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from robustvit.common.errors import UserError

# Files without weights of PyTorch, by their first bytes.
_OTHER_FILES = (
    (b"\x89HDF\r\n\x1a\n", "a file of Keras or TensorFlow (HDF5): convert it to PyTorch"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself: run git lfs pull"),
    (b"<", "a web page, so the download failed: download it again"),
    (b"GGUF", "a GGUF file: give the original weights"),
    (b"{", "a JSON file: give the file with the weights, or the folder with --model transformers:FOLDER"),
)


class _Settings:
    """Stands in for the dictionaries of training scripts: takes any arguments, and makes a plain dictionary."""

    def __new__(cls, *_: object) -> OrderedDict[str, Any]:  # type: ignore[misc]
        return OrderedDict()  # the only kind of dictionary that PyTorch fills


_STAND_INS = (
    "collections.defaultdict",
    "easydict.EasyDict",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "omegaconf.nodes.AnyNode",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "typing.Any",
    "yacs.config.CfgNode",
)
_NUMPY_CODES = "?bhilqBHILQefdgFDGSUMm"


def harmless_types() -> list[Any]:
    """Return the types that training scripts store with weights and that run no code when they are read.

    They only hold values: parsed options, NumPy numbers and arrays, paths, dates, counters with a default.
    """
    arrays: Any = getattr(np, "_core", None) or np.core  # type: ignore[attr-defined]
    reconstruct, scalar = arrays.multiarray._reconstruct, arrays.multiarray.scalar
    found: list[Any] = [argparse.Namespace, types.SimpleNamespace, deque, int, float, complex, str, list]
    found += [dict, set, tuple, bool, datetime.datetime, datetime.date, datetime.timedelta, datetime.timezone]
    found += [np.ndarray, np.dtype, *{type(np.dtype(code)) for code in _NUMPY_CODES}]
    for core in ("numpy.core.multiarray", "numpy._core.multiarray"):
        found += [(reconstruct, f"{core}._reconstruct"), (scalar, f"{core}.scalar")]
    for module in ("pathlib", "pathlib._local"):
        posix = ("PosixPath", "PurePosixPath", "Path", "PurePath")
        found += [(pathlib.PurePosixPath, f"{module}.{name}") for name in posix]
        found += [(pathlib.PureWindowsPath, f"{module}.{name}") for name in ("WindowsPath", "PureWindowsPath")]
    return found + [(_Settings, name) for name in _STAND_INS]


def read_file(path: Path) -> Any:
    """Read a checkpoint; nothing in the file is executed."""
    if not path.is_file():
        raise UserError(f"expected a checkpoint file, found none at {path}: check the path")
    try:
        if path.suffix.lower() == ".safetensors" or _is_safetensors(path):
            return load_file(path)
        refuse_other_file(path)
        return _load_pickle(path)
    except UserError:
        raise
    except Exception as error:  # a broken pickle can raise anything at all
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"cannot read checkpoint {path}, it is broken or cut off ({reason}): download it again"
        ) from error


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    return start[8:] == b"{" and 2 <= length <= path.stat().st_size - 8


def refuse_other_file(path: Path) -> None:
    """Refuse a file of a known kind without weights of PyTorch, and say what it is."""
    with path.open("rb") as file:
        start = file.read(32).lstrip()
    for mark, what in _OTHER_FILES:
        if start.startswith(mark):
            raise UserError(f"expected a checkpoint of PyTorch, {path} is {what}")
    if path.suffix.lower() == ".onnx":
        raise UserError(f"expected a checkpoint of PyTorch, {path} is an ONNX model: give the weights it was made from")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.endswith("/constants.pkl") for name in names):
            raise UserError(
                f"expected a checkpoint of PyTorch, {path} is a TorchScript model: save the state dict of "
                "torch.jit.load(...) instead"
            )
        if names and all(name.endswith(".npy") for name in names):
            raise UserError(
                f"expected a checkpoint of PyTorch, {path} holds NumPy arrays (as JAX models do): convert it with timm"
            )


def _load_pickle(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(harmless_types()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on old pickle formats would bury the one line that matters
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(_explain_refusal(path, str(error))) from error


def _explain_refusal(path: Path, error: str) -> str:
    """Say in one line what a file holds and why it is not read."""
    if "TorchScript" in error:
        return f"expected a checkpoint of PyTorch, {path} is a TorchScript model: save its state dict instead"
    named = re.search(r"GLOBAL ([\w.]+)|[Ff]unction ([\w.]+)|class '([\w.]+)'", error)
    held = next(filter(None, named.groups()), "") if named else ""
    if not held:
        return (
            f"refused to load {path}: it holds objects that could run code, or is not a checkpoint; if you trust it, "
            "save its state dict as safetensors"
        )
    whole = " (a whole model, saved with torch.save)" if re.search(r"\.(models?|nn|modules?)\.", f".{held}") else ""
    return (
        f"refused to load {path}: it holds {held}{whole}, which could run code; if you trust it, save its state dict "
        "as safetensors"
    )
