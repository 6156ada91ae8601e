"""Relevance of heads that are no softmax, against plain second implementations in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from helpers.small_models import SIZE, tiny_network
from plain.relevance_maps import plain_forward
from robustvit import explain, guided_loss, load_model, relevance

IMAGES = torch.rand(2, 3, SIZE, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
METHODS = ["gae", "attnlrp", "legrad", "grad_cam", "input_gradient"]


def plain_relevance_of_score(network, images, signs):
    """Equations 6 and 7 for ``sign * z``, one image at a time, whole matrices from the first block to the last."""
    result = []
    for image, sign in zip(images, signs, strict=True):
        logits, maps = plain_forward(network, image[None])
        total = torch.eye(maps[0].shape[-1], dtype=images.dtype)
        for attention in maps:
            gradient = torch.autograd.grad(sign * logits[0, 0], attention, retain_graph=True)[0]
            total = total + torch.relu(gradient * attention)[0].mean(dim=0) @ total
        side = round((total.shape[0] - 1) ** 0.5)
        full = F.interpolate(total[0, 1:].reshape(1, 1, side, side), size=images.shape[-2:], mode="bilinear")[0]
        result.append((full - full.min()) / (full.max() - full.min()))
    return torch.stack(result)


def one_logit():
    classifier = load_model(tiny_network(1), head="binary").double()
    return classifier, lambda images: (images - classifier.mean) / classifier.std


def test_the_relevance_of_one_logit_is_that_of_the_score_and_for_its_absence_of_the_negative_score():
    classifier, prepare = one_logit()
    for target, sign in ((1, 1), (0, -1)):
        ours = relevance(classifier, IMAGES, target)
        assert torch.allclose(
            ours, plain_relevance_of_score(classifier.network, prepare(IMAGES), [sign] * 2), atol=1e-10
        )
        assert float(ours.detach().max()) == 1, "the absence of a class has a map, too"


@pytest.mark.parametrize("method", METHODS)
def test_each_method_explains_one_logit_as_the_two_scores_z_and_minus_z(method):
    """A network with the outputs (-z, z) and a softmax has these target logits by itself."""
    classifier, _ = one_logit()
    two = load_model(tiny_network(2)).double()
    two.load_state_dict(classifier.state_dict() | {
        "network.head.weight": torch.cat((-classifier.network.head.weight, classifier.network.head.weight)),
        "network.head.bias": torch.cat((-classifier.network.head.bias, classifier.network.head.bias)),
    })  # fmt: skip
    for target in (0, 1):
        ours, plain = (relevance(one, IMAGES, target, method=method, upsample=False) for one in (classifier, two))
        assert torch.allclose(ours, plain, atol=1e-9)


def test_the_loss_of_one_logit_is_the_binary_cross_entropy():
    classifier, prepare = one_logit()
    masks, labels = torch.ones(2, 1, SIZE, SIZE, dtype=torch.float64), torch.tensor([0, 1])
    score = classifier.network(prepare(IMAGES))[:, 0].tolist()
    likely = [1 / (1 + torch.tensor(-z).double().exp()) for z in score]
    given = -sum((p if label else 1 - p).log() for p, label in zip(likely, labels.tolist(), strict=True)) / 2
    kept = -sum(max(p, 1 - p).log() for p in likely) / 2
    assert guided_loss(classifier, IMAGES, masks, labels, guidance="cross-entropy").loss.item() == pytest.approx(
        float(given)
    )
    boosted = guided_loss(classifier, IMAGES, masks, labels).parts["classification"]
    assert float(boosted) == pytest.approx(float(kept)), "confidence boosting: its own answer, present or absent"


def test_numbers_of_a_regression_are_explained_as_numbers(tmp_path, photos):
    model = load_model(tiny_network(1), head="regression")
    found = explain([str(sorted(photos[0].rglob("*.png"))[0])], model=model, out=str(tmp_path / "out"))
    assert found[0].numbers
    ((name, value),) = found[0].top["model"]
    assert name == "output 0"
    assert f"output 0 {value:.4g}" in str(found)
    assert found[0].picture.is_file()
