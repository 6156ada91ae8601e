"""Images without an object in guided losses, against slow loops over single images in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from helpers.small_models import SIZE, tiny_network
from robustvit import UserError, guided_loss, relevance
from robustvit.guidance.background_swaps import on_other_backgrounds
from robustvit.guidance.negatives import other_classes, unevenness
from robustvit.guidance.registry import GUIDANCE, make_guidance

MAPS = ("robustvit", "swap-relevance", "energy")


def batch_of(negative=(1, 3)):
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(4, 3, SIZE, SIZE, dtype=torch.float64, generator=generator)
    masks = torch.zeros(4, 1, SIZE, SIZE, dtype=torch.float64)
    for at in set(range(4)) - set(negative):
        masks[at, :, 4 + at : 16 + at, 6:18] = 1
    return images, masks, torch.tensor([0, 2, 1, 0])


def plain_relevance(guidance, maps, mask):
    """The relevance loss of one image, by loops."""
    pairs = list(zip(maps.flatten().tolist(), mask.flatten().tolist(), strict=True))
    if guidance == "energy":
        return 1 - sum(r * s for r, s in pairs) / sum(r for r, _ in pairs)
    background = sum((r * (1 - s)) ** 2 for r, s in pairs) / len(pairs)
    return 2 * background + 0.3 * sum((r * s - s) ** 2 for r, s in pairs) / len(pairs)


def plain_unevenness(values):
    total = sum(values)
    return (len(values) * sum((v / total) ** 2 for v in values) - 1) / (len(values) - 1) if total else 0.0


def plain_loss(network, batch, guidance, weights, negatives="classification", objects=(0, 1, 2), method="gae"):
    """The mean over images of each one's own terms, each image alone."""
    loss = 0.0
    for image, mask, label in zip(*batch, strict=True):
        image, label = image[None], label[None]
        loss += weights[1] * F.cross_entropy(network(image), label).item()
        if mask.any():
            loss += weights[0] * plain_relevance(guidance, relevance(network, image, label, method=method), mask)
        elif negatives == "uniform":
            others = [one for one in objects if one != int(label)]
            for one in others:
                found = relevance(network, image, torch.tensor([one]), method=method, upsample=False)
                loss += weights[0] * plain_unevenness(found.flatten().tolist()) / len(others)
    return loss / len(batch[0])


@pytest.mark.parametrize("guidance", MAPS)
@pytest.mark.parametrize("negatives", ["classification", "uniform", "none"])
@pytest.mark.parametrize("training", [True, False])
def test_each_image_gets_its_own_terms(guidance, negatives, training):
    network, batch = tiny_network().double(), batch_of()
    options = {"classification": "label", "relevance_weight": 3.0, "classification_weight": 1.0}
    torch.manual_seed(5)
    with torch.set_grad_enabled(training):
        found = guided_loss(network, *batch, guidance=guidance, negatives=negatives, object_classes=(0, 1), **options)
    assert found.loss.requires_grad == training
    if training and guidance == "swap-relevance":
        torch.manual_seed(5)
        batch = (on_other_backgrounds(*batch[:2]), *batch[1:])
    expected = plain_loss(network, batch, guidance, (3.0, 1.0), negatives, objects=(0, 1))
    assert found.loss.item() == pytest.approx(expected, rel=1e-9)
    assert ("uniform" in found.parts) == (negatives == "uniform")


@pytest.mark.parametrize("method", ["gae", "attnlrp", "rollout", "grad_cam", "input_gradient"])
@pytest.mark.parametrize("second_order", [False, True])
def test_the_maps_of_several_classes_are_differentiated_as_in_passes_of_their_own(method, second_order):
    images, masks, labels = batch_of(negative=(0, 1, 2, 3))
    options = {"relevance": method, "second_order": second_order, "classification_weight": 0.0}
    network = tiny_network().double()
    found = guided_loss(network, images, masks, labels, negatives="uniform", relevance_weight=1.0, **options)
    found.loss.backward()
    ours = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in network.parameters()]
    network.zero_grad()
    total = torch.zeros((), dtype=torch.float64)
    for label in range(3):
        maps = relevance(
            network, images, torch.full((4,), label), method=method, second_order=second_order, upsample=False
        )
        values = unevenness(maps.flatten(1))
        total = total + sum(values[i] / 2 for i in range(4) if int(labels[i]) != label) / 4
    total.backward()
    assert found.loss.item() == pytest.approx(total.item(), rel=1e-9)
    assert found.loss.item() > 0
    for gradient, weight in zip(ours, network.parameters(), strict=True):
        expected = torch.zeros_like(weight) if weight.grad is None else weight.grad
        torch.testing.assert_close(gradient, expected, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize(("second_order", "rate", "left"), [(False, 1.0, 0.995), (True, 0.1, 0.5)])
def test_steps_even_out_the_maps_of_object_classes(second_order, rate, left):
    network, batch = tiny_network().double(), batch_of(negative=(0, 1, 2, 3))
    optimizer = torch.optim.SGD(network.parameters(), lr=rate)
    options = {"relevance_weight": 1.0, "classification_weight": 0.0, "second_order": second_order}
    losses = []
    for _ in range(4):
        found = guided_loss(network, *batch, negatives="uniform", **options)
        optimizer.zero_grad()
        found.loss.backward()
        optimizer.step()
        losses.append(found.loss.item())
    assert losses[-1] < left * losses[0]


def test_unevenness():
    values = torch.rand(3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values = torch.cat([values, torch.ones(1, 7), torch.eye(7)[:1], torch.zeros(1, 7)])
    found = unevenness(values)
    expected = [plain_unevenness(row) for row in values.tolist()]
    assert found.tolist() == pytest.approx(expected, abs=1e-12)
    assert found[3:].tolist() == pytest.approx([0, 1, 0], abs=1e-12)
    assert unevenness(1000 * values)[:3].tolist() == pytest.approx(found[:3].tolist(), rel=1e-12)
    assert torch.autograd.gradcheck(unevenness, values[:3].clone().requires_grad_())
    zeros = torch.zeros(1, 7, requires_grad=True)
    unevenness(zeros).sum().backward()
    assert zeros.grad is not None
    assert not zeros.grad.any()


def test_the_classes_are_those_with_objects_except_the_own():
    logits, labels = torch.zeros(2, 4), torch.tensor([1, 3])
    assert other_classes(logits, labels, (1, 2)).tolist() == [[0, 0, 1, 0], [0, 1, 1, 0]]
    assert other_classes(logits, labels, None).tolist() == [[1, 0, 1, 1], [1, 1, 1, 0]]
    assert other_classes(logits, None, (1, 2)).tolist() == [[0, 1, 1, 0]] * 2


@pytest.mark.parametrize("guidance", ["gradmask", "rrr"])
@pytest.mark.parametrize("negatives", ["classification", "uniform"])
def test_input_gradients(guidance, negatives):
    network, (images, masks, labels) = tiny_network().double(), batch_of()
    options = {"relevance_weight": 2.0, "negatives": negatives}
    found = guided_loss(network, images, masks, labels, guidance=guidance, object_classes=(0, 1), **options)
    loss = 0.0
    for image, mask, label in zip(images, masks, labels, strict=True):
        entered = image[None].clone().requires_grad_()
        logits = network(entered)
        loss += F.cross_entropy(logits, label[None]).item()
        others = [one for one in (0, 1) if one != int(label)]
        scalars = [logits.log_softmax(dim=1).sum()] if guidance == "rrr" else [logits[0, int(label)]]
        if not mask.any():
            scalars = [logits[0, one] for one in others] if guidance == "gradmask" else scalars
            scalars = scalars if negatives == "uniform" else []
        for scalar in scalars:
            (gradient,) = torch.autograd.grad(scalar, entered, retain_graph=True)
            squares = ((gradient[0] * (1 - mask)) ** 2).flatten().tolist()
            loss += 2 * sum(squares) / (1 if guidance == "rrr" else len(squares)) / len(scalars)
    assert found.loss.item() == pytest.approx(loss / 4, rel=1e-8)
    found.loss.backward()
    with torch.no_grad():
        seen = guided_loss(network, images, masks, labels, guidance=guidance, object_classes=(0, 1), **options)
    assert seen.loss.item() == pytest.approx(loss / 4, rel=1e-8)


@pytest.mark.parametrize("guidance", sorted(GUIDANCE))
def test_a_batch_without_any_object_trains_the_classification(guidance):
    network, (images, masks, labels) = tiny_network(), batch_of(negative=(0, 1, 2, 3))
    options = {"classification": "label"} if guidance in MAPS else {}
    found = guided_loss(network, images.float(), masks.float(), labels, guidance=guidance, **options)
    assert found.parts.get("relevance", torch.zeros(())).item() == 0
    found.loss.backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in network.parameters())


def test_without_labels_the_confidence_is_kept():
    network, (images, masks, _) = tiny_network(), batch_of()
    found = guided_loss(network, images.float(), masks.float(), negatives="uniform")
    assert torch.isfinite(found.loss)
    assert found.parts["uniform"].item() > 0


def test_a_batch_with_an_object_everywhere_is_bit_for_bit_as_ever():
    network, batch = tiny_network(), tuple(x.float() if x.is_floating_point() else x for x in batch_of(negative=()))
    losses = {guided_loss(network, *batch, negatives=way).loss.item() for way in ("classification", "uniform", "none")}
    assert len(losses) == 1


def test_they_lend_the_whole_frame_and_stay_as_they_are():
    images, masks, _ = batch_of(negative=(1, 2, 3))
    torch.manual_seed(0)
    swapped = on_other_backgrounds(images, masks)
    assert torch.equal(swapped[1:], images[1:])
    outside = (masks[0] == 0).expand_as(images[0])
    assert any(torch.equal(swapped[0][outside], images[donor][outside]) for donor in (1, 2, 3))
    assert torch.equal(swapped[0][~outside], images[0][~outside])


@pytest.mark.parametrize("guidance", ["cross-entropy", "swap-augmentation", "last-layer", "dfr"])
def test_methods_without_relevance_have_none_to_even_out(guidance):
    with pytest.raises(UserError, match=f"--guidance {guidance}, which has no relevance to even out") as caught:
        make_guidance(guidance, negatives="uniform")
    assert "\n" not in str(caught.value)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(UserError, match="--negatives to be one of classification, uniform, none"):
        make_guidance("robustvit", negatives="all")
    with pytest.raises(UserError, match="weight of relevance above 0 with --negatives uniform"):
        make_guidance("energy", negatives="uniform", relevance_weight=0.0)
    with pytest.raises(UserError, match="--relevance-weight above 0 with --negatives uniform"):
        make_guidance("rrr", negatives="uniform", relevance_weight=0.0)
    with pytest.raises(UserError, match="--guidance dfr, whose new head needs photos of every class"):
        make_guidance("dfr", negatives="none")
