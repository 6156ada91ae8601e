"""How a result was produced: versions, command and date."""

from __future__ import annotations

import platform
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from robustvit.common.errors import printable

_PACKAGES = (
    "robustvit", "torch", "torchvision", "timm", "transformers", "open_clip_torch", "accelerate", "numpy", "scipy",
    "pillow",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Return the versions of Python, the machine and the libraries that influence a result."""
    return {"python": platform.python_version(), "machine": platform.platform()} | {p: _version(p) for p in _PACKAGES}


@cache  # each look-up takes milliseconds
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def provenance() -> dict[str, Any]:
    """Return the ``versions``, the ``command`` line and the ``date`` (ISO 8601) behind a result."""
    return {"versions": versions(), "command": [printable(word) for word in sys.argv], "date": time_now()}


def time_now() -> str:
    """Return the time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
