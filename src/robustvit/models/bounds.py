"""Bounds on what a model folder may ask for, checked before anything of that size is built."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn

from robustvit.common.errors import UserError
from robustvit.common.files import read_json
from robustvit.models.shards import weight_files

_MOST_BYTES = 8 * 2**20
_DEEPEST = 256  # layers; published vision transformers have fewer than 100
_DEPTHS = ("depth", "layers", "blocks", "num_stages")
_SPARE = 10_000_000  # weights that a network may have beyond the bytes of its file


def check_folder(folder: Path, build: Callable[[], nn.Module], checkpoint: str | None = None) -> None:
    """Refuse a model folder that asks for more layers or more weights than it can hold; nothing of that size is built.

    ``build`` builds the network without its weights, on the meta device, where weights take no memory. ``checkpoint``
    is a file of weights that is used instead of the folder's.
    """
    check_settings(folder / "config.json")
    files = [one for one in folder.iterdir() if one.suffix in (".safetensors", ".bin", ".pt", ".pth")]
    files += weight_files(Path(checkpoint)) if checkpoint else []
    held = sum(one.stat().st_size for one in files if one.is_file())
    try:
        with torch.device("meta"):
            network = build()
    except Exception:  # it cannot be built on the meta device, or at all: building it will say why
        return
    needed = sum(weight.numel() for weight in (*network.parameters(), *network.buffers()))
    if needed > held + _SPARE:  # a weight takes a byte or more
        raise UserError(
            f"cannot load {folder}: its config.json describes a network of {needed:,} weights, its files of weights "
            f"have {held:,} bytes: put back the config.json that belongs to them"
        )


def check_settings(file: Path) -> None:
    """Refuse a file of settings that is huge, or asks for more layers than any model has."""
    if not file.is_file():
        return
    if file.stat().st_size > _MOST_BYTES:
        raise UserError(f"cannot load {file.parent}: {file.name} has more than {_MOST_BYTES >> 20} MB, so it is broken")
    for name, value in _numbers(read_json(file)):
        if value > _DEEPEST and any(part in name for part in _DEPTHS):
            raise UserError(
                f"cannot load {file.parent}: {file.name} says {name} {str(value)[:20]}, more than {_DEEPEST}: fix the "
                "file"
            )


def _numbers(settings: object) -> Iterator[tuple[str, float]]:
    """Yield every number in settings with its name."""
    waiting = [("", settings)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, list):
            waiting += [(name, one) for one in value]
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield name, value
