"""Rivals that train nothing: asking a model about the object alone, cropped or without its background.

They compete with finetuning, so they are measured on the same photos and backgrounds, photo by photo.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from accelerate import Accelerator
from scipy import ndimage
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from robustvit.common.devices import Share
from robustvit.common.errors import expect_one_of
from robustvit.common.options import AtInference, ObjectBy
from robustvit.common.progress import track
from robustvit.common.signals import reading_processes
from robustvit.data.backgrounds import Backgrounds, PastedPhotos
from robustvit.data.datasets import MaskedPhotos, SwappedPhotos
from robustvit.evaluation.asking import Asking
from robustvit.evaluation.measuring import MeasureSettings, expect_finite
from robustvit.evaluation.object_views import VIEWS
from robustvit.evaluation.photo_measures import UNSEEN, PhotoMeasure, Swapped
from robustvit.explanation.maps import image_map
from robustvit.models.forward_pass import evaluating

AVERAGED = " and photo"  # a rival whose probabilities are averaged with those of the whole photo
_NO_BACKWARD = ("rollout", "raw_attention")  # maps of one forward pass

TopAnswer = tuple[int, float]  # predicted class and its probability
RivalAnswers = dict[str, list[PhotoMeasure]]
_Picture = tuple[bool, int, int]  # whether on a background of no photo, photo, background (-1: its own)


@dataclass(frozen=True)
class RivalPlan:
    """Which rivals are measured, and how the object is found.

    Attributes:
        kinds: names in ``VIEWS``; each is also averaged with the answer to the whole photo.
        by: ``relevance``, the model's own map in each picture, or ``masks``, those of the photos.
        method: relevance method.
        first: photos that are asked about first, and the others only if a rival is ahead on these; None: all at once.
    """

    kinds: tuple[str, ...]
    by: ObjectBy = "relevance"
    method: str = "gae"
    first: int | None = None

    @classmethod
    def of(cls, given: AtInference | None, by: ObjectBy, method: str) -> RivalPlan | None:
        """Return the plan for ``--at-inference``; None if it asks for nothing."""
        names = given.split(",") if isinstance(given, str) else given or []
        kinds = tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
        if kinds in ((), ("none",)):
            return None
        for kind in kinds:
            expect_one_of("--at-inference", kind, VIEWS)
        return cls(kinds, by, method)

    @property
    def names(self) -> list[str]:
        """Names of the rivals: each kind alone and averaged."""
        return [name for kind in self.kinds for name in (kind, kind + AVERAGED)]

    def passes(self, name: str) -> int:
        """Return how many forward passes a rival takes for a photo; a map with a backward pass costs about two."""
        if self.by == "masks":
            return 2 if name.endswith(AVERAGED) else 1
        return 2 if self.method in _NO_BACKWARD else 3

    @property
    def found_by(self) -> str:
        """Say how the objects are found, and what that means for the numbers."""
        if self.by == "masks":
            return (
                "by the masks given, also on swapped backgrounds: without masks of the photos it is used on, a model "
                "cannot reach this"
            )
        return f"in each picture by the model's own relevance ({self.method}), above its mean"


def measure_rivals(
    model: nn.Module,
    photos: MaskedPhotos,
    plain: Sequence[PhotoMeasure],
    plan: RivalPlan,
    settings: MeasureSettings,
    *,
    device: str | torch.device = "cpu",
    accelerator: Accelerator | None = None,
    only: Sequence[int] | None = None,
) -> RivalAnswers:
    """Measure rivals on the photos, and on the backgrounds that the model itself was measured on.

    Returns for each rival what ``measure`` returns, without scores of maps. The swaps of ``plain``, measures of the
    model as it is, are repeated (see ``fewer_swaps``). Of the settings, ``backgrounds``, ``batch_size`` and ``workers``
    count. ``only`` says which photos are measured, all if None. Other arguments are as in ``measure``.
    """
    share, measured = Share.of(accelerator), range(len(plain)) if only is None else only
    said: dict[_Picture, dict[str, TopAnswer]] = {}
    with evaluating(model):
        for pictures, make in _list_pictures(photos, plain, measured, settings):
            dataset = make(share.of_items(pictures))
            loader = DataLoader(dataset, settings.batch_size, **reading_processes(settings.workers))
            mine: list[dict[str, TopAnswer]] = []
            for batch in track(loader, "measuring at inference"):
                mine += _answer_batch(model, plan, batch, device, settings.asking)
            said |= dict(zip(pictures, share.gather(mine), strict=True))
    return {name: [_with_answers(index, plain[index], said, name) for index in measured] for name in plan.names}


def _list_pictures(
    photos: MaskedPhotos, plain: Sequence[PhotoMeasure], measured: Sequence[int], settings: MeasureSettings
) -> list[tuple[Sequence[_Picture], Callable[[Sequence[_Picture]], Dataset]]]:
    """Return the pictures of photos as they are, swapped and on other backgrounds, each with a maker of its dataset."""
    swaps = dict.fromkeys((one.kind == UNSEEN, at, one.donor) for at in measured for one in plain[at].swapped)
    swapped, unseen = [one for one in swaps if not one[0]], [one for one in swaps if one[0]]
    groups: list[tuple[Sequence[_Picture], Callable[[Sequence[_Picture]], Dataset]]] = [
        ([(False, index, -1) for index in measured], lambda some: Subset(photos, [at for _, at, _ in some])),
        (swapped, lambda some: SwappedPhotos(photos, [one[1:] for one in some])),
    ]
    if unseen:
        others = Backgrounds(str(settings.backgrounds), photos.preprocessing)
        groups.append((unseen, lambda some: PastedPhotos(photos, others, [one[1:] for one in some])))
    return groups


def fewer_swaps(plain: Sequence[PhotoMeasure], kinds: Sequence[str], most: int) -> list[PhotoMeasure]:
    """Return measures with the first ``most`` swaps of some kinds only, and without those of maps."""
    measures = []
    for photo in plain:
        kept = [one for kind in kinds for one in [s for s in photo.swapped if s.kind == kind][:most]]
        values = {"ordinary": photo.values["ordinary"]} if "ordinary" in photo.values else {}
        fewer = replace(photo, swapped=kept, values=values)
        fewer.rate_swaps()
        measures.append(fewer)
    return measures


def find_objects(maps: Tensor) -> Tensor:
    """Find the object in relevance maps ``(B, 1, H, W)``: the connected region above a map's mean with most relevance.

    The result is ``(B, 1, H, W)``, 0 or 1; nothing is found in a constant map.
    """
    above = maps > maps.mean(dim=(2, 3), keepdim=True)
    objects = torch.zeros_like(maps)
    for at, (inside, values) in enumerate(zip(above[:, 0].cpu().numpy(), maps[:, 0].cpu().numpy(), strict=True)):
        parts, count = ndimage.label(inside)
        if count:
            totals = ndimage.sum_labels(values, parts, range(1, count + 1))
            objects[at, 0] = torch.from_numpy(parts == 1 + totals.argmax()).to(objects)
    return objects


def ask_rivals(
    model: nn.Module, plan: RivalPlan, images: Tensor, masks: Tensor, asking: Asking | None = None
) -> dict[str, Tensor]:
    """Ask a model in evaluation mode about the objects in images; return the probabilities ``(B, C)`` of every rival.

    Images ``(B, 3, H, W)`` are in [0, 1]. The masks of the objects, ``(B, 1, H, W)``, are unused if the model finds
    them by its relevance.
    """
    asking = asking or Asking()
    if plan.by == "relevance":
        logits, row = asking.explain(model, images, plan.method)
        objects = find_objects(image_map(row, (images.shape[-2], images.shape[-1])))
    else:
        logits, objects = asking.logits(model, images), masks
    probabilities: dict[str, Tensor] = {}
    for kind in plan.kinds:
        probabilities[kind] = asking.logits(model, VIEWS[kind](images, objects)).softmax(dim=1)
        probabilities[kind + AVERAGED] = (probabilities[kind] + logits.softmax(dim=1)) / 2
    return {name: expect_finite(one) for name, one in probabilities.items()}


def _answer_batch(
    model: nn.Module, plan: RivalPlan, batch: Mapping[str, Tensor], device, asking: Asking
) -> list[dict[str, TopAnswer]]:
    """Answer every rival for each picture of a batch."""
    found = ask_rivals(model, plan, batch["image"].to(device), batch["mask"].to(device), asking)
    best = {name: [one.tolist() for one in probabilities.max(dim=1)] for name, probabilities in found.items()}
    return [{name: (int(at[i]), p[i]) for name, (p, at) in best.items()} for i in range(len(batch["image"]))]


def _with_answers(
    index: int, photo: PhotoMeasure, said: Mapping[_Picture, dict[str, TopAnswer]], name: str
) -> PhotoMeasure:
    """Return a photo's measures with a rival's answers in place of the model's."""

    def answer(one: Swapped) -> Swapped:
        predicted, probability = said[one.kind == UNSEEN, index, one.donor][name]
        return replace(one, predicted=predicted, probability=probability, scores={})  # those were the model's

    predicted, probability = said[False, index, -1][name]
    swapped = [answer(one) for one in photo.swapped]
    values = {} if photo.label is None else {"ordinary": float(predicted == photo.label)}
    result = PhotoMeasure(photo.image, photo.label, predicted, probability, values, swapped, photo.group)
    result.rate_swaps()
    return result
