"""One shortcut for another: does a model that gained on backgrounds lose more than before on something else?

Li et al., *A Whac-A-Mole Dilemma*, CVPR 2023: fixing one shortcut often makes a model rely more on the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch.utils.data import Dataset, Subset

from robustvit.common.intervals import Interval
from robustvit.evaluation.insertions import Insertion, answers_to, insertions
from robustvit.evaluation.measuring import FIRST_PHOTOS, spread
from robustvit.evaluation.photo_measures import PhotoMeasure
from robustvit.evaluation.pulls import RISE, cost_rises, risen_costs
from robustvit.models.classifier import Classifier

MOST_PHOTOS = 200
_WHOLE = ("grey", "blurred")  # beside a text and a frame: four forward passes a photo and model
Ask = Callable[[Sequence[int], Mapping[str, Insertion]], Mapping[str, Sequence[int]]]


def other_costs(
    before: Classifier,
    after: Classifier,
    photos: Dataset,
    plain: tuple[Sequence[PhotoMeasure], Sequence[PhotoMeasure]],
    batch_size: int = 32,
    remembered: Callable[[Ask], Ask] = lambda ask: ask,
) -> dict[str, Interval]:
    """Return what costs the second model more than the first, when it is put into every photo; see ``risen_costs``.

    ``FIRST_PHOTOS`` are asked about first, and the others only with what seems to cost the second model ``RISE`` more.
    Nothing is reported early, so this adds no false alarms.

    Args:
        before: the original, on its device.
        after: the guided model; both take photos of the same size.
        photos: transformed without randomness; up to ``MOST_PHOTOS`` that have a class are used, drawn by chance.
        plain: what was measured of both models on the photos as they are.
        batch_size: photos at a time.
        remembered: makes the question to the original one whose answers are kept.
    """

    def asking(model: Classifier) -> Ask:
        return lambda indices, changes: answers_to(model, Subset(photos, list(indices)), changes, batch_size)

    known = [index for index, one in enumerate(plain[0]) if one.label is not None]
    chosen = spread(known, MOST_PHOTOS)
    first = spread(chosen, FIRST_PHOTOS)
    rest = sorted({*chosen} - {*first})
    changes = insertions(
        after.preprocessing.input_size, artefacts=("black frame", "text"), whole=_WHOLE, controls=False
    )
    asked = (remembered(asking(before)), asking(after))

    def answers(indices: Sequence[int], names: Mapping[str, Insertion]) -> list[dict[str, list[int]]]:
        return [
            {"": [measured[index].predicted for index in indices]}
            | {name: list(said) for name, said in ask(indices, names).items()}
            for ask, measured in zip(asked, plain, strict=True)
        ]

    def labels(indices: Sequence[int]) -> list[int]:
        return [int(plain[0][index].label or 0) for index in indices]

    said = answers(first, changes)
    rises = cost_rises(said[0], said[1], labels(first))
    left = {name: change for name, change in changes.items() if rises[name].mean > RISE}
    if not left:
        return {}
    more = answers(rest, left) if rest else [{name: [] for name in ("", *left)}] * 2
    both = [{name: one[name] + other[name] for name in other} for one, other in zip(said, more, strict=True)]
    return risen_costs(both[0], both[1], labels([*first, *rest]))


def describe_trade(risen: Mapping[str, Interval], gain: Interval | None) -> list[str]:
    """Return a line for each shortcut that costs more than before; it says so first if the gain is shown."""
    gained = gain is not None and gain.low > 0
    start = "One shortcut for another: the model gained on backgrounds, but" if gained else "Beside the backgrounds,"
    return [
        f"{start} {name} put into the photos costs it {rise.points()} more accuracy than the original."
        for name, rise in risen.items()
    ]
