"""Ablations of the paper's loss by options, each against plain float64 loops with the attention written out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from helpers.small_models import SIZE, tiny_network
from helpers.state import state_of
from plain.losses import plain_cross_entropy, plain_terms
from plain.relevance_maps import plain_forward
from robustvit import RobustViT, UserError, guided_loss, relevance
from robustvit.explanation.methods import RELEVANCE_METHODS

# The ablations of Tables 4 and 12, and what else the options take away or put in.
ABLATIONS = {
    "whole": {},
    "without equation 1": {"background": 0.0},
    "without equation 2": {"foreground": 0.0},
    "without equation 4": {"classification_weight": 0.0},
    "true label": {"classification": "label"},
    "cft": {"background": 1.2, "foreground": 0.5},
    "temperature": {"temperature": 0.55},
    "predicted class": {"target": "predicted"},
    "second order": {"second_order": True},
    "second order without equation 4": {"second_order": True, "classification_weight": 0.0},
}
DEFAULTS = {"background": 2.0, "foreground": 0.3, "relevance_weight": 0.8, "classification_weight": 0.2}


@pytest.fixture
def network():
    return tiny_network().double()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(5)
    images = torch.rand(2, 3, SIZE, SIZE, dtype=torch.float64, generator=generator)
    masks = torch.rand(2, 1, SIZE, SIZE, dtype=torch.float64, generator=generator)  # soft
    return images, masks, torch.tensor([2, 0])


def plain_maps(logits, maps, explained, second_order):
    """Equations 6 and 7 with whole matrices; first order holds the attention's gradient constant."""
    result = []
    for index, target in enumerate(explained.tolist()):
        total = torch.eye(maps[0].shape[-1], dtype=logits.dtype)
        for attention in maps:
            (gradient,) = torch.autograd.grad(
                logits[index, target], attention, retain_graph=True, create_graph=second_order
            )
            block = torch.relu(gradient[index] * attention[index]).mean(dim=0)
            total = total + block @ total
        side = round((len(total) - 1) ** 0.5)
        full = F.interpolate(total[0, 1:].reshape(1, 1, side, side), size=(SIZE, SIZE), mode="bilinear")[0]
        result.append((full - full.min()) / (full.max() - full.min()))
    return torch.stack(result)


def plain_loss(network, batch, **options):
    """Equation 5, term by term, differentiable in the weights."""
    images, masks, labels = batch
    weights = DEFAULTS | options
    logits, attentions = plain_forward(network, images)
    predicted = logits.argmax(dim=1)
    explained = predicted if options.get("target") == "predicted" else labels
    maps = plain_maps(logits, attentions, explained, options.get("second_order", False))
    loss = weights["relevance_weight"] * (
        weights["background"] * ((maps * (1 - masks)) ** 2).sum() / maps.numel()
        + weights["foreground"] * ((maps * masks - masks) ** 2).sum() / maps.numel()
    )
    answer = labels if options.get("classification") == "label" else predicted
    log_probabilities = torch.log_softmax(logits / options.get("temperature", 1.0), dim=1)
    return loss - weights["classification_weight"] * sum(
        log_probabilities[i, answer[i]] for i in range(len(answer))
    ) / len(answer)


@pytest.mark.parametrize("name", ABLATIONS)
def test_loss_and_gradients_of_every_weight_equal_the_plain_loop(network, batch, name):
    ours = RobustViT(**ABLATIONS[name])(network, *batch).loss
    plain = plain_loss(network, batch, **ABLATIONS[name])
    assert ours.item() == pytest.approx(plain.item(), abs=1e-10)
    parameters = list(network.parameters())
    for got, expected in zip(
        torch.autograd.grad(ours, parameters, allow_unused=True),
        torch.autograd.grad(plain, parameters, allow_unused=True),
        strict=True,
    ):
        assert torch.allclose(
            torch.zeros(()).double() if got is None else got,
            torch.zeros(()).double() if expected is None else expected,
            atol=1e-9,
        )


@pytest.mark.parametrize("method", RELEVANCE_METHODS)
@pytest.mark.parametrize(
    "options", [{}, {"background": 0.0}, {"foreground": 0.0}, {"classification": "label"}], ids=str
)
def test_other_relevance_methods_go_into_the_same_terms(network, batch, method, options):
    images, masks, labels = batch
    guided = guided_loss(network, images, masks, labels, relevance=method, **options)
    background, foreground = plain_terms(relevance(network, images, labels, method=method).detach(), masks)
    logits = network(images).detach()
    answer = labels if options.get("classification") == "label" else logits.argmax(dim=1)
    weights = DEFAULTS | options
    total = weights["relevance_weight"] * (weights["background"] * background + weights["foreground"] * foreground)
    total += weights["classification_weight"] * plain_cross_entropy(logits, answer, 1.0)
    assert guided.loss.item() == pytest.approx(total, abs=1e-10)
    guided.loss.backward()
    assert network.patch_embed.proj.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["background", "foreground", "classification_weight", "relevance_weight"])
def test_weight_zero_takes_even_an_infinite_term_away(network, batch, name, monkeypatch):
    def broken(*arguments, **options):
        return (arguments[0] * float("inf")).sum() * 0  # NaN, and so is its gradient

    terms = {
        "background": ["background_loss"],
        "foreground": ["foreground_loss"],
        "classification_weight": ["confidence_loss"],
        "relevance_weight": ["background_loss", "foreground_loss"],
    }[name]
    for term in terms:
        monkeypatch.setattr(f"robustvit.guidance.robustvit.{term}", broken)
    guided = guided_loss(network, *batch, **{name: 0.0})
    assert torch.isfinite(guided.loss)
    guided.loss.backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize("options", [{"relevance_weight": 0.0}, {"background": 0.0, "foreground": 0.0}], ids=str)
def test_without_relevance_no_map_is_made_and_a_step_is_a_plain_one(network, batch, options, monkeypatch):
    def no_map(*_: object) -> None:
        pytest.fail("no map is needed")

    monkeypatch.setattr("robustvit.guidance.robustvit.get_method", lambda _: no_map)
    images, _, labels = batch
    guided = guided_loss(network, *batch, classification="label", classification_weight=1.0, **options)
    assert guided.maps is None
    assert set(guided.parts) == {"classification"}
    assert torch.equal(guided.loss, F.cross_entropy(network(images), labels))


def test_without_equation_four_nothing_is_asked_of_the_head(network, batch):
    guided_loss(network, *batch, classification_weight=0.0).loss.backward()
    assert network.head.weight.grad is None or not network.head.weight.grad.any()
    assert network.blocks[0].attn.qkv.weight.grad.any()


@pytest.mark.parametrize(
    "options",
    [
        {"relevance_weight": 0.0, "classification_weight": 0.0},
        {"background": 0.0, "foreground": 0.0, "classification_weight": 0.0},
        {"background": -1.0},
        {"classification_weight": float("nan")},
        {"foreground": float("inf")},
    ],
    ids=str,
)
def test_weights_that_train_nothing_or_make_no_sense_are_refused(options):
    with pytest.raises(UserError, match="expected"):
        RobustViT(**options)


@pytest.mark.parametrize("name", ABLATIONS)
def test_model_is_left_as_it_was_and_nothing_is_infinite(network, batch, name):
    before = state_of(network.train())
    for images in (batch[0], torch.zeros_like(batch[0])):  # a constant photo too
        guided = RobustViT(**ABLATIONS[name])(network, images, *batch[1:])
        assert torch.isfinite(guided.loss)
    assert state_of(network) == before
