"""Guidance methods by name, their options, and the loss of a guided step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from robustvit.common.errors import UserError, expect_one_of, option_name
from robustvit.common.options import HeadKind
from robustvit.data.manifest import tokencut_protocol
from robustvit.guidance.background_swaps import SwapAugmentation, SwapRelevance
from robustvit.guidance.cross_entropy import CrossEntropy
from robustvit.guidance.energy import EnergyGuidance
from robustvit.guidance.input_gradients import GradMask, RightReasons
from robustvit.guidance.last_layer import DeepFeatureReweighting, LastLayer
from robustvit.guidance.method import Guidance, GuidanceMethod, GuidedLoss
from robustvit.guidance.paper_losses import expect_shares
from robustvit.guidance.robustvit import RobustViT
from robustvit.models.classifier import Classifier, head_kind_of
from robustvit.models.forward_pass import evaluating
from robustvit.models.method_names import method_name

GUIDANCE: dict[str, Any] = {
    kind.title: kind
    for kind in (
        RobustViT,
        SwapRelevance,
        EnergyGuidance,
        CrossEntropy,
        GradMask,
        RightReasons,
        SwapAugmentation,
        LastLayer,
        DeepFeatureReweighting,
    )
}


def method_options(guidance: str) -> set[str]:
    """Return the names of a guidance method's options."""
    expect_one_of("guidance", guidance, GUIDANCE)
    return {field.name for field in fields(GUIDANCE[guidance]) if field.metadata.get("option", True)}


def name_method(config: dict[str, Any]) -> str:
    """Return the name of the method in a run's settings, for records and tables."""
    usual: dict[str, Any] = {}
    if (guidance := str(config["guidance"])) in GUIDANCE:
        options = method_options(guidance) - {"temperature"}  # which depends on the model, not on the method
        usual = {field.name: field.default for field in fields(GUIDANCE[guidance]) if field.name in options}
    return method_name(config, usual, tokencut_protocol(config))


def guidance_options() -> list[str]:
    """Return the names of all guidance methods' options."""
    return sorted({name for guidance in GUIDANCE for name in method_options(guidance)})


def choose_options(guidance: str, given: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a guidance method: those ``given`` by the user, else the recipe's; the rest are defaults.

    Options that are None, or False for a switch, are not given. Names that no method has are ignored, and so are the
    recipe's options that the method does not have.
    """
    known = method_options(guidance)
    said = {name: given[name] for name in guidance_options() if not (given.get(name) is None or given[name] is False)}
    if foreign := sorted(set(said) - known):
        raise UserError(
            f"expected no {option_name(foreign[0])} with --guidance {guidance}, whose options are "
            f"{', '.join(map(option_name, sorted(known)))}: leave it out"
        )
    return {name: value for name, value in recipe.items() if name in known and value is not None} | said


def make_guidance(guidance: str | Guidance = "robustvit", **options: object) -> Guidance:
    """Return the guidance method of that name with its options set; an object passes through."""
    if not isinstance(guidance, str):
        if options:
            raise UserError(f"expected no options with a guidance object, got {', '.join(options)}")
        return guidance
    known = method_options(guidance)
    if unknown := sorted(set(options) - {field.name for field in fields(GUIDANCE[guidance])}):
        raise UserError(f"expected options of {guidance} ({', '.join(sorted(known))}), got {', '.join(unknown)}")
    return GUIDANCE[guidance](**options)


def check_guidance(guidance: GuidanceMethod, classifier: Classifier, parameters: Sequence[nn.Parameter]) -> None:
    """Refuse a method that fails on a model or trains none of the parameters, by a trial that changes nothing."""
    if classifier.head_kind == "multi-label" and not guidance.several:
        able = ", ".join(name for name, method in GUIDANCE.items() if method.several)
        raise UserError(f"--guidance {guidance.title} takes photos of one class, not a multi-label model: use {able}")
    before = [parameter.grad for parameter in parameters]
    try:
        for parameter in parameters:
            parameter.grad = None
        _try_on_grey(guidance, classifier, parameters[0])
        reached = any(parameter.grad is not None for parameter in parameters)
    except RuntimeError as error:
        if not any(words in str(error) for words in ("not implemented", "differentiate twice")):
            raise
        raise UserError(f"{type(classifier.network).__name__} cannot be guided by {guidance.title}: {error}") from error
    finally:
        for parameter, gradient in zip(parameters, before, strict=True):
            parameter.grad = gradient
    if not reached:
        raise UserError(
            f"expected weights to train that the loss of --guidance {guidance.title} depends on with these options, "
            "found none: choose another --train, or other weights of its terms"
        )


def _try_on_grey(guidance: GuidanceMethod, classifier: Classifier, like: Tensor) -> None:
    """Run a step without the optimizer on a grey image, with a mask on its right half."""
    image = torch.full((1, 3, *classifier.preprocessing.input_size), 0.5, dtype=like.dtype, device=like.device)
    mask = torch.ones_like(image[:, :1])
    mask[..., : mask.shape[-1] // 2] = 0
    label = torch.zeros(1, dtype=torch.long, device=like.device)
    if classifier.head_kind == "multi-label":
        label = torch.nn.functional.one_hot(label, classifier.num_classes).to(like.dtype)
    with evaluating(classifier):
        loss = guidance(classifier, image, mask, label).loss
        if loss.requires_grad:
            loss.backward()  # everything: with selected gradients, PyTorch skips what it cannot do


def guided_loss(
    model: nn.Module,
    images: Tensor,
    masks: Tensor,
    target: Tensor | None = None,
    *,
    guidance: str | Guidance = "robustvit",
    **options: object,
) -> GuidedLoss:
    """Compute the loss of a guided step, for any training loop, from one shared forward pass.

    Args:
        model: a ``Classifier`` or a bare timm vision transformer.
        images: ``(B, 3, H, W)``, what ``model`` takes.
        masks: ``(B, 1, H, W)`` or ``(B, H, W)`` in [0, 1], 1 on the object; for a multi-label model also
            ``(B, P, H, W)``, where the j-th is the mask of the j-th class that is there, zeros behind the last.
        target: ``(B,)`` true labels, whose relevance is guided; predicted classes by default. For a multi-label model
            ``(B, C)``, 1 for the classes that are there.
        guidance: name of a guidance method, or your own object.
        options: fields of the method, e.g. ``second_order=True`` or ``temperature=0.55``.

    Returns:
        The loss, its parts, logits and, if the method has some, maps; call ``.loss.backward()``.

    Raises:
        UserError: unknown method or option, shapes that differ, masks outside [0, 1], labels missing.
    """
    expect_shares(masks)
    if target is None and isinstance(guidance, str) and "target" in method_options(guidance):
        options["target"] = "predicted"
    _check_target(head_kind_of(model), target)
    return make_guidance(guidance, **options)(model, images, masks, target)


def _check_target(kind: HeadKind, target: Tensor | None) -> None:
    """Refuse a head without classes, and a target of another form than the head's."""
    if kind in ("regression", "ordinal"):
        raise UserError(f"expected a classifier to guide, got a head of kind {kind}: relevance explains it")
    axes = 2 if kind == "multi-label" else 1
    if target is not None and target.ndim != axes:
        form = "(B, C) of 0 and 1" if axes == 2 else "(B,)"
        raise UserError(f"expected a target {form} for a head of kind {kind}, got {tuple(target.shape)}")
