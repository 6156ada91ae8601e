"""A command's result as one JSON document, for ``--json``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from robustvit.common.errors import printable


def document(result: Any) -> str:
    """What a command returned, as the text of one JSON document.

    A result that is a file becomes ``{"file": path}``, one that is text ``{"text": text}``; nothing becomes ``null``.
    What ``plain`` says holds for everything inside.
    """
    if isinstance(result, Path):
        result = {"file": result}
    found = plain(result)
    return json.dumps({"text": found} if isinstance(found, str) else found, indent=1, allow_nan=False)


def plain(value: Any) -> Any:
    """A value in JSON's own types.

    Dataclasses become objects of their fields, in their order; mappings objects, whose keys are text; sequences, sets,
    arrays and tensors arrays; paths text; NaN and infinity null. An object that has a method ``as_json`` says itself
    what stands for it.

    Raises:
        TypeError: something inside is none of these.
    """
    if hasattr(value, "as_json"):
        return plain(value.as_json())
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str | Path):
        return printable(str(value))
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    return _collection(value)


def _collection(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_key(key): plain(one) for key, one in value.items()}
    if hasattr(value, "tolist"):  # NumPy's numbers and arrays, tensors
        return plain(value.tolist())
    if isinstance(value, set | frozenset):
        return sorted((plain(one) for one in value), key=str)
    if isinstance(value, Iterable):
        return [plain(one) for one in value]
    raise TypeError(f"a result holds a {type(value).__name__}, which has no form in JSON")


def _key(key: Any) -> str:
    return printable(str(key.value if isinstance(key, Enum) else key))
