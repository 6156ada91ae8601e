"""Rival methods: formulas in plain loops, double backward by finite differences, models left alone."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from helpers.small_models import SIZE, tiny_network, tiny_torchvision, tiny_transformers
from helpers.state import state_of
from plain.losses import plain_cross_entropy
from plain.relevance_maps import plain_forward
from robustvit import Classifier, UserError, guided_loss
from robustvit.data.swaps import paste, tiled_background
from robustvit.explanation.attention.interception import Interception
from robustvit.guidance.background_swaps import SwapAugmentation, on_other_backgrounds
from robustvit.guidance.cross_entropy import CrossEntropy
from robustvit.guidance.input_gradients import GradMask, RightReasons
from robustvit.guidance.last_layer import LastLayer
from robustvit.guidance.paper_losses import background_loss, right_reasons_loss
from robustvit.guidance.registry import GUIDANCE, choose_options, guidance_options, method_options
from robustvit.models.classifier import Preprocessing, logits_of
from robustvit.models.parameters import head_layers, trainable

RIVALS = {"gradmask": GradMask, "rrr": RightReasons}
every_rival = pytest.mark.parametrize("name", sorted(set(GUIDANCE) - {"robustvit"}))
both = pytest.mark.parametrize("name", RIVALS)


def batch_of(count=3, size=SIZE, dtype=torch.float64):
    generator = torch.Generator().manual_seed(7)
    images = torch.rand(count, 3, size, size, dtype=dtype, generator=generator)
    masks = torch.zeros(count, 1, size, size, dtype=dtype)
    for index in range(count):
        masks[index, :, 10 + 3 * index : 26 + 2 * index, 8 : 20 + 4 * index] = 1
    masks[0] *= 0.8  # a soft mask, too
    return images, masks, torch.tensor([2, 0, 1, 1][:count])


def plain_penalties(name, gradients, masks):
    """Equations 9 and 10 (the latter averaged over images), number by number."""
    total = 0.0
    count, channels, rows, columns = gradients.shape
    values, inside = gradients.tolist(), masks.tolist()
    for i in range(count):
        for c in range(channels):
            for y in range(rows):
                for x in range(columns):
                    total += (values[i][c][y][x] * (1 - inside[i][0][y][x])) ** 2
    return total / (gradients.numel() if name == "gradmask" else count)


def plain_explained(name, logits, labels):
    if name == "gradmask":
        return sum(logits[i, label] for i, label in enumerate(labels.tolist()))
    return (logits - torch.log(torch.exp(logits).sum(dim=1, keepdim=True))).sum()


def plain_loss(name, forward, batch, weight, classification, create_graph=True):
    """The whole loss by plain automatic differentiation; ``forward`` is twice differentiable."""
    images, masks, labels = batch
    entered = images.clone().requires_grad_()
    logits = forward(entered)
    (gradients,) = torch.autograd.grad(plain_explained(name, logits, labels), entered, create_graph=create_graph)
    squares = ((gradients * (1 - masks)) ** 2).sum()
    penalty = squares / (images.numel() if name == "gradmask" else len(images))
    return weight * penalty + classification * F.nll_loss(torch.log_softmax(logits, dim=1), labels)


@both
def test_terms_equal_pixel_loops(name):
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(2, 3, 6, 5, dtype=torch.float64, generator=generator)
    masks = torch.rand(2, 1, 6, 5, dtype=torch.float64, generator=generator)
    term = background_loss if name == "gradmask" else right_reasons_loss
    assert float(term(gradients, masks)) == pytest.approx(plain_penalties(name, gradients, masks), abs=1e-12)
    assert torch.equal(term(gradients, masks), term(gradients, masks[:, 0]))
    assert term(gradients, torch.ones_like(masks)) == 0
    with pytest.raises(UserError, match="shape"):
        term(gradients, masks[..., 1:])


@both
def test_loss_and_gradients_of_every_weight_equal_plain_autograd(name):
    network, batch = tiny_network().double(), batch_of()
    guided = RIVALS[name](relevance_weight=0.7, classification_weight=0.3)(network, *batch)
    plain = plain_loss(name, lambda images: plain_forward(network, images)[0], batch, 0.7, 0.3)
    assert guided.loss.item() == pytest.approx(plain.item(), rel=1e-10)
    assert torch.allclose(guided.logits, network(batch[0]), atol=1e-12)
    parameters = list(network.parameters())
    ours, expected = (torch.autograd.grad(loss, parameters, allow_unused=True) for loss in (guided.loss, plain))
    for got, want in zip(ours, expected, strict=True):
        assert torch.allclose(got, want, rtol=1e-7, atol=1e-10)


def without_fusion(network):
    """The network with its attention written out, by a definition that shares nothing with the package's passes."""

    def attend(query, key, value, bias, scale):
        scores = torch.einsum("bhid,bhjd->bhij", query, key) * scale
        weights = torch.exp(scores if bias is None else scores + bias)
        return torch.einsum("bhij,bhjd->bhid", weights / weights.sum(dim=-1, keepdim=True), value)

    def forward(images):
        with Interception(attend):
            return logits_of(network(images))

    return forward


def pooled():
    settings = {"img_size": SIZE, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 3}
    return timm.create_model("vit_base_patch16_siglip_224", **settings)


def distilled():
    settings = {"img_size": SIZE, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 3}
    return timm.create_model("deit_tiny_distilled_patch16_224", **settings)


NETWORKS = {
    "timm": tiny_network,
    "timm, attention pool": pooled,
    "timm, distilled": distilled,
    "transformers": tiny_transformers,
    "transformers, distilled": lambda: tiny_transformers("DeiT", "ForImageClassificationWithTeacher"),
    "torchvision": tiny_torchvision,
    "CNN of timm": lambda: timm.create_model("test_resnet", num_classes=3),
    "CNN of torchvision": lambda: torchvision.models.shufflenet_v2_x0_5(num_classes=3),
}
_HEADS = ("head", "classifier", "fc.")
every_network = pytest.mark.parametrize("kind", NETWORKS)


def network_of(kind):
    torch.manual_seed(0)
    network = NETWORKS[kind]().double().eval()
    with torch.no_grad():  # what starts at zero would keep gradients from the rest, or tokens at a norm's singularity
        for name, parameter in network.named_parameters():
            if any(part in name for part in ("position_emb", "_token", *_HEADS)):
                nn.init.normal_(parameter, std=0.5)
    return network


@both
@every_network
def test_double_backward_equals_finite_differences_for_every_library(name, kind):
    network, batch = network_of(kind), batch_of(2)
    guidance = RIVALS[name](relevance_weight=1.0, classification_weight=0.0)
    guided = guidance(network, *batch)
    forward = without_fusion(network)
    plain = plain_loss(name, forward, batch, 1.0, 0.0)
    assert guided.loss.item() == pytest.approx(plain.item(), rel=1e-8)
    parameters = list(network.parameters())
    expected = torch.autograd.grad(plain, parameters, allow_unused=True)
    guided.loss.backward()
    for parameter, gradient in zip(parameters, expected, strict=True):
        if gradient is not None and parameter.grad is not None:
            assert torch.allclose(parameter.grad, gradient, rtol=1e-6, atol=1e-12 * float(gradient.abs().max()) + 1e-9)
    # Leaps of ReLU would spoil differences: a small step in a matrix meets hardly any.
    weights = [p for p in parameters if p.grad is not None and p.ndim > 1]
    parameter = max(weights, key=lambda p: float(p.grad.abs().sum()))
    assert parameter.grad.abs().sum() > 0, "a constant gradient would train nothing"
    direction = torch.randn(parameter.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    predicted, step, values = float((parameter.grad * direction).sum()), 1e-6, []
    for sign in (1, -1):
        with torch.no_grad():
            parameter.add_(sign * step * direction)
        values.append(plain_loss(name, forward, batch, 1.0, 0.0, create_graph=False).item())
        with torch.no_grad():
            parameter.sub_(sign * step * direction)
    assert predicted == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-3)


@both
def test_a_batch_is_the_mean_of_its_photos(name):
    network, (images, masks, labels) = tiny_network().double(), batch_of()
    whole = guided_loss(network, images, masks, labels, guidance=name)
    single = [guided_loss(network, *(x[i : i + 1] for x in (images, masks, labels)), guidance=name) for i in range(3)]
    assert whole.loss.item() == pytest.approx(sum(one.loss.item() for one in single) / 3, rel=1e-10)
    assert torch.allclose(whole.maps, torch.cat([one.maps for one in single]), atol=1e-10)
    assert whole.maps.shape == (3, 1, SIZE, SIZE)
    assert whole.maps.amin() >= 0
    assert whole.maps.amax() <= 1


@both
def test_gradients_are_those_of_pixels_whatever_the_model_subtracts_and_divides_by(name):
    """A model fed with normalised pixels has a loss of std^2 times that of the pixels."""
    network, (images, masks, labels) = tiny_network().double(), batch_of()
    classifier = Classifier(network, preprocessing=Preprocessing(std=(0.25, 0.25, 0.25))).double()
    options = {"guidance": name, "relevance_weight": 1.0, "classification_weight": 0.0}
    ours = guided_loss(classifier, images, masks, labels, **options).loss.item()
    bare = guided_loss(network, (images - 0.5) / 0.25, masks, labels, **options).loss.item()
    assert ours == pytest.approx(bare / 0.25**2, rel=1e-10)


@both
def test_weights_are_what_the_options_say(name):
    network, batch = tiny_network().double(), batch_of()
    parts = {term: value.item() for term, value in guided_loss(network, *batch, guidance=name).parts.items()}
    assert parts["classification"] == pytest.approx(plain_cross_entropy(network(batch[0]), batch[2], 1.0), abs=1e-10)
    usual = 1000 if name == "gradmask" else 0.04 / 3**2
    for options, weights in (
        ({}, (usual, 1)),
        ({"relevance_weight": 3.0, "classification_weight": 0.5}, (3, 0.5)),
        ({"relevance_weight": 2.0, "classification_weight": 0.0}, (2, 0)),
    ):
        loss = guided_loss(network, *batch, guidance=name, **options).loss.item()
        assert loss == pytest.approx(weights[0] * parts["relevance"] + weights[1] * parts["classification"], rel=1e-10)
    alone = guided_loss(network, *batch, guidance=name, relevance_weight=0.0)
    assert alone.maps is None
    assert torch.equal(alone.loss, guided_loss(network, *batch, guidance="cross-entropy").loss)
    warm = guided_loss(network, *batch, guidance=name, relevance_weight=0.0, temperature=0.5).loss.item()
    assert warm == pytest.approx(plain_cross_entropy(network(batch[0]), batch[2], 0.5), abs=1e-10)


@every_rival
@pytest.mark.parametrize("training", [True, False])
def test_model_and_images_are_left_as_they_were_also_after_an_error(name, training):
    network = tiny_network(patch_drop_rate=0.3).train(training)
    network.blocks[1].eval()
    network.set_grad_checkpointing(True)
    network.pos_embed.requires_grad_(False)
    before, batch = state_of(network), batch_of(dtype=torch.float32)
    guided_loss(network, *batch, guidance=name).loss.backward()
    assert state_of(network) == before
    with torch.no_grad():
        assert not guided_loss(network, *batch, guidance=name).loss.requires_grad
    with torch.inference_mode():
        guided_loss(network, *(x.clone() for x in batch), guidance=name)
    assert state_of(network) == before
    handle = network.blocks[1].register_forward_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("inside")))
    with pytest.raises(RuntimeError, match="inside"):
        guided_loss(network, *batch, guidance=name)
    handle.remove()
    assert state_of(network) == before
    assert not batch[0].requires_grad


@every_rival
def test_labels_are_needed_and_said_to_be(name):
    images, masks, _ = batch_of()
    with pytest.raises(UserError, match=f"labels for --guidance {name}") as caught:
        guided_loss(tiny_network().double(), images, masks, guidance=name)
    assert "\n" not in str(caught.value)
    assert GUIDANCE[name]().needs_labels


@every_rival
def test_half_precision_stays_near(name):
    network, batch = tiny_network(), batch_of(dtype=torch.float32)
    losses, gradients = [], []
    for enabled in (False, True):
        network.zero_grad()
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            guided = guided_loss(network, *batch, guidance=name)
        guided.loss.backward()
        assert guided.loss.dtype == torch.float32
        losses.append(guided.loss.item())
        gradients.append(network.head.weight.grad.flatten().clone())
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
    assert torch.cosine_similarity(*gradients, dim=0) > 0.9


@both
def test_training_with_it_moves_gradients_off_the_background(name):
    network, batch = tiny_network(), batch_of(dtype=torch.float32)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    found = []
    for _ in range(6):
        guided = guided_loss(network, *batch, guidance=name, classification_weight=0.0, relevance_weight=1.0)
        optimizer.zero_grad()
        guided.loss.backward()
        optimizer.step()
        found.append(guided.parts["relevance"].item())
    assert found[-1] < 0.8 * found[0]


# Cross-entropy, swapped backgrounds, last layer


def test_cross_entropy_is_just_that():
    network, (images, masks, labels) = tiny_network().double(), batch_of()
    guided = CrossEntropy(temperature=0.7)(network, images, masks, labels)
    assert guided.loss.item() == pytest.approx(plain_cross_entropy(network(images), labels, 0.7), abs=1e-12)
    assert guided.maps is None
    assert torch.equal(guided.logits, network(images))


def test_objects_stand_on_the_tiled_background_of_another_photo():
    images, masks, _ = batch_of(4)
    torch.manual_seed(3)
    swapped = on_other_backgrounds(images, masks)
    seen = []
    for index in range(4):
        candidates = {
            donor: paste(images[index], masks[index], tiled_background(images[donor], masks[donor]))
            for donor in range(4)
        }
        match = [donor for donor, made in candidates.items() if torch.equal(made, swapped[index])]
        assert len(match) == 1
        assert match[0] != index
        seen += match
    torch.manual_seed(3)
    assert torch.equal(on_other_backgrounds(images, masks[:, 0]), swapped), "the generator's state fixes the draw"
    torch.manual_seed(4)
    assert not torch.equal(on_other_backgrounds(images, masks), swapped)


def test_every_other_photo_lends_its_background_equally_often():
    images = torch.stack([torch.full((3, 8, 8), value / 10) for value in range(4)])
    masks = torch.zeros(4, 1, 8, 8)
    masks[:, :, 2:4, 2:4] = 1
    torch.manual_seed(0)
    corners = [10 * float(on_other_backgrounds(images, masks)[0, 0, 0, 0]) for _ in range(600)]
    counts = [sum(round(value) == donor for value in corners) for donor in range(4)]
    assert counts[0] == 0
    assert all(abs(count - 200) < 50 for count in counts[1:])


def test_photos_without_object_or_donor_stay_as_they_are():
    images, masks, _ = batch_of()
    empty = masks.clone()
    empty[1] = 0.4  # no pixel above one half: nothing to cut out, and its object would be lent with its background
    swapped = on_other_backgrounds(images, empty)
    assert torch.equal(swapped[1], images[1])
    lent = [tiled_background(images[i], empty[i]) for i in (0, 2)]
    assert torch.equal(swapped[0], paste(images[0], empty[0], lent[1]))
    assert torch.equal(swapped[2], paste(images[2], empty[2], lent[0]))
    assert torch.equal(on_other_backgrounds(images[:1], masks[:1]), images[:1])
    assert torch.equal(on_other_backgrounds(images, torch.ones_like(masks)), images), "no background to lend"


def test_share_of_swapped_photos():
    images, masks, _ = batch_of()
    torch.manual_seed(0)
    counts = [
        int((on_other_backgrounds(images, masks, 0.25) != images).flatten(1).any(dim=1).sum()) for _ in range(300)
    ]
    assert 0.18 < sum(counts) / 900 < 0.32


def test_swap_augmentation_is_cross_entropy_on_swapped_photos_and_validates_on_the_photos():
    network, (images, masks, labels) = tiny_network().double(), batch_of()
    guidance = SwapAugmentation()
    torch.manual_seed(5)
    guided = guidance(network, images, masks, labels)
    torch.manual_seed(5)
    swapped = on_other_backgrounds(images, masks)
    assert guided.loss.item() == pytest.approx(plain_cross_entropy(network(swapped), labels, 1.0), abs=1e-10)
    with torch.no_grad():
        assert torch.equal(guidance(network, images, masks, labels).logits, network(images))
    for share in (0.0, 1.5, float("nan")):
        with pytest.raises(UserError, match="--swap-share"):
            SwapAugmentation(swap_share=share)


@every_network
def test_last_layer_trains_the_head_alone_on_features_that_stay(kind):
    network, (images, masks, labels) = network_of(kind).train(), batch_of(3)
    buffers = copy.deepcopy(dict(network.named_buffers()))
    inputs = {}
    hooks = [
        layer.register_forward_hook(lambda one, given, _: inputs.update({one: given[0].detach()}))
        for layer in head_layers(network)
    ]
    guided = LastLayer(balance="class")(network, images, masks, labels)
    for hook in hooks:
        hook.remove()
    guided.loss.backward()
    probabilities = guided.logits.softmax(dim=1)
    errors = (probabilities - F.one_hot(labels, 3)) / 3 / len(inputs)  # logistic regression, logits averaged over heads
    for layer, features in inputs.items():
        assert torch.allclose(layer.weight.grad, errors.mT @ features.flatten(1), atol=1e-10)
    heads = {parameter for layer in inputs for parameter in layer.parameters()}
    assert all(p.grad is None for p in network.parameters() if p not in heads)
    assert network.training
    assert all(torch.equal(buffers[name], value) for name, value in network.named_buffers()), "fixed statistics"
    assert torch.allclose(guided.logits, logits_of(network.eval()(images)), atol=1e-8)


def test_last_layer_balances_backgrounds_while_it_trains():
    network, (images, masks, labels) = tiny_network().double(), batch_of()
    torch.manual_seed(5)
    guided = LastLayer()(network, images, masks, labels)
    torch.manual_seed(5)
    assert torch.allclose(guided.logits, network(on_other_backgrounds(images, masks)), atol=1e-12)
    with torch.no_grad():
        assert torch.allclose(LastLayer()(network, images, masks, labels).logits, network(images))
    with pytest.raises(UserError, match="class, background"):
        LastLayer(balance="photos")


@every_network
def test_train_head_changes_nothing_else(kind):
    network = network_of(kind)
    names = {name for name, _ in network.named_parameters()}
    with trainable(network, "head") as parameters:
        trained = {name for name, p in network.named_parameters() if p.requires_grad}
        assert {id(p) for p in parameters} == {id(p) for n, p in network.named_parameters() if n in trained}
    assert len(trained) == (4 if "distilled" in kind else 2), trained
    assert {name for name, p in network.named_parameters() if p.requires_grad} == names


def test_models_without_a_linear_head_are_told_the_way_out():
    from helpers.open_clip import from_open_clip

    odd = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.Conv1d(1, 1, 1))
    odd.num_classes = 7
    for network in (from_open_clip(), odd, tiny_network(num_classes=0)):
        with pytest.raises(UserError, match="use --train all"), trainable(network, "head"):
            pass


# Names and options


def test_options_that_a_method_lacks_are_refused_only_where_they_were_set():
    unset = dict.fromkeys(guidance_options())
    assert choose_options("gradmask", unset | {"second_order": False}, {"background": 1.2, "temperature": 0.6}) == {
        "temperature": 0.6
    }
    assert choose_options("robustvit", unset | {"background": 0.0}, {"background": 1.2, "foreground": 0.5}) == {
        "background": 0.0,
        "foreground": 0.5,
    }
    for name in GUIDANCE:
        for foreign in set(guidance_options()) - method_options(name):
            with pytest.raises(UserError, match=f"--{foreign.replace('_', '-')} with --guidance {name}"):
                choose_options(name, {foreign: True}, {})


def test_every_method_has_a_name_a_source_and_its_weights_checked():
    for name, kind in GUIDANCE.items():
        assert kind.title == name
        assert len(kind.source) > 20
        for weight in {"relevance_weight", "classification_weight", "temperature"} & method_options(name):
            with pytest.raises(UserError, match="expected"):
                kind(**{weight: -1.0})
    for kind in RIVALS.values():
        with pytest.raises(UserError, match="nothing would be trained"):
            kind(relevance_weight=0.0, classification_weight=0.0)
