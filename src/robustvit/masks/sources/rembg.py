"""Masks from rembg: U2-Net, IS-Net, BiRefNet and the other models of that package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from robustvit.common.errors import expect_one_of
from robustvit.common.extras import import_extra
from robustvit.masks.confidence import FoundMask
from robustvit.masks.sources.source import MaskSource, rate_soft_mask
from robustvit.models.libraries.library import readable_errors


class Rembg(MaskSource):
    """rembg's alpha channel as a soft mask.

    Args:
        model: rembg's model name, e.g. ``u2net``, ``isnet-general-use``, ``birefnet-general``.
    """

    name = "rembg"

    def __init__(self, model: str = "u2net") -> None:
        import_extra("onnxruntime", "rembg")  # without it, importing rembg exits the process
        self.library = import_extra("rembg", "rembg")
        sessions = import_extra("rembg.sessions", "rembg")
        # Some of its names are online services: never send photos there.
        names = set(getattr(sessions, "sessions_names_downloadable", None) or sessions.sessions_names)
        expect_one_of("the model of rembg", model, sorted(names))
        with readable_errors(f"rembg:{model}", "--method tokencut, or put the weights where rembg looks (U2NET_HOME)"):
            self.session = self.library.new_session(model)

    def prepare(self, photos: Sequence[Image.Image], paths: Sequence[Path]) -> list[np.ndarray]:
        """Soft masks; see ``MaskSource``."""
        masks = [self.library.remove(photo, session=self.session, only_mask=True) for photo in photos]
        return [np.asarray(mask.convert("L"), np.float32) / 255 for mask in masks]

    @staticmethod
    def finish(job: np.ndarray) -> FoundMask:
        """See ``MaskSource``."""
        return rate_soft_mask(job)
