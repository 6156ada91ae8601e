"""The name of a run's method, as records and tables give it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from robustvit.data.mask_settings import tokencut_protocol
from robustvit.guidance.registry import GUIDANCE
from robustvit.models.method_names import method_name


def _usual_of(guidance: str) -> dict[str, Any]:
    """The defaults of another guidance method; nothing is known of one that somebody registered and is not here."""
    if guidance not in GUIDANCE:
        return {}
    own = {field.name: field.default for field in fields(GUIDANCE[guidance]) if field.init}
    return {
        name: value for name, value in own.items() if name != "temperature"
    }  # that is the model's, not the method's


def name_method(config: dict[str, Any]) -> str:
    """The name of the method that a run's settings describe, as its records give it."""
    return method_name(config, _usual_of(str(config["guidance"])), tokencut_protocol(config))
