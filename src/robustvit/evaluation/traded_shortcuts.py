"""One shortcut for another: does a model that gained on backgrounds lose more than before on something else?

Li et al., *A Whac-A-Mole Dilemma*, CVPR 2023: fixing one shortcut often makes a model rely more on the next one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch.utils.data import Dataset, Subset

from robustvit.common.intervals import Interval
from robustvit.evaluation.insertions import answers_to, insertions, risen_costs
from robustvit.evaluation.photo_measures import PhotoMeasure
from robustvit.models.classifier import Classifier

MOST_PHOTOS = 200
_WHOLE = ("grey", "blurred")  # beside a text and a frame: four forward passes a photo and model


def other_costs(
    before: Classifier,
    after: Classifier,
    photos: Dataset,
    plain: tuple[Sequence[PhotoMeasure], Sequence[PhotoMeasure]],
    batch_size: int = 32,
) -> dict[str, Interval]:
    """Return what costs the second model more than the first, when it is put into every photo; see ``risen_costs``.

    Args:
        before: the original, on its device.
        after: the guided model; both take photos of the same size.
        photos: transformed without randomness; up to ``MOST_PHOTOS`` that have a class are used, spread evenly.
        plain: what was measured of both models on the photos as they are.
        batch_size: photos at a time.
    """
    known = [index for index, one in enumerate(plain[0]) if one.label is not None]
    chosen = known[:: -(-len(known) // MOST_PHOTOS)] if known else []
    changes = insertions(after.preprocessing.input_size, frames=("black frame",), whole=_WHOLE, controls=False)
    said: list[Mapping[str, Sequence[int]]] = []
    for model, measured in zip((before, after), plain, strict=True):
        found = answers_to(model, Subset(photos, chosen), changes, batch_size)
        said.append({"": [measured[index].predicted for index in chosen]} | found)
    return risen_costs(said[0], said[1], [int(plain[0][index].label or 0) for index in chosen])


def describe_trade(risen: Mapping[str, Interval], gain: Interval | None) -> list[str]:
    """Return a line for each shortcut that costs more than before; it says so first if the gain is shown."""
    gained = gain is not None and gain.low > 0
    start = "One shortcut for another: the model gained on backgrounds, but" if gained else "Beside the backgrounds,"
    return [
        f"{start} {name} put into the photos costs it {rise.points()} more accuracy than the original."
        for name, rise in risen.items()
    ]
