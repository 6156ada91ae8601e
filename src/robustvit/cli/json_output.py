"""The result of a command as one JSON document, for ``--json``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path


def to_json(result: object) -> str:
    """Write the result of a command as one JSON document.

    A path becomes ``{"file": path}``, text ``{"text": text}``, and None ``null``. See ``to_plain`` for everything else.
    Letters beyond ASCII are written as escapes, which keep file names exact, whatever bytes they hold.
    """
    if isinstance(result, Path):
        result = {"file": result}
    value = to_plain(result)
    return json.dumps({"text": value} if isinstance(value, str) else value, indent=1, allow_nan=False)


def to_plain(value: object) -> object:
    """Convert a value to JSON types; raise ``TypeError`` if something inside has another type.

    Dataclasses become objects with their fields in order; mappings become objects with text keys; sequences, sets,
    arrays and tensors become arrays; paths become text; NaN and infinity become null. An object with a method
    ``as_json`` is replaced by what that returns.
    """
    if hasattr(value, "as_json"):
        return to_plain(value.as_json())
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str | Path):
        return str(value)
    if hasattr(value, "tolist"):  # NumPy numbers and arrays, tensors
        return to_plain(value.tolist())
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((to_plain(item) for item in value), key=str)
    if isinstance(value, Iterable):
        return [to_plain(item) for item in value]
    raise TypeError(f"cannot write a {type(value).__name__} as JSON")
