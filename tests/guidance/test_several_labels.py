"""Guidance of multi-label models against a plain second implementation in float64."""

from __future__ import annotations

import pytest
import torch

from helpers.small_models import SIZE, tiny_network
from plain.several_labels import plain_binary_cross_entropy, plain_relevance_terms
from robustvit import UserError, guided_loss, load_model, relevance
from robustvit.explanation.methods.trace import slots_of
from robustvit.guidance.several import all_objects

TARGET = torch.tensor([[1, 0, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]])
IMAGES = torch.rand(3, 3, SIZE, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def model():
    return load_model(tiny_network(4), head="multi-label").double()


def masks_of(*shown: tuple[int, int], slots: int = 3):
    """Masks of random boxes in some (photo, slot)."""
    masks = torch.zeros(3, slots, SIZE, SIZE, dtype=torch.float64)
    for number, (photo, slot) in enumerate(shown):
        masks[photo, slot, 4 * number : 4 * number + 16, 8:30] = 1
    return masks


@pytest.mark.parametrize(
    "masks",
    [masks_of((0, 0), (0, 1), (0, 2), (1, 0)), masks_of((0, 0), (0, 2), (1, 0)), masks_of((0, 0), (1, 0), slots=1)],
    ids=["a mask for each class", "one class without a mask", "one mask for all"],
)
def test_the_relevance_of_each_class_lies_on_its_own_mask(model, masks):
    found = guided_loss(model, IMAGES, masks, TARGET, temperature=0.7)
    background, foreground = plain_relevance_terms(
        lambda index, label: relevance(model, IMAGES[index], label).detach(), TARGET, masks
    )
    assert float(found.parts["background"]) == pytest.approx(background, rel=1e-6)
    assert float(found.parts["foreground"]) == pytest.approx(foreground, rel=1e-6)
    own = (found.logits > 0).int()
    kept = plain_binary_cross_entropy(found.logits, own, 0.7)
    assert float(found.parts["classification"]) == pytest.approx(kept, rel=1e-9)
    expected = 0.8 * (2 * background + 0.3 * foreground) + 0.2 * kept
    assert found.loss.item() == pytest.approx(expected, rel=1e-6)


def test_the_true_labels_give_the_binary_cross_entropy_of_all_classes(model):
    found = guided_loss(model, IMAGES, masks_of(), TARGET, guidance="cross-entropy")
    assert found.loss.item() == pytest.approx(plain_binary_cross_entropy(found.logits, TARGET, 1.0), rel=1e-9)


def test_a_photo_of_one_label_is_guided_as_by_a_softmax_model(model):
    """Map and mask of the class are the same; only the classification differs."""
    one, label = torch.tensor([[0, 0, 1, 0]]), torch.tensor([2])
    masks = masks_of((0, 0))[:1, :1]
    several = guided_loss(model, IMAGES[:1], masks, one, classification_weight=0)
    single = guided_loss(load_model(model.network).double(), IMAGES[:1], masks, label, classification_weight=0)
    assert several.loss.item() == pytest.approx(single.loss.item(), rel=1e-6)
    assert torch.allclose(several.maps, single.maps)


def test_gradients_are_the_sum_of_those_of_single_classes(model):
    masks = masks_of((0, 0), (0, 1), (0, 2))[:1]
    weight = model.network.blocks[0].attn.qkv.weight

    def slope(target, own):
        loss = guided_loss(model, IMAGES[:1], own, target, classification_weight=0).loss
        return torch.autograd.grad(loss, weight)[0]

    each = [slope(torch.eye(4)[[label]], masks[:, [slot]]) for slot, label in enumerate((0, 2, 3))]
    assert torch.allclose(slope(TARGET[:1], masks), sum(each) / 3, rtol=1e-5, atol=1e-12)


def test_without_a_target_the_classes_that_the_model_sees_are_guided(model):
    with torch.no_grad():
        seen = (model(IMAGES) > 0).int()
    masks = torch.ones(3, 1, SIZE, SIZE, dtype=torch.float64)
    given, own = guided_loss(model, IMAGES, masks, seen), guided_loss(model, IMAGES, masks)
    assert given.loss.item() == pytest.approx(own.loss.item())


@pytest.mark.parametrize("guidance", ["energy", "swap-relevance", "swap-augmentation"])
def test_other_methods_take_several_labels(model, guidance):
    masks = masks_of((0, 0), (0, 1), (0, 2), (1, 0))
    loss = guided_loss(model, IMAGES, masks, TARGET, guidance=guidance).loss
    assert torch.isfinite(loss)
    assert loss.requires_grad


def test_an_object_without_a_mask_keeps_a_photo_on_its_background():
    masks = masks_of((0, 0), (0, 2), (1, 0))
    whole = all_objects(masks, TARGET)
    assert not whole[0].any(), "the class in slot 1 has no mask"
    assert torch.equal(whole[1, 0], masks[1, 0])


def test_classes_that_are_there_come_in_their_order():
    order, held = slots_of(TARGET > 0)
    assert order[0].tolist() == [0, 2, 3]
    assert held.tolist() == [[True] * 3, [True, False, False], [False] * 3]


def test_targets_of_another_form_are_refused(model):
    with pytest.raises(UserError, match=r"\(B, C\) of 0 and 1"):
        guided_loss(model, IMAGES, masks_of(), torch.tensor([0, 1, 2]))
    with pytest.raises(UserError, match="relevance explains it"):
        guided_loss(load_model(tiny_network(1), head="regression").double(), IMAGES, masks_of(slots=1))
