"""Answers of an audit: each is computed once, and kept on the disk until the page is written, so a stopped one resumes.

An answer belongs to a model's weights and to the pixels of a picture, whatever it was computed for: the same object on
the same background is not computed twice, and an audit that is started again with other options uses what it can.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from robustvit.common.files import new_file
from robustvit.common.options import Feature
from robustvit.evaluation.asking import Asking
from robustvit.models.weights import weights_hash

_EVERY = 20.0  # seconds between saves


class Memory(Asking):
    """Ask models, and remember what they answered.

    Args:
        folder: for files of answers, made when the first is written; None keeps them in memory only.

    Attributes:
        repeated: number of questions that were asked before.
        resumed: number of answers that were read from the folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder, self.repeated, self.resumed = folder, 0, 0
        self._known: dict[str, Tensor] = {}
        self._new: dict[str, Tensor] = {}
        self._names: dict[int, str] = {}
        self._models: list[nn.Module] = []  # kept, so that no other object gets the identity of one
        self._saved = time.monotonic()
        self._parts = 0
        if folder is not None and folder.is_dir():
            self._read(folder)

    def logits(self, model: nn.Module, images: Tensor) -> Tensor:
        """See ``Asking``; answers are remembered."""
        return self._recall(model, ("logits",), images, lambda left: [super(Memory, self).logits(model, left)])[0]

    def explain(self, model: nn.Module, images: Tensor, method: str) -> tuple[Tensor, Tensor]:
        """See ``Asking``; answers and maps are remembered."""
        kinds = ("logits", f"map {method}")
        logits, maps = self._recall(model, kinds, images, lambda left: super(Memory, self).explain(model, left, method))
        return logits, maps

    def features(self, model: nn.Module, images: Tensor, feature: Feature = "keys", block: int | None = None) -> Tensor:
        """See ``Asking``; the answers of the same forward pass are remembered, the features are not: they are large."""
        caught: list[Tensor] = []

        def catch(_: nn.Module, __: object, output: object) -> None:
            if isinstance(output, Tensor) and output.ndim == 2:
                caught.append(output)

        hook = model.register_forward_hook(catch)
        try:
            found = super().features(model, images, feature, block)
        finally:
            hook.remove()
        if len(caught) == 1 and len(caught[0]) == len(images):
            for key, row in zip(self._keys(model, images), caught[0].detach().cpu(), strict=True):
                self._keep(f"{key}/logits", row)
        return found

    def save(self) -> None:
        """Write what is new to the folder, as a further file."""
        self._saved = time.monotonic()
        if self.folder is None or not self._new:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with new_file(self.folder / f"{self._parts:05d}.safetensors", flush=False) as file:
            file.write(save(self._new))
        self._parts += 1
        self._new = {}

    def forget(self) -> None:
        """Remove the files; other files in the folder stay."""
        if self.folder is not None and self.folder.is_dir():
            for part in self._files(self.folder):
                part.unlink(missing_ok=True)
            with suppress(OSError):  # there is something of the user in it
                self.folder.rmdir()

    @staticmethod
    def _files(folder: Path) -> list[Path]:
        return sorted(path for path in folder.glob("*.safetensors") if path.stem.isdigit() and len(path.stem) == 5)

    def _read(self, folder: Path) -> None:
        files = self._files(folder)
        for path in files:
            with suppress(OSError, SafetensorError, ValueError):  # what cannot be read is computed again
                self._known |= load(path.read_bytes())
        self._parts = 1 + int(files[-1].stem) if files else 0
        self.resumed = len(self._known)

    def _keep(self, name: str, value: Tensor) -> None:
        if name not in self._known:
            self._known[name] = self._new[name] = value.clone().contiguous()

    def _keys(self, model: nn.Module, images: Tensor) -> list[str]:
        """Return the names of images ``(B, 3, H, W)`` asked of a model: of its weights, and of their pixels."""
        if id(model) not in self._names:
            self._names[id(model)] = weights_hash(model)[:16]
            self._models.append(model)
        pixels = images.detach().cpu().contiguous()
        shape = str(tuple(pixels.shape[1:])).encode()
        return [
            f"{self._names[id(model)]}/{hashlib.blake2b(one.numpy().data, digest_size=16, key=shape[:64]).hexdigest()}"
            for one in pixels
        ]

    def _recall(
        self,
        model: nn.Module,
        kinds: Sequence[str],
        images: Tensor,
        compute: Callable[[Tensor], Sequence[Tensor]],
    ) -> list[Tensor]:
        """Return what is asked of each kind, computed for the images of which any kind is not known."""
        keys = self._keys(model, images)
        missing = {
            key: at for at, key in enumerate(keys) if any(f"{key}/{kind}" not in self._known for kind in kinds)
        }  # equal pictures count once
        self.repeated += len(keys) - len(missing)
        if missing:
            # A whole batch is passed on as it is, so that its answers are those of a model that was asked directly.
            left = images if len(missing) == len(keys) else images[list(missing.values())]
            for kind, values in zip(kinds, compute(left), strict=True):
                for key, value in zip(missing, values.detach().cpu(), strict=True):
                    self._keep(f"{key}/{kind}", value)
            if time.monotonic() - self._saved > _EVERY:
                self.save()
        return [torch.stack([self._known[f"{key}/{kind}"] for key in keys]).to(images.device) for kind in kinds]
