"""The kinds of shifted copies, and plans of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.options import ImageFormat, MaskFormat
from robustvit.data.photo import Photo
from robustvit.data.shifts.cutouts import SIZES, Placement
from robustvit.data.swaps import SWAPS

PHOTO_SIZE = 224  # side of ImageNet-9's images
BACKGROUND_KINDS = ("only-bg-b", "only-bg-t")
GROUPS: dict[str, tuple[str, ...]] = {
    "imagenet-9": ("original", "only-fg", "no-fg", *BACKGROUND_KINDS, "mixed-same", "mixed-rand", "mixed-next"),
    "si-score": tuple(SIZES),
}
KINDS: tuple[str, ...] = (*GROUPS["imagenet-9"], "mixed-other", *GROUPS["si-score"])
_MASKED = frozenset({"original", "only-fg", *SWAPS, *SIZES})


@dataclass(frozen=True)
class ShiftOptions:
    """Options of the copies; see ``robustvit.shifts`` for each."""

    kinds: Sequence[str]
    pairs: int | None = None
    every: int = 1
    size: int | None = None
    min_inside: float | None = None
    format: ImageFormat = "png"
    mask_format: MaskFormat = "auto"
    seed: int = 0

    @property
    def moved(self) -> list[str]:
        """The chosen kinds that move the object."""
        return [kind for kind in self.kinds if kind in SIZES]

    @property
    def draws(self) -> dict[str, str]:
        """How backgrounds are drawn, if any are: folders of older versions, which drew others, are refused."""
        return {"draws": "without reuse"} if any(kind in SWAPS for kind in self.kinds) else {}

    @property
    def variants(self) -> list[str]:
        """The other chosen kinds, which do not move the object."""
        return [kind for kind in self.kinds if kind not in SIZES]


@dataclass(frozen=True)
class Shift:
    """An image to make.

    Attributes:
        id: unique, and the file's name.
        kind: one of ``KINDS``.
        photo: lends the object.
        size: side of the square image in pixels.
        inside: share of the object's box that lies in the image.
        background: photo that lends its background, with its object tiled over, or the file of a plain background.
        placement: of the object, for kinds that move it.
        job: key that is the same for images that are best made together.
    """

    id: str
    kind: str
    photo: Photo
    size: int
    inside: float
    background: Photo | Path | None = None
    placement: Placement | None = None
    job: str = ""

    @property
    def has_mask(self) -> bool:
        """Whether the image has a mask, since the object is visible."""
        return self.kind in _MASKED

    def file(self, suffix: str) -> Path:
        """Return the path of the image, relative to the folder of copies."""
        return Path(self.kind, str(self.photo.class_name), self.id + suffix)

    @property
    def mask(self) -> Path:
        """Path of its mask, beside the kinds, so that each kind holds only class folders."""
        return Path("masks") / self.file(".png")


@dataclass(frozen=True)
class Skip:
    """An image that is not made, and why; ``id`` is empty if a photo is left out of a whole kind."""

    id: str
    kind: str
    photo: Photo
    reason: str


@dataclass
class ShiftPlan:
    """Images to make and images that cannot be made, in a fixed order, with notes for readers."""

    shifts: list[Shift] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __add__(self, other: ShiftPlan) -> ShiftPlan:
        return ShiftPlan(self.shifts + other.shifts, self.skips + other.skips, self.notes + other.notes)


def find_kinds(names: Sequence[str]) -> list[str]:
    """Return the kinds with these names or of groups with these names, each once, in the order of ``KINDS``."""
    choices = [*KINDS, *GROUPS]
    chosen: set[str] = set()
    for name in names:
        expect_one_of("--kinds", name, choices)
        chosen |= set(GROUPS.get(name, (name,)))
    if not chosen:
        raise UserError(f"expected --kinds out of {', '.join(choices)}, got none")
    return [kind for kind in KINDS if kind in chosen]
