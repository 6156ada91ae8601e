"""What comes with the package."""

from __future__ import annotations

from importlib.resources import files

MODEL = files("robustvit.data.embedded") / "model"
