"""The kinds of shifted copies, and what a plan of them consists of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.options import ImageFormat, MaskFormat
from robustvit.data.pairs import Photo
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
    """What the copies depend on beside the photos; see ``robustvit.shifts`` for each."""

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
        """The kinds chosen that move the object."""
        return [kind for kind in self.kinds if kind in SIZES]

    @property
    def draws(self) -> dict[str, str]:
        """How backgrounds are drawn, where some are: a folder of an older version, which drew others, is refused."""
        return {"draws": "without reuse"} if any(kind in SWAPS for kind in self.kinds) else {}

    @property
    def variants(self) -> list[str]:
        """The other kinds chosen, which leave the object in its place."""
        return [kind for kind in self.kinds if kind not in SIZES]


@dataclass(frozen=True)
class Shift:
    """One image to make.

    Attributes:
        id: unique, and the file's name.
        kind: one of ``KINDS``.
        photo: lends the object.
        size: side of the square image in pixels.
        inside: share of the object's box that lies in the image.
        donor: photo that lends the background, its own object tiled over.
        background: file of a plain background.
        placement: of kinds that move the object.
        job: what images that are best made together have in common.
    """

    id: str
    kind: str
    photo: Photo
    size: int
    inside: float
    donor: Photo | None = None
    background: Path | None = None
    placement: Placement | None = None
    job: str = ""

    @property
    def has_mask(self) -> bool:
        """Whether a mask goes with the image: the object is to be seen."""
        return self.kind in _MASKED

    def file(self, suffix: str) -> Path:
        """Where the image goes, relative to the folder of all."""
        return Path(self.kind, str(self.photo.class_name), self.id + suffix)

    @property
    def mask(self) -> Path:
        """Where its mask goes; beside the kinds, so that each of them holds class folders alone."""
        return Path("masks") / self.file(".png")


@dataclass(frozen=True)
class Skip:
    """One image that is not made, and why; ``id`` is empty where a photo is left out of a kind altogether."""

    id: str
    kind: str
    photo: Photo
    reason: str


@dataclass
class Plan:
    """What is to be made and what cannot be, each in a fixed order, and what a reader should know."""

    shifts: list[Shift] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __add__(self, other: Plan) -> Plan:
        return Plan(self.shifts + other.shifts, self.skips + other.skips, self.notes + other.notes)


def kinds_named(names: Sequence[str]) -> list[str]:
    """Kinds by their names and the names of groups of them, each once, in the order of ``KINDS``."""
    choices = [*KINDS, *GROUPS]
    chosen: set[str] = set()
    for name in names:
        expect_one_of("--kinds", name, choices)
        chosen |= set(GROUPS.get(name, (name,)))
    if not chosen:
        raise UserError(f"expected --kinds out of {', '.join(choices)}, got none")
    return [kind for kind in KINDS if kind in chosen]
