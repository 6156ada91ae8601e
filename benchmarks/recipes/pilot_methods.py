"""What pilots change that no option of finetune does: guidance methods, and what happens around an optimiser's step.

Each has one setting, which was never searched. A method gets what is not an option, such as the original model, as an
attribute of its class, for as long as the pilot runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from robustvit import Classifier
from robustvit.data.swaps import bounding_box, paste
from robustvit.guidance.background_swaps import SwapRelevance, on_other_backgrounds
from robustvit.guidance.energy import EnergyGuidance
from robustvit.guidance.method import GuidedLoss
from robustvit.guidance.registry import GUIDANCE
from robustvit.guidance.robustvit import RobustViT
from robustvit.models.load import load_model

SHARPNESS = 0.05  # of SAM: the radius of Foret et al. 2021
Finish = Callable[[Classifier], None]


@dataclass(frozen=True)
class KeepAnswers(SwapRelevance):
    """The same, and the original's answers to the photos as they are are kept: soft cross-entropy, weight 1."""

    title = "keep-answers"
    original: ClassVar[Classifier]

    def __call__(self, model: nn.Module, images: Tensor, masks: Tensor, target: Tensor | None) -> GuidedLoss:
        guided = super().__call__(model, images, masks, target)
        if not torch.is_grad_enabled():
            return guided
        with torch.no_grad():
            answers = self.original(images).softmax(dim=1)
        return replace(guided, loss=guided.loss + F.cross_entropy(model(images), answers))


@dataclass(frozen=True)
class Consistent(SwapRelevance):
    """The same, and answers to another swap of each object are pulled to those to the first: symmetric KL.

    The gradient goes through the second only. As the two are drawn alike, it is on average half of that through both,
    which the weight of 2 makes up for.
    """

    title = "consistent"

    def __call__(self, model: nn.Module, images: Tensor, masks: Tensor, target: Tensor | None) -> GuidedLoss:
        guided = super().__call__(model, images, masks, target)
        if not torch.is_grad_enabled():
            return guided
        first = guided.logits.float().log_softmax(dim=1)
        second = model(on_other_backgrounds(images, masks)).float().log_softmax(dim=1)
        apart = ((second.exp() - first.exp()) * (second - first)).sum(dim=1).mean()  # KL in both directions
        return replace(guided, loss=guided.loss + 2 * apart)


@dataclass(frozen=True)
class EqualNorms(SwapRelevance):
    """The relevance loss gets, in every step, the weight at which its gradient is as long as the classification's."""

    title = "equal-norms"

    def __call__(self, model: nn.Module, images: Tensor, masks: Tensor, target: Tensor | None) -> GuidedLoss:
        guided = super().__call__(model, images, masks, target)
        if not torch.is_grad_enabled():
            return guided
        assert guided.label_losses is not None
        answer = guided.label_losses().mean()
        relevance = guided.loss - self.classification_weight * answer
        own, other = (gradient_length(loss, model) for loss in (answer, relevance))
        return replace(guided, loss=answer + own / other * relevance, parts=guided.parts | {"ratio": own / other})


@dataclass(frozen=True)
class Sharpness(SwapRelevance):
    """SAM: the gradient is taken where the loss of the batch is highest nearby, on the same swaps.

    ``returning`` moves the weights back before the optimiser's step.
    """

    title = "sharpness"
    moved: ClassVar[list[tuple[Tensor, Tensor]]] = []

    def __call__(self, model: nn.Module, images: Tensor, masks: Tensor, target: Tensor | None) -> GuidedLoss:
        move_back(self.moved)  # a step may have been left out
        if not torch.is_grad_enabled():
            return super().__call__(model, images, masks, target)
        drawn, weights = torch.get_rng_state(), [one for one in model.parameters() if one.requires_grad]
        loss = super().__call__(model, images, masks, target).loss
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
        reached = [(weight, one) for weight, one in zip(weights, gradients, strict=True) if one is not None]
        length = torch.nn.utils.get_total_norm([one for _, one in reached])
        with torch.no_grad():
            for weight, gradient in reached:
                self.moved.append((weight, weight.clone()))
                weight.add_(gradient, alpha=SHARPNESS / float(length))
        torch.set_rng_state(drawn)
        return super().__call__(model, images, masks, target)


@dataclass(frozen=True)
class SwapEnergy(SwapRelevance):
    """The same with the loss of ``energy`` in the place of the squares."""

    title = "swap-energy"

    def map_terms(self, maps: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """The share of the relevance that lies outside."""
        return EnergyGuidance.map_terms(self, maps, masks)  # type: ignore[arg-type]


@dataclass(frozen=True)
class EmptyDonors(SwapRelevance):
    """The same on the backgrounds of photos without an object, whole, and not of other training photos."""

    title = "empty-donors"
    backgrounds: ClassVar[Sequence[Tensor]]

    def __call__(self, model: nn.Module, images: Tensor, masks: Tensor, target: Tensor | None) -> GuidedLoss:
        if torch.is_grad_enabled():
            drawn = torch.randint(len(self.backgrounds), (len(images),)).tolist()
            images = torch.stack([
                image if bounding_box(mask) is None else paste(image, mask, self.backgrounds[at])
                for image, mask, at in zip(images, masks, drawn, strict=True)
            ])  # fmt: skip
        return RobustViT.__call__(self, model, images, masks, target)


def gradient_length(loss: Tensor, model: nn.Module) -> Tensor:
    """Length of the gradient of a loss in all weights that train; the graph is kept."""
    weights = [one for one in model.parameters() if one.requires_grad]
    found = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
    return torch.nn.utils.get_total_norm([one for one in found if one is not None])


def move_back(moved: list[tuple[Tensor, Tensor]]) -> None:
    """Give weights the values that are kept beside them, and forget these."""
    with torch.no_grad():
        for weight, before in moved:
            weight.copy_(before)
    moved.clear()


@contextmanager
def registered(method: Any) -> Iterator[None]:
    """Let finetune know a guidance method, inside a ``with`` block."""
    GUIDANCE[method.title] = method
    try:
        yield
    finally:
        del GUIDANCE[method.title]


@contextmanager
def hooked(before: Callable[[Any], None] | None, after: Callable[[Any], None] | None) -> Iterator[None]:
    """Call something with the optimiser before and after every step."""
    hooks = [register_optimizer_step_pre_hook(lambda one, *_: before(one))] if before else []
    hooks += [register_optimizer_step_post_hook(lambda one, *_: after(one))] if after else []
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def returning() -> Iterator[None]:
    """Move the weights of SAM back before the step."""
    with hooked(lambda _: move_back(Sharpness.moved), None):
        yield


@contextmanager
def faster_attention(original: Classifier, times: float) -> Iterator[None]:
    """Let queries and keys learn ``times`` as fast: Adam's step is proportional to the rate, so theirs is stretched."""
    names = [name for name, _ in original.named_parameters()]
    kept: list[tuple[Tensor, Tensor]] = []

    def keep(optimizer: Any) -> None:
        weights = zip(names, optimizer.param_groups[0]["params"], strict=True)
        leading = [weight.detach()[: 2 * len(weight) // 3] for name, weight in weights if ".qkv." in name]
        kept[:] = [(rows, rows.clone()) for rows in leading]  # values are the last third

    def stretch(_: Any) -> None:
        for rows, before in kept:
            rows.add_(rows - before, alpha=times - 1)

    with hooked(keep, stretch):
        yield


@contextmanager
def averaging(decay: float) -> Iterator[Finish]:
    """Keep the exponential moving average of all weights; what is yielded gives them to a model.

    With a decay of 0.98, it is one of about the last 50 steps.
    """
    found: list[AveragedModel] = []

    def average(optimizer: Any) -> None:
        weights = nn.ParameterList(optimizer.param_groups[0]["params"])
        if not found:
            found.append(AveragedModel(weights, multi_avg_fn=get_ema_multi_avg_fn(decay)))
        found[0].update_parameters(weights)

    def give(model: Classifier) -> None:
        with torch.no_grad():
            for weight, mean in zip(model.parameters(), found[0].module.parameters(), strict=True):
                weight.copy_(mean)

    with hooked(None, average):
        yield give


def write_adapter(original: Path, folder: Path) -> dict[str, Any]:
    """Write a new LoRA adapter for a model, and return the options that train it."""
    import peft

    layers = ["qkv", "proj", "fc1", "fc2"]
    settings = peft.LoraConfig(r=8, lora_alpha=16, target_modules=layers, modules_to_save=["head"])
    torch.manual_seed(0)
    network: Any = load_model(f"local-dir:{original}").network
    peft.get_peft_model(network, settings).save_pretrained(str(folder))
    return {"checkpoint": str(folder), "train": "adapter", "lr": 2e-4}
