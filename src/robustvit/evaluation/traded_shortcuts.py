"""One shortcut for another: does a model that gained on backgrounds lose more than before on something else?

Li et al., *A Whac-A-Mole Dilemma*, CVPR 2023: fixing one shortcut often makes a model rely more on the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch.utils.data import Dataset, Subset

from robustvit.common.intervals import Interval
from robustvit.evaluation.insertions import Insertion, answers_to, insertions
from robustvit.evaluation.measuring import FIRST_PHOTOS, draw_indices
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
    """Return the insertions that cost the second model more than the first; see ``risen_costs``.

    ``FIRST_PHOTOS`` are asked about first, and the others only with insertions that seem to cost ``RISE`` more.
    Nothing is reported early, so this adds no false alarms.

    Args:
        before: the original, on its device.
        after: the guided model; both take photos of the same size.
        photos: transformed without randomness; up to ``MOST_PHOTOS`` that have a class are used, drawn at random.
        plain: measures of both models on the photos as they are.
        batch_size: photos at a time.
        remembered: wraps the question to the original, so that its answers are kept.
    """

    def asking(model: Classifier) -> Ask:
        return lambda indices, changes: answers_to(model, Subset(photos, list(indices)), changes, batch_size)

    asks = (remembered(asking(before)), asking(after))
    chosen = draw_indices([index for index, one in enumerate(plain[0]) if one.label is not None], MOST_PHOTOS)
    first = draw_indices(chosen, FIRST_PHOTOS)
    rest = sorted({*chosen} - {*first})
    size, labels = after.preprocessing.input_size, [one.label or 0 for one in plain[0]]
    changes = insertions(size, artefacts=("black frame", "text"), whole=_WHOLE, controls=False)
    old, new = _answer(asks, plain, first, changes)
    rises = cost_rises(old, new, [labels[index] for index in first])
    left = {name: change for name, change in changes.items() if rises[name].mean > RISE}
    if not left:
        return {}
    sides = zip((old, new), _answer(asks, plain, rest, left), strict=True)
    both = [{name: one[name] + other[name] for name in other} for one, other in sides]
    return risen_costs(both[0], both[1], [labels[index] for index in (*first, *rest)])


def _answer(
    asks: Sequence[Ask],
    plain: Sequence[Sequence[PhotoMeasure]],
    indices: Sequence[int],
    changes: Mapping[str, Insertion],
) -> list[dict[str, list[int]]]:
    """Return the answers of each model to some photos, as they are (``""``) and with each change."""
    sides = []
    for ask, measured in zip(asks, plain, strict=True):
        said = ask(indices, changes) if indices else dict.fromkeys(changes, ())
        answers = {name: list(one) for name, one in said.items()}
        sides.append({"": [measured[index].predicted for index in indices], **answers})
    return sides


def describe_trade(risen: Mapping[str, Interval], gain: Interval | None) -> list[str]:
    """Return a line for each shortcut that costs more than before, which names the trade if the gain is shown."""
    gained = gain is not None and gain.low > 0
    start = "One shortcut for another: the model gained on backgrounds, but" if gained else "Beside the backgrounds,"
    costs = {
        name: f"photos made {name} cost" if name in _WHOLE else f"{name} put into the photos costs" for name in risen
    }
    return [
        f"{start} {costs[name]} it {rise.points()} more accuracy than the original." for name, rise in risen.items()
    ]
