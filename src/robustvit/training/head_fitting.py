"""Deep Feature Reweighting in a finetuning run: draw subsets, fit and write the new head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from robustvit.common.files import write_json
from robustvit.common.options import Balance
from robustvit.common.progress import console
from robustvit.common.run_folder import RunFolder
from robustvit.common.signals import Stopped, StopSignals
from robustvit.data.datasets import MaskedPhotos
from robustvit.data.swap_pairs import pair_backgrounds
from robustvit.data.swaps import bounding_box, usable_background
from robustvit.guidance.feature_reweighting import (
    SUBSETS,
    ChosenStrength,
    Head,
    Subsets,
    choose_strength,
    draw_balanced_subset,
    fit_average_head,
    split_halves,
)
from robustvit.models.classifier import Classifier
from robustvit.models.parameters import head_layers
from robustvit.models.save import save_model
from robustvit.training.head_data import Composites, Pair, cell_of, last_features
from robustvit.training.schedule import Schedule


@dataclass(frozen=True)
class HeadFit:
    """The result of fitting a head.

    Attributes:
        choice: C, and the scores of its heads on photos that they were not fitted on.
        before: cross-entropy and accuracy of the old head on the same photos.
        after: cross-entropy and accuracy of the new head on the photos it was fitted on.
        nonzero: share of the new head's weights that are not zero.
    """

    choice: ChosenStrength
    before: tuple[float, float]
    after: tuple[float, float]
    nonzero: float


def fit_run(
    classifier: Classifier,
    photos: MaskedPhotos,
    *,
    balance: Balance,
    schedule: Schedule,
    accelerator: Accelerator,
    folder: RunFolder,
) -> str:
    """Fit a new head, write it to the run folder as its only epoch, and return a note for the verdict.

    The same photos and seed give the same head, so a killed run fits it again. Every process fits the head, and the
    main process writes it.
    """
    try:
        with StopSignals().hold() as stop, stop.at_once(accelerator.num_processes == 1):
            found = fit_head(
                classifier,
                photos,
                balance=balance,
                seed=schedule.seed,
                batch_size=min(32, 4 * schedule.batch_size),
                workers=schedule.workers,
                device=accelerator.device,
            )
    except Stopped as stopped:
        raise Stopped(stopped.number, folder.path) from None
    if accelerator.is_main_process:
        save_model(classifier, folder.best)
        save_model(classifier, folder.last)
        _write_scores(found, folder)
    accelerator.wait_for_everyone()
    return (
        f"The last layer is new: fitted on {len(photos)} photos, none of which judges, as the mean over {SUBSETS} "
        f"balanced subsets, with C = {found.choice.strength:g}, chosen by the accuracy of the worst group in halves of "
        "them."
    )


def _write_scores(found: HeadFit, folder: RunFolder) -> None:
    """Write the scores as those of the beginning and of the only epoch, and print them."""
    choice = found.choice
    write_json({"val_loss": found.before[0], "val_accuracy": found.before[1]}, folder.beginning)
    row = {"epoch": 1, "train_loss": found.after[0], "train_accuracy": found.after[1], "skipped_steps": 0}
    row |= {"val_loss": choice.loss, "val_accuracy": choice.accuracy, "val_worst_group": choice.worst}
    folder.append_metrics(row | {"C": choice.strength, "nonzero": found.nonzero, "best": True})
    console.print(
        f"new head: C = {choice.strength:g}, {100 * found.nonzero:.1f} % of its weights are not zero; worst group "
        f"{100 * choice.worst:.1f} % of photos that it was not fitted on",
        soft_wrap=True,
    )


def fit_head(
    classifier: Classifier,
    photos: MaskedPhotos,
    *,
    balance: Balance = "background",
    seed: int = 0,
    batch_size: int = 32,
    workers: int = 0,
    device: str | torch.device = "cpu",
) -> HeadFit:
    """Replace the last layer by one fitted on frozen features (Kirichenko et al., ICLR 2023).

    The photos of every class are split in halves; for each C, heads fitted on balanced subsets of one half are tested
    on the other. With the best C a head is fitted on each of ten balanced subsets of all photos; their mean is kept.

    The photos are at least two of every class, not augmented. With ``balance`` ``class`` a subset has the same number
    of every class; with ``background`` each photo is also put on the background of a photo from a uniformly drawn
    class, different for each subset; with ``group`` it has the same number of every class of every group. The seed
    fixes halves, subsets and backgrounds. The classifier, on ``device``, is changed in place.
    """
    drawing = _Drawing(photos, balance, seed)
    halves = split_halves(drawing.kinds, seed)
    parts = [drawing.subsets(part, number) for number, part in enumerate((*halves, range(len(photos))))]
    pairs = list(dict.fromkeys(pair for part in parts for subset in part for pair in subset))
    layers = head_layers(classifier)
    features, logits = last_features(classifier, layers, Composites(photos, pairs), batch_size, workers, device)
    position = {pair: i for i, pair in enumerate(pairs)}
    at = [torch.tensor([[position[pair] for pair in subset] for subset in part]) for part in parts]
    drawn = drawing.describe(pairs, features)
    first, second, whole = (drawn.take(i, device) for i in at)
    intercept = all(layer.bias is not None for layer in layers)
    choice = choose_strength(first, second, classifier.num_classes, intercept=intercept)
    head = fit_average_head(whole, classifier.num_classes, choice.strength, intercept=intercept)
    _install(layers, head)
    tried = torch.cat([i.flatten() for i in at[:2]])
    fitted = whole.features.flatten(0, 1) @ head.weight.mT + head.bias
    return HeadFit(
        choice,
        _scores(logits[tried], drawn.labels[tried]),
        _scores(fitted, whole.labels.flatten()),
        float((head.weight != 0).double().mean()),
    )


class _Drawing:
    """Draws balanced subsets, as pairs of a photo and another that lends its background."""

    def __init__(self, photos: MaskedPhotos, balance: Balance, seed: int) -> None:
        self.balance, self.seed = balance, seed
        self.labels = self.kinds = [int(photo.label or 0) for photo in photos.photos]
        if balance == "group":
            cells = [cell_of(photo) for photo in photos.photos]
            rank = {cell: number for number, cell in enumerate(sorted(set(cells), key=str))}
            self.kinds = [rank[cell] for cell in cells]
        self.usable, self.shown = [], []
        for mask in (photos[i]["mask"] for i in range(len(photos)) if balance == "background"):
            self.shown.append(bounding_box(mask) is not None)
            self.usable.append(self.shown[-1] and usable_background(mask))

    def subsets(self, members: Sequence[int], number: int) -> list[list[Pair]]:
        """Draw ten subsets of some photos, with backgrounds from the same photos."""
        members = sorted(members)
        labels = [self.labels[i] for i in members]
        seeds = torch.Generator().manual_seed(1000 * self.seed + number)
        drawn = torch.randint(2**31, (SUBSETS + 1,), generator=seeds).tolist()
        donors = [list[int]()] * len(members)
        if self.balance == "background":
            usable = [self.usable[i] for i in members]
            donors = pair_backgrounds(labels, usable, "mixed-rand", swaps=SUBSETS, seed=drawn[-1])

        def pair(position: int, subset: int) -> Pair:
            index, lending = members[position], donors[position]
            swapped = bool(lending) and self.shown[index]
            return index, members[lending[subset % len(lending)]] if swapped else None

        kinds = [self.kinds[i] for i in members]
        return [[pair(i, k) for i in draw_balanced_subset(kinds, drawn[k])] for k in range(SUBSETS)]

    def describe(self, pairs: Sequence[Pair], features: Tensor) -> Subsets:
        """Return the features of pairs with their labels, backgrounds and groups."""
        labels = torch.tensor([self.labels[index] for index, _ in pairs])
        own = [donor is None or self.labels[donor] == self.labels[index] for index, donor in pairs]
        groups = torch.tensor([self.kinds[index] for index, _ in pairs]) if self.balance == "group" else None
        return Subsets(features, labels, torch.tensor(own), groups)


@torch.no_grad()
def _install(layers: Sequence[nn.Linear], head: Head) -> None:
    """Write a head into the last layer; of two layers whose logits are averaged, each gets its columns times two.

    A layer of one logit gets the difference of the two classes: the softmax of two logits is its sigmoid.
    """
    if layers[0].out_features == 1:
        head = Head(head.weight[1:] - head.weight[:1], head.bias[1:] - head.bias[:1])
    columns = head.weight.split([layer.in_features for layer in layers], dim=1)
    for layer, weight in zip(layers, columns, strict=True):
        layer.weight.copy_(len(layers) * weight)
        if layer.bias is not None:
            layer.bias.copy_(head.bias)


def _scores(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return cross-entropy and accuracy."""
    return float(F.cross_entropy(logits, labels)), float((logits.argmax(dim=1) == labels).double().mean())
