"""Which relevance methods hold for which family of models, and whether a guided step reaches its weights.

    python -m benchmarks.zoo.families

Every family of docs/reference/models.md is built small, as the tests build it, with random weights, and so are some
models that attention does not explain. A method works if its map is finite and varies, and guides if the gradient of
the relevance loss is finite and not zero. Writes a dated file, from which docs/reference/zoo.md is made.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from benchmarks.dated import write_dated
from robustvit import relevance, relevance_loss
from robustvit.common.errors import UserError
from robustvit.common.provenance import versions
from robustvit.explanation.methods import RELEVANCE_METHODS

ROOT = Path(__file__).parents[2]
OTHERS: dict[str, Callable[[], nn.Module]] = {
    "ResNet": lambda: timm.create_model("resnet10t", num_classes=3),
    "ConvNeXt": lambda: timm.create_model("convnext_atto", num_classes=3),
    "Swin": lambda: timm.create_model("swin_tiny_patch4_window7_224", img_size=56, window_size=7, num_classes=3),
}
SIZES = {"Swin": (56, 56), "ResNet": (64, 64), "ConvNeXt": (64, 64)}


def families() -> tuple[dict[str, Callable[[], nn.Module]], dict[str, tuple[int, int]]]:
    """Builders of small models by family, and their sizes where it is not 32 x 32."""
    sys.path.insert(0, str(ROOT / "tests"))
    from helpers.families import FAMILIES as BUILDERS
    from helpers.families import SIZES as USUAL

    kept = {name: build for name, build in BUILDERS.items() if not name.endswith(", eager")}
    return {name.removesuffix(", sdpa"): build for name, build in kept.items()} | OTHERS, USUAL | SIZES


def outcome(model: nn.Module, images: torch.Tensor, method: str) -> str:
    """``guides``, ``shows`` (a map, but no gradient to the weights), or why the method does not hold.

    Weights are random, so a class may have no positive relevance anywhere: then the next class is tried.
    """
    tried = [explained(model, images, method, label) for label in range(3)]
    return next((found for found in tried if found == "guides"), tried[0])


def explained(model: nn.Module, images: torch.Tensor, method: str, label: int) -> str:
    """See ``outcome``, for one class."""
    target = torch.full((len(images),), label)
    try:
        model.zero_grad()
        second = method in ("attnlrp", "legrad", "input_gradient")  # these reach the weights in no other way
        maps = relevance(model, images, target, method=method, second_order=second)
        if not torch.isfinite(maps).all() or float(maps.detach().std()) == 0:
            return "no map: it is constant"
        relevance_loss(maps, (torch.rand_like(maps) > 0.5).to(maps.dtype)).backward()
    except UserError as error:
        return " ".join(str(error).split())
    gradients = [one.grad for one in model.parameters() if one.grad is not None]
    reached = any(float(one.abs().max()) > 0 for one in gradients)
    return "guides" if reached and all(torch.isfinite(one).all() for one in gradients) else "shows"


def measured() -> dict[str, dict[str, str]]:
    """The outcome of every method by family."""
    builders, sizes = families()
    found: dict[str, dict[str, str]] = {}
    for name, build in builders.items():
        torch.manual_seed(0)
        model = build().eval()
        with torch.no_grad():
            for parameter in model.parameters():  # heads of zeros would let no gradient through
                parameter.add_(0.1 * torch.randn_like(parameter))
        images = torch.rand(2, 3, *sizes.get(name, (32, 32)))
        found[name] = {method: outcome(model, images, method) for method in RELEVANCE_METHODS}
        print(name, json.dumps(found[name])[:300], flush=True)
    return found


def main() -> None:
    record: dict[str, Any] = {
        "date": date.today().isoformat(),
        "command": "python -m benchmarks.zoo.families",
        "versions": versions(),
        "families": measured(),
    }
    write_dated("zoo_families", record)


if __name__ == "__main__":
    main()
