"""What the tests of hostile files share: a refusal is one line, and images that lie about their size."""

from __future__ import annotations

import json
import os
import shutil
import string
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from robustvit.cli.main import main
from robustvit.common.errors import UserError

__all__ = ["BOMB", "Evil", "changed_model", "chunk", "png", "refusal", "said", "swapped_photo"]

# each line stands for nine of the line before: 9^12 values in half a kilobyte
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip(string.ascii_lowercase[:11], string.ascii_lowercase[1:12], strict=True)
)


def refusal(call: Callable[[], object]) -> str:
    """The one line with which a call refuses what it was given."""
    with pytest.raises(UserError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def said(capsys, *words: object) -> str:
    """The one line with which a command refuses what it was given."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert not any("Traceback" in line for line in lines)
    assert lines[-1].startswith("robustvit ")
    return lines[-1]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(path: Path, width: int, height: int, *extra: bytes, pixels: bytes = b"\0" * 100) -> Path:
    """An RGB image that claims a size; its pixels may be fewer."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(pixels, 9)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(extra) + body)
    return path


class Evil:
    """Runs a command that makes a file when it is unpickled."""

    def __init__(self, mark: Path | str) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch '{self.mark}'",)


def changed_model(model_folder: Path, folder: Path, **settings: object) -> Path:
    """A copy of a model folder with other settings in its config.json."""
    shutil.copytree(model_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))
    return folder


def swapped_photo(photos: tuple[Path, Path], folder: Path) -> Path:
    """A copy of photos and masks; the first photo of the first class, to be replaced."""
    shutil.copytree(photos[0], folder / "images")
    shutil.copytree(photos[1], folder / "masks")
    return sorted((folder / "images" / "disc").iterdir())[0]
