"""Weights of groups in a loss: reweighting and Group DRO against plain second implementations, with any guidance."""

from __future__ import annotations

import pytest
import torch

from helpers.small_models import SIZE, tiny_network
from plain.groups import plain_cross_entropy, plain_dro_steps, plain_reweighted
from robustvit import UserError
from robustvit.guidance.group_weights import GroupDRO, Reweighting, weigh_groups
from robustvit.guidance.method import GuidedLoss
from robustvit.guidance.registry import GUIDANCE, make_guidance


def given(seed, count=7, classes=3, groups=3):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, classes, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(classes, (count,), generator=generator)
    members = torch.randint(groups, (count,), generator=generator)
    return logits, labels, members


def as_loss(logits, labels):
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    return GuidedLoss(losses.mean(), {}, logits.detach(), None, lambda: losses)


def plain_losses(logits, labels):
    return [plain_cross_entropy(row, label) for row, label in zip(logits.tolist(), labels.tolist(), strict=True)]


@pytest.mark.parametrize("seed", range(4))
def test_a_reweighted_loss_is_the_plain_one(seed):
    logits, labels, members = given(seed)
    counts = [40, 7, 3]
    found = weigh_groups(as_loss(logits, labels), Reweighting(counts), members)
    plain = plain_reweighted(plain_losses(logits, labels), members.tolist(), counts)
    assert found.loss.item() == pytest.approx(plain, abs=1e-12)


def test_group_dro_is_the_plain_algorithm_over_steps():
    weighting, batches, told, gradients = GroupDRO(3, 0.5), [], [], []
    for seed in range(6):
        logits, labels, members = given(seed, count=5)
        found = weigh_groups(as_loss(logits, labels), weighting, members)
        found.loss.backward()
        told.append(found.loss.item())
        gradients.append(logits.grad)
        batches.append((plain_losses(logits, labels), members.tolist()))
    plain, q = plain_dro_steps(batches, 3, 0.5)
    assert told == pytest.approx(plain, abs=1e-12)
    assert weighting.q.tolist() == pytest.approx(q, abs=1e-12)
    logits, labels, members = given(5, count=5)
    counts = torch.bincount(members, minlength=3)
    weights = (torch.tensor(q)[members] / counts[members]).detach()
    (weights * torch.nn.functional.cross_entropy(logits, labels, reduction="none")).sum().backward()
    assert torch.allclose(gradients[-1], logits.grad, atol=1e-12)


def test_group_dro_goes_on_where_it_was():
    first, second = GroupDRO(3, 0.5), GroupDRO(3, 0.5)
    logits, labels, members = given(0)
    weigh_groups(as_loss(logits, labels), first, members)
    second.load_state_dict(first.state_dict())
    assert second.q.tolist() == first.q.tolist() != [1 / 3] * 3


def test_a_loss_that_is_not_finite_leaves_the_weights_of_groups_alone():
    weighting = GroupDRO(2, 0.5)
    losses = torch.tensor([float("nan"), 1.0])
    weighting(losses, torch.tensor([0, 1]))
    assert weighting.q.tolist() == [0.5, 0.5]


STEPPING = [name for name in GUIDANCE if name not in ("dfr",)]


@pytest.mark.parametrize("name", STEPPING)
def test_every_method_with_a_label_tells_the_loss_of_each_photo(name):
    options = {"classification": "label"} if name == "robustvit" else {}
    method = make_guidance(name, **options)
    torch.manual_seed(0)
    images, masks = torch.rand(3, 3, SIZE, SIZE), torch.zeros(3, 1, SIZE, SIZE)
    masks[..., 8:24, 8:24] = 1
    labels = torch.tensor([0, 1, 2])
    found = method(tiny_network(), images, masks, labels)
    assert found.label_losses is not None
    each = found.label_losses()
    assert each.shape == (3,)
    assert each.mean().item() == pytest.approx(float(found.parts["classification"]), rel=1e-5)
    weight = getattr(method, "classification_weight", 1.0)
    assert found.label_weight == weight
    one = weigh_groups(found, Reweighting([1, 1]), torch.tensor([0, 0, 1]))
    other = weigh_groups(found, Reweighting([3, 1]), torch.tensor([0, 0, 1]))
    expected = weight * float(((torch.tensor([2 / 3, 2 / 3, 2.0]) - 1) * each).mean())
    assert float(one.loss) == pytest.approx(float(found.loss), rel=1e-6)
    assert float(other.loss - found.loss) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_the_models_own_confidence_has_no_groups():
    found = make_guidance("robustvit")(
        tiny_network(), torch.rand(2, 3, SIZE, SIZE), torch.ones(2, 1, SIZE, SIZE), torch.tensor([0, 1])
    )
    with pytest.raises(UserError, match="--classification label"):
        weigh_groups(found, Reweighting([1, 1]), torch.tensor([0, 1]))
