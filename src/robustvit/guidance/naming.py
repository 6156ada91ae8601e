"""The name of a run's method in records and tables."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from robustvit.data.manifest import tokencut_protocol
from robustvit.guidance.registry import GUIDANCE
from robustvit.models.method_names import method_name


def _usual_of(guidance: str) -> dict[str, Any]:
    """Return the defaults of a guidance method; none if it is not registered here."""
    if guidance not in GUIDANCE:
        return {}
    own = {field.name: field.default for field in fields(GUIDANCE[guidance]) if field.init}
    del own["object_classes"], own["regions"]  # depend on the photos
    own.pop("temperature", None)  # depends on the model, not on the method
    return own


def name_method(config: dict[str, Any]) -> str:
    """Return the name of the method in a run's settings."""
    return method_name(config, _usual_of(str(config["guidance"])), tokencut_protocol(config))
