"""The changes that are tried in pilots, one at a time, in the recommended recipe; each has one setting."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks.recipes import pilot_methods as methods
from benchmarks.recipes.run import load
from benchmarks.recipes.testbed import Testbed
from robustvit.data.datasets import MaskedPhotos
from robustvit.data.find_photos import find_photos
from robustvit.data.photo import Photo
from robustvit.data.selection import select_photos

PLAIN = "swaps + relevance"
ORDERS = ("another order", "a third order")
BASE, SOUP = "base", "soup"  # which train nothing
SAMPLES = 10  # masks a class
ANIMALS = range(14, 24)  # classes of COCO
ATTENTION = {"epochs": 5, "train": "attention", "lr": 1e-4}


@dataclass(frozen=True)
class Start:
    """Where a pilot begins.

    Attributes:
        testbed: base models and photos.
        seed: of the base model, and of the run.
        folder: of the run.
    """

    testbed: Testbed
    seed: int
    folder: Path

    @property
    def base(self) -> Path:
        """The base model."""
        return self.testbed.base(self.seed)


@dataclass(frozen=True)
class Pilot:
    """A change in the recommended recipe.

    Attributes:
        says: the change, for the table.
        stages: options of finetune that are changed; several runs follow each other.
        method: a guidance method of ``pilot_methods``.
        around: what is around the runs; may yield what is done to the trained model.
        more: further options of the first stage.
    """

    says: str
    stages: tuple[dict[str, Any], ...] = ({},)
    method: Any = None
    around: Callable[[Start], AbstractContextManager[methods.Finish | None]] = lambda _: nullcontext()
    more: Callable[[Start], dict[str, Any]] = field(default=lambda _: {})


def given(kind: Any, name: str, value: Callable[[Start], Any]) -> Callable[[Start], AbstractContextManager[None]]:
    """Give a method what is no option."""

    def around(start: Start) -> AbstractContextManager[None]:
        setattr(kind, name, value(start))
        return nullcontext()

    return around


def other_order(start: Start, more: int) -> dict[str, Any]:
    """The same training photos in another order, with other crops and swaps."""
    photos, masks = (start.testbed.base_photos / "train" / kind for kind in ("images", "masks"))
    chosen = select_photos(find_photos(photos, masks), samples_per_class=SAMPLES, validation=[], seed=start.seed).train
    for photo in chosen:
        assert photo.mask is not None
        for kind, file in (("images", photo.image), ("masks", photo.mask)):
            place = start.folder / "photos" / kind / str(photo.class_name)
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, place)
    found = {kind: str(start.folder / "photos" / kind) for kind in ("images", "masks")}
    return found | {"seed": start.seed + more, "samples_per_class": SAMPLES}


def empty_photos(testbed: Testbed, part: int) -> list[Tensor]:
    """Photos of COCO without animals, as a model takes them: every other one, from ``part``."""
    folder = testbed.data / "coco128-polygons"
    empty = []
    for image in sorted((folder / "images").iterdir()):
        label = folder / "labels" / f"{image.stem}.txt"
        lines = label.read_text(encoding="utf-8").splitlines() if label.is_file() else []
        if lines and not any(int(line.split()[0]) in ANIMALS for line in lines):
            empty.append(Photo(image))
    photos = MaskedPhotos(empty[part::2], testbed.photos(testbed.validation / "images", None).preprocessing)
    return [photos[index]["image"] for index in range(len(photos))]


PILOTS: dict[str, Pilot] = {
    PLAIN: Pilot("nothing (`--recipe recommended`)"),
    ORDERS[0]: Pilot("nothing but the order of the photos, crops and swaps", more=partial(other_order, more=100)),
    ORDERS[1]: Pilot("the same once more", more=partial(other_order, more=200)),
    "keep answers": Pilot(
        "the original's answers to the photos as they are are kept (soft cross-entropy)",
        method=methods.KeepAnswers,
        around=given(methods.KeepAnswers, "original", lambda start: load(start.base).eval().requires_grad_(False)),
    ),
    "consistency": Pilot("answers to two swaps of an object agree (symmetric KL)", method=methods.Consistent),
    "EMA": Pilot("mean of the weights over the last steps (EMA 0.98)", around=lambda _: methods.averaging(0.98)),
    "SAM": Pilot(
        "sharpness-aware steps (SAM, radius 0.05)", method=methods.Sharpness, around=lambda _: methods.returning()
    ),
    "two rates": Pilot(
        "queries and keys at 1e-4, the rest at 1e-5",
        around=lambda start: methods.faster_attention(load(start.base), 10),
    ),
    "attention first": Pilot(
        "5 epochs of queries and keys alone at 1e-4, then 15 of all weights", (ATTENTION, {"epochs": 15}),
    ),
    "LoRA": Pilot(
        "LoRA of rank 8 in all layers, at 2e-4",
        more=lambda start: methods.write_adapter(start.base, start.folder / "adapter"),
    ),
    "equal norms": Pilot(
        "relevance weighted to the length of the classification's gradient", method=methods.EqualNorms
    ),
    "50 epochs": Pilot("50 epochs", ({"epochs": 50},)),
    "swaps": Pilot("no relevance loss (swaps alone)", ({"guidance": "swap-augmentation"},)),
    "relevance 0.8": Pilot("weight of relevance 0.8 (8)", ({"relevance_weight": 0.8},)),
    "relevance 30": Pilot("weight of relevance 30 (8)", ({"relevance_weight": 30.0},)),
    "energy": Pilot("energy loss in the place of squares", ({"relevance_weight": 1.0},), method=methods.SwapEnergy),
    "empty donors": Pilot(
        "backgrounds from photos without animals",
        method=methods.EmptyDonors,
        around=given(methods.EmptyDonors, "backgrounds", lambda start: empty_photos(start.testbed, 1)),
    ),
    "step": Pilot("steps of 0.85 in the place of cosine", ({"lr_schedule": "step"},)),
    "5 epochs": Pilot("5 epochs", ({"epochs": 5},)),
    "second order": Pilot("second order, in float32", ({"second_order": True, "precision": "no"},)),  # needs the digits
    "AttnLRP": Pilot("maps by AttnLRP", ({"relevance": "attnlrp"},)),
    "float32": Pilot("float32 in the place of bfloat16", ({"precision": "no"},)),
}  # fmt: skip
NAMES = (*PILOTS, SOUP, BASE)
