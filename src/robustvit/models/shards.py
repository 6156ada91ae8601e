"""Weights in several files with an index, as transformers saves large models, and folders that hold one model's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from robustvit.common.errors import UserError
from robustvit.common.files import read_json
from robustvit.models.checkpoints import read_file

_INDEX = ".index.json"
_IN_FOLDERS = ("model.safetensors", "pytorch_model.bin")  # as transformers, accelerate and this package name them
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".tar")
_SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.)")


def find_weights(path: Path) -> Path:
    """Return the file of weights, or the index of several files, at a path or in the folder there."""
    if not path.is_dir():
        index = path.with_name(_SHARD.sub("", path.name) + _INDEX)
        if _SHARD.search(path.name) and path.is_file() and not path.name.endswith(_INDEX):
            there = f"give its index, {index}" if index.is_file() else f"its index, {index.name}, is missing beside it"
            raise UserError(
                f"expected all weights of a model, {path} is one of several files with parts of them: {there}"
            )
        return path
    for name in _IN_FOLDERS:
        for file in (path / name, path / f"{name}{_INDEX}"):
            if file.is_file():
                return file
    files = sorted(file for file in path.iterdir() if file.suffix in WEIGHT_SUFFIXES and file.is_file())
    if len(files) != 1:
        there = f"{len(files)} ({', '.join(one.name for one in files[:4])})" if files else "none"
        raise UserError(f"expected one file of weights in {path}, found {there}: name the file with --checkpoint")
    return files[0]


def weight_files(path: Path) -> list[Path]:
    """Return the files of an index of weights, or the file itself."""
    if not path.name.endswith(_INDEX):
        return [path]
    index = read_json(path)
    names = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise UserError(
            f"expected an index of weights with a weight_map in {path}, found none: put the right file there"
        )
    files = sorted(set(names.values()))
    if outside := [name for name in files if Path(name).name != name or "\\" in name]:
        raise UserError(f"refused to read {path}: it names {outside[0]!r}, a file outside its folder")
    if lacking := [name for name in files if not (path.parent / name).is_file()]:
        raise UserError(
            f"{path} names {len(files)} files of weights, {lacking[0]} is missing"
            f"{f' with {len(lacking) - 1} more' if len(lacking) > 1 else ''}: put it beside the index"
        )
    return [path.parent / name for name in files]


def read_weights(path: Path) -> Any:
    """Read a file as ``read_file`` does, or all the files of an index as one state dict."""
    if not path.name.endswith(_INDEX):
        return read_file(path)
    joined: dict[str, Any] = {}
    for file in weight_files(path):
        part = read_file(file)
        if not isinstance(part, dict):
            raise UserError(f"expected a state dict in {file}, a part of {path}: put the right file there")
        joined |= part
    named = set(read_json(path)["weight_map"])
    if lacking := sorted(named - set(joined)):
        raise UserError(f"{path} names the weights {lacking[0]}, which none of its files holds: download them again")
    return joined
