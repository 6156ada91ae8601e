"""Swaps and relevance together against the paper's loss on photos that are swapped by hand."""

from __future__ import annotations

import pytest
import torch

from helpers.small_models import SIZE, tiny_network
from robustvit import UserError, guided_loss
from robustvit.guidance.background_swaps import SwapRelevance, on_other_backgrounds


def batch_of(count=4):
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(count, 3, SIZE, SIZE, dtype=torch.float64, generator=generator)
    masks = torch.zeros(count, 1, SIZE, SIZE, dtype=torch.float64)
    for at in range(count):
        masks[at, :, 4 + at : 16 + at, 6:18] = 1
    return images, masks, torch.tensor([0, 1, 2, 1])


def test_loss_and_gradient_are_the_papers_on_the_swapped_photos():
    network, (images, masks, labels) = tiny_network().double(), batch_of()
    torch.manual_seed(5)
    found = guided_loss(network, images, masks, labels, guidance="swap-relevance")
    found.loss.backward()
    gradients = [weight.grad.clone() for weight in network.parameters()]
    network.zero_grad()
    torch.manual_seed(5)
    swapped = on_other_backgrounds(images, masks)
    assert not torch.equal(swapped, images)
    options = {"classification": "label", "relevance_weight": 0.0, "classification_weight": 1.0}
    answer = guided_loss(network, swapped, masks, labels, **options).loss
    relevance = guided_loss(network, swapped, masks, labels, relevance_weight=1.0, classification_weight=0.0).loss
    plain = answer + 8 * relevance
    plain.backward()
    assert found.loss.item() == pytest.approx(plain.item(), rel=1e-10)
    for ours, weight in zip(gradients, network.parameters(), strict=True):
        torch.testing.assert_close(ours, weight.grad, rtol=1e-8, atol=1e-12)
    assert found.parts["relevance"].item() == pytest.approx(relevance.item(), rel=1e-10)
    assert found.parts["classification"].item() == pytest.approx(answer.item(), rel=1e-10)


def test_one_forward_pass_gives_answer_and_map():
    network, batch, passes = tiny_network().double(), batch_of(), []
    network.register_forward_hook(lambda *_: passes.append(1))
    guided_loss(network, *batch, guidance="swap-relevance").loss.backward()
    assert len(passes) == 1


def test_photos_stay_as_they_are_in_validation():
    network, batch = tiny_network().double(), batch_of()
    with torch.no_grad():
        found = guided_loss(network, *batch, guidance="swap-relevance")
        plain = guided_loss(network, *batch, classification="label", relevance_weight=8.0, classification_weight=1.0)
    assert torch.equal(found.loss, plain.loss)
    assert not found.loss.requires_grad


@pytest.mark.parametrize("share", [0.0, 1.5, -1.0])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(UserError, match="--swap-share above 0 and at most 1"):
        SwapRelevance(swap_share=share)


def test_it_says_what_it_trains_on():
    assert SwapRelevance().trained_on == ("mixed-other", "mixed-same", "mixed-rand")
