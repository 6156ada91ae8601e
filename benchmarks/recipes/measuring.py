"""Answers and maps of one model on everything that the testbed measures."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.recipes.testbed import PAIR, Inputs
from robustvit import Classifier
from robustvit.evaluation.map_scores import map_iou
from robustvit.explanation.attention.interception import gradients_for_maps
from robustvit.explanation.maps import image_map
from robustvit.explanation.methods import get_method
from robustvit.models.forward_pass import evaluating

BATCH = 32


@torch.no_grad()
def logits_on(model: Classifier, inputs: Inputs) -> Tensor:
    """Logits ``(N, C)``."""
    with evaluating(model):
        return torch.cat([model(batch.float() / 255) for batch in inputs.images.split(BATCH)])


def ious_on(model: Classifier, inputs: Inputs, every: int = 3) -> list[float]:
    """mIoU of map and mask of every third photo, rounded to four digits."""
    assert inputs.masks is not None
    found: list[float] = []
    with evaluating(model), gradients_for_maps(False):
        pairs = zip(inputs.images[::every].split(BATCH), inputs.masks[::every].split(BATCH), strict=True)
        for images, masks in pairs:
            trace = get_method("gae")(model, images.float() / 255)
            row = trace.explain(trace.logits.argmax(dim=1), False)
            found += map_iou(image_map(row, (images.shape[-2], images.shape[-1])), masks).tolist()
    return [round(value, 4) for value in found]


def right(logits: Tensor, labels: Tensor) -> str:
    """A digit for each photo, 1 where the answer is right."""
    return "".join(str(int(one)) for one in logits.argmax(dim=1) == labels)


def answers(model: Classifier, tests: dict[str, Inputs], classes: list[str]) -> dict[str, str | list[float]]:
    """Right or wrong for each photo of each test; PACS also between its two classes alone, and mIoU."""
    pair = torch.tensor([classes.index(name) for name in PAIR])
    found: dict[str, str | list[float]] = {}
    for name, inputs in tests.items():
        logits = logits_on(model, inputs)
        found[name] = right(logits, inputs.labels)
        if name.startswith("pacs "):
            found[f"{name}, two-way"] = right(logits[:, pair], (inputs.labels[:, None] == pair).int().argmax(dim=1))
    return found | {"miou": ious_on(model, tests["ordinary"])}


def accuracies(model: Classifier, tests: dict[str, Inputs]) -> dict[str, float]:
    """Accuracy on each test, 0 to 1."""
    found = {name: logits_on(model, inputs).argmax(dim=1) == inputs.labels for name, inputs in tests.items()}
    return {name: float(one.double().mean()) for name, one in found.items()}
