"""The classifier: a network with the preprocessing that it needs, and the names of its classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from robustvit.common.errors import UserError
from robustvit.common.files import is_file
from robustvit.common.options import ClassNames, HeadKind
from robustvit.common.photo_options import PixelOptions
from robustvit.models.adapters import KeptAdapter
from robustvit.models.families import Readout
from robustvit.models.heads import classes_of
from robustvit.models.kinds import channels_of, is_known
from robustvit.models.outputs import OutputKind, as_logits, has_two_heads, logits_of
from robustvit.models.preprocessing import Preprocessing
from robustvit.models.unwrap import unwrap

_GREY = (0.299, 0.587, 0.114)


class Classifier(nn.Module):
    """An image classifier that takes images in [0, 1] and normalises them itself.

    For a network of one channel the images become grey first: 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), as in Pillow.

    Args:
        network: maps normalised ``(B, 3, H, W)`` to logits ``(B, C)``, or to an object that holds them; see ``unwrap``.
        preprocessing: how photos become inputs; read from the network when left out.
        class_names: one name per logit, if known.
        source: where it was loaded from.
        kind: whether the network returns logits or probabilities.

    Attributes:
        pixels: how the photos that it was finetuned on were read, where there were several ways.
        head_kind: what its outputs mean; see ``settle_head``.
    """

    mean: Tensor
    std: Tensor
    # Measured when a module is loaded: its number of logits, and the tokens that its custom head reads.
    classes: int | None = None
    pixels = PixelOptions()
    head_kind: HeadKind = "softmax"
    recorded_head: HeadKind | None = None  # as its folder says, or as it was settled
    readout: Readout | Literal["unclear"] | None = None
    adapter: KeptAdapter | None = None  # an adapter that is trained without merging it

    def __init__(
        self,
        network: nn.Module,
        *,
        preprocessing: Preprocessing | None = None,
        class_names: Sequence[str] = (),
        source: str = "",
        kind: OutputKind = "logits",
    ) -> None:
        super().__init__()
        self.network = network = unwrap(network)
        self.preprocessing = preprocessing or Preprocessing.of(network)
        if is_known(network):
            self.preprocessing = self.preprocessing.with_channels(channels_of(network))
        self.class_names = tuple(map(str, class_names))
        self.source, self.kind = source, kind
        self.register_buffer("mean", torch.tensor(self.preprocessing.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(self.preprocessing.std)[:, None, None], persistent=False)

    @property
    def outputs(self) -> int:
        """Number of outputs of the network."""
        return classes_of(self.network) if self.classes is None else self.classes

    @property
    def num_classes(self) -> int:
        """Number of classes: two for one logit, else one for each output."""
        return 2 if self.head_kind == "binary" else self.outputs

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(B, C)`` of images ``(B, 3, H, W)`` in [0, 1].

        A head of one logit z returns ``(0, z)``: their softmax is the sigmoid of -z and of z, and their cross-entropy
        the binary cross-entropy, so that the model behaves as a classifier of two classes.
        """
        if self.preprocessing.channels == 1 and images.shape[1] == 3:
            images = (images * images.new_tensor(_GREY)[:, None, None]).sum(dim=1, keepdim=True)
        outputs = self.network((images - self.mean) / self.std)
        logits = as_logits(logits_of(outputs, distilled=has_two_heads(self.network)), self.kind)
        return torch.cat((logits.new_zeros(logits.shape), logits), dim=1) if self.head_kind == "binary" else logits

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probabilities in [0, 1] of logits ``(B, C)``, or for a regression the numbers themselves."""
        if self.head_kind == "regression":
            return logits
        return logits.softmax(dim=1) if self.head_kind in ("softmax", "binary") else logits.sigmoid()

    def __str__(self) -> str:
        return self.source or type(self.network).__name__

    def name_of(self, label: int) -> str:
        """Return the readable name of a class."""
        word = "output" if self.head_kind in ("regression", "ordinal") else "class"
        return self.class_names[label] if self.class_names else f"{word} {label}"


def find_classifier(model: nn.Module) -> Classifier | None:
    """Return the ``Classifier`` that a model is or holds, or None for a bare network."""
    return next((module for module in model.modules() if isinstance(module, Classifier)), None)


def head_kind_of(model: nn.Module) -> HeadKind:
    """Return the kind of head of a model, which may be wrapped; softmax for a bare network."""
    classifier = find_classifier(model)
    return "softmax" if classifier is None else classifier.head_kind


def read_names(given: ClassNames | Path) -> tuple[str, ...]:
    """Read names from a list, a text separated by commas, or a text file."""
    if isinstance(given, str) and "," in given and not is_file(given):
        given = given.split(",")
    if isinstance(given, (str, Path)):
        path = Path(given)
        if not is_file(path):
            raise UserError(
                f"expected class names as cat,dog or a text file with one per line, found no file at {str(path)[:200]}"
            )
        try:
            given = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"expected class names as UTF-8 text in {path}, but cannot read it: {error}") from error
    names = tuple(name.strip() for name in given if name.strip())
    if len(set(names)) < 2 or len(set(names)) != len(names):
        raise UserError(f"expected at least two different class names, each once, got {len(names)} ({names[:3]} ...)")
    return names


def set_names(classifier: Classifier, names: Sequence[str] | None) -> Classifier:
    """Set the class names of a classifier that has none."""
    if names is None or tuple(names) == classifier.class_names:
        return classifier
    if classifier.class_names:
        raise UserError(
            f"{classifier.source} already has class names ({', '.join(classifier.class_names[:3])} ...): leave "
            "--class-names out, or name a model that chooses among any names (open_clip:ARCHITECTURE/TAG)"
        )
    if len(names) != classifier.num_classes:
        raise UserError(f"expected {classifier.num_classes} class names, one per class of the model, got {len(names)}")
    classifier.class_names = tuple(names)
    return classifier
