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
    "robustvit", "torch", "torchvision", "timm", "transformers", "open_clip_torch", "accelerate", "torchmetrics",
    "numpy", "scipy", "pillow",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Return the versions of Python, the machine and the libraries that influence a result."""
    packages = {name: installed_version(name) or "not installed" for name in _PACKAGES}
    return {"python": platform.python_version(), "machine": platform.platform()} | packages


@cache  # each look-up takes milliseconds
def installed_version(package: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def provenance() -> dict[str, Any]:
    """Return the ``versions``, the ``command`` line and the ``date`` (ISO 8601) behind a result."""
    return {"versions": versions(), "command": [printable(word) for word in sys.argv], "date": time_now()}


def time_now() -> str:
    """Return the time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
