"""Losses against plain loops in float64, and the one-call loss for anybody's own loop."""

from __future__ import annotations

import pytest
import torch

from helpers.small_models import SIZE
from plain.losses import plain_cross_entropy, plain_terms
from robustvit import RobustViT, UserError, guided_loss, load_model, relevance, relevance_loss
from robustvit.guidance.method import GuidedLoss
from robustvit.guidance.paper_losses import background_loss, confidence_loss, foreground_loss, label_loss


@pytest.fixture
def maps():
    return torch.rand(2, 1, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("soft", [False, True])
def test_relevance_loss_equals_plain_loops(maps, soft):
    masks = torch.rand(maps.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    masks = masks if soft else (masks > 0.5).double()
    background, foreground = plain_terms(maps, masks)
    assert float(background_loss(maps, masks)) == pytest.approx(background, abs=1e-12)
    assert float(foreground_loss(maps, masks)) == pytest.approx(foreground, abs=1e-12)
    assert float(relevance_loss(maps, masks)) == pytest.approx(2 * background + 0.3 * foreground, abs=1e-12)
    weighted = relevance_loss(maps, masks, background=1.2, foreground=0.5)
    assert float(weighted) == pytest.approx(1.2 * background + 0.5 * foreground, abs=1e-12)


def test_masks_without_channel_and_wrong_shapes(maps):
    masks = (maps > 0.4).double()
    assert torch.equal(relevance_loss(maps, masks), relevance_loss(maps, masks[:, 0]))
    with pytest.raises(UserError, match="shape"):
        relevance_loss(maps, masks[..., 1:])


def test_perfect_map_costs_nothing(maps):
    masks = (maps > 0.4).double()
    assert relevance_loss(masks, masks) == 0
    assert relevance_loss(1 - masks, masks) > relevance_loss(maps, masks) > 0


@pytest.mark.parametrize("temperature", [1.0, 0.55])
def test_classification_losses(temperature):
    logits = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    target = torch.tensor([0, 5, 2, 2])
    plain = plain_cross_entropy(logits, target, temperature)
    assert float(label_loss(logits, target, temperature)) == pytest.approx(plain, abs=1e-12)
    own = plain_cross_entropy(logits, logits.argmax(dim=1), temperature)
    assert float(confidence_loss(logits, temperature)) == pytest.approx(own, abs=1e-12)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(3, 3, SIZE, SIZE, generator=generator)
    masks = (torch.rand(3, 1, SIZE, SIZE, generator=generator) > 0.6).float()
    return images, masks, torch.tensor([2, 0, 1])


def test_guided_loss_is_equation_five(network, batch):
    images, masks, target = batch
    guided = guided_loss(network, images, masks, target, temperature=0.7)
    maps = relevance(network, images, target)
    logits = network(images)
    expected = 0.8 * relevance_loss(maps, masks) + 0.2 * confidence_loss(logits, 0.7)
    assert isinstance(guided, GuidedLoss)
    assert torch.allclose(guided.loss, expected, atol=1e-6)
    assert torch.allclose(guided.logits, logits, atol=1e-5)
    assert torch.allclose(guided.maps, maps, atol=1e-5)
    assert set(guided.parts) == {"background", "foreground", "relevance", "classification"}
    assert not guided.logits.requires_grad
    assert not guided.maps.requires_grad


def test_one_forward_pass_only(network, batch):
    calls = []
    network.patch_embed.register_forward_hook(lambda *_: calls.append(1))
    guided_loss(network, *batch).loss.backward()
    assert len(calls) == 1


def test_target_rules(network, batch):
    images, masks, target = batch
    predicted = network(images).argmax(dim=1)
    guide = RobustViT(target="predicted")
    assert torch.allclose(guide(network, images, masks, None).maps, relevance(network, images, predicted), atol=1e-6)
    assert torch.allclose(guide(network, images, masks, target).maps, relevance(network, images), atol=1e-6)
    assert torch.allclose(guided_loss(network, images, masks).maps, relevance(network, images), atol=1e-6)
    with pytest.raises(UserError, match="labels"):
        RobustViT()(network, images, masks, None)
    with pytest.raises(UserError, match="labels"):
        guided_loss(network, images, masks, classification="label")


def test_label_variant_and_switched_off_terms(network, batch):
    images, masks, target = batch
    guided = guided_loss(network, images, masks, target, classification="label", relevance_weight=0.0)
    assert torch.allclose(guided.loss, 0.2 * label_loss(network(images), target), atol=1e-6)
    guided = guided_loss(network, images, masks, target, background=0.0, classification_weight=0.0)
    assert torch.allclose(
        guided.loss, 0.8 * 0.3 * foreground_loss(relevance(network, images, target), masks), atol=1e-6
    )


def test_second_order_reaches_the_head(network, batch):
    for second_order in (False, True):
        network.zero_grad()
        guided_loss(network, *batch, second_order=second_order, classification_weight=0.0).loss.backward()
        assert bool(network.head.weight.grad is not None and network.head.weight.grad.any()) == second_order


def test_works_in_a_plain_loop_and_lowers_the_loss(batch, network):
    images, masks, target = batch
    classifier = load_model(network).train()
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=1e-3)
    losses = []
    for _ in range(8):
        guided = guided_loss(classifier, images, masks, target)
        optimizer.zero_grad()
        guided.loss.backward()
        optimizer.step()
        losses.append(guided.loss.item())
    assert losses[-1] < losses[0]
    assert classifier.training


def test_own_guidance_object_and_bad_options(network, batch):
    def own(model, images, masks, target):
        logits = model(images)
        return GuidedLoss(logits.sum(), {}, logits, masks)

    assert guided_loss(network, *batch, guidance=own).parts == {}
    for options, word in (
        ({"guidance": "magic"}, "robustvit"),
        ({"colour": 1}, "colour"),
        ({"temperature": 0.0}, "temperature"),
        ({"classification": "nothing"}, "confidence"),
        ({"relevance": "nothing"}, "gae"),
    ):
        with pytest.raises(UserError, match=word):
            guided_loss(network, *batch, **options)


@pytest.mark.parametrize("masks", [torch.full((1, 1, 4, 4), 255.0), torch.full((1, 1, 4, 4), -0.5)])
def test_masks_beyond_0_to_1_are_refused(masks):
    with pytest.raises(UserError, match="expected masks from 0 to 1"):
        relevance_loss(torch.rand(1, 1, 4, 4), masks)
    with pytest.raises(UserError, match="expected masks from 0 to 1"):
        guided_loss(torch.nn.Identity(), torch.rand(1, 3, 4, 4), masks)
