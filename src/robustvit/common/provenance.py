"""By what a result was made: versions, command and date."""

from __future__ import annotations

import platform
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from robustvit.common.errors import printable

_MODELS = ("timm", "transformers", "open_clip_torch")


_PACKAGES = ("robustvit", "torch", "torchvision", *_MODELS, "accelerate", "torchmetrics", "numpy", "scipy", "pillow")


def versions() -> dict[str, str]:
    """Versions of Python, the machine and the libraries that decide a result."""
    return {"python": platform.python_version(), "machine": platform.platform()} | {p: _version(p) for p in _PACKAGES}


@cache  # packages do not change beneath a process, and to look one up takes milliseconds
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def provenance() -> dict[str, Any]:
    """By what a result was made: ``versions``, the ``command`` line and the ``date``, ISO 8601."""
    return {"versions": versions(), "command": [printable(word) for word in sys.argv], "date": time_now()}


def time_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
