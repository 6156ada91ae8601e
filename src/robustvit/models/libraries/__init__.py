"""The libraries that models come from; one file each."""

from __future__ import annotations

from torch import nn

from robustvit.models.libraries.library import Library, Loaded, Wanted
from robustvit.models.libraries.open_clip import OpenClip
from robustvit.models.libraries.timm import Timm
from robustvit.models.libraries.torchvision import Torchvision
from robustvit.models.libraries.transformers import Transformers

__all__ = ["LIBRARIES", "WEIGHTS_ALONE", "Library", "Loaded", "Wanted", "library_of"]

WEIGHTS_ALONE = "robustvit_saves_weights_alone"  # attribute of a network that its library cannot rebuild

LIBRARIES: dict[str, Library] = {
    library.name: library for library in (OpenClip(), Transformers(), Torchvision(), Timm(), Library())
}


def library_of(network: nn.Module) -> Library:
    """Return the library that can save a network and load it again; plain modules belong to the last."""
    if getattr(network, WEIGHTS_ALONE, False):
        return LIBRARIES["module"]
    return next(library for library in LIBRARIES.values() if library.owns(network))
