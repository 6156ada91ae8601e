"""One shortcut for another: does a model that gained on backgrounds lose more than before on something else?

Li et al., *A Whac-A-Mole Dilemma*, CVPR 2023: fixing one shortcut often makes a model rely more on the next one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch.utils.data import Dataset

from robustvit.common.intervals import Interval
from robustvit.evaluation.insertions import answers_to, insertions, risen_costs
from robustvit.models.classifier import Classifier

_WHOLE = ("grey", "blurred")  # beside a text and a frame: four forward passes a photo and model


def other_costs(
    before: Classifier, after: Classifier, photos: Dataset, labels: Sequence[int], batch_size: int = 32
) -> dict[str, Interval]:
    """Return what costs the second model more than the first, when it is put into every photo; see ``risen_costs``.

    Args:
        before: the original, on its device.
        after: the guided model; both take photos of the same size.
        photos: transformed without randomness.
        labels: class of each; photos with -1 do not count.
        batch_size: photos at a time.
    """
    changes = {"": lambda images: images} | insertions(after.preprocessing.input_size, whole=_WHOLE, controls=False)
    known = [index for index, label in enumerate(labels) if label >= 0]
    said: list[Mapping[str, Sequence[int]]] = []
    for model in (before, after):
        found = answers_to(model, photos, changes, batch_size)
        said.append({name: [answers[index] for index in known] for name, answers in found.items()})
    return risen_costs(said[0], said[1], [labels[index] for index in known])


def describe_trade(risen: Mapping[str, Interval], gain: Interval | None) -> list[str]:
    """Return a line for each shortcut that costs more than before; it says so first if the gain is shown."""
    gained = gain is not None and gain.low > 0
    start = "One shortcut for another: the model gained on backgrounds, but" if gained else "Beside the backgrounds,"
    return [
        f"{start} {name} put into the photos costs it {rise.points()} more accuracy than the original."
        for name, rise in risen.items()
    ]
