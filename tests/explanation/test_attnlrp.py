"""AttnLRP against relevance passed backwards layer by layer with quotients, in float64, as the paper's rules say."""

from __future__ import annotations

import gc
import weakref
from functools import partial

import pytest
import timm
import torch

from helpers.small_models import SIZE, tiny_network
from robustvit import UserError, load_model, relevance
from robustvit.explanation.attention.interception import Interception
from robustvit.explanation.methods import check_method, get_method
from robustvit.explanation.methods.attnlrp import attnlrp, signed_relevance
from robustvit.explanation.methods.lrp_rules import LrpState, Rules

TINY = {"img_size": 16, "patch_size": 8, "embed_dim": 12, "depth": 2, "num_heads": 2}


def random_network(**options):
    """Weights large enough for attention and activations to be far from linear, biases included."""
    network = tiny_network(**TINY | options).double()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, dtype=torch.float64, generator=generator)
    return network


@pytest.fixture
def images():
    return torch.rand(2, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def plain_linear(layer, entered, left, relevance, gamma=0.0):
    """Each input's share of the output, bias left out; shares of the output's sign count 1 + gamma times.

    Epsilon rule, epsilon 0, with gamma 0.
    """
    entered, left, relevance = (x if x.ndim == 2 else x[None] for x in (entered, left, relevance))
    shares = entered[:, None, :] * layer.weight  # (tokens, outputs, inputs)
    favoured = torch.where((shares > 0) == (left > 0)[..., None], shares, 0.0)
    bias = torch.zeros_like(left) if layer.bias is None else layer.bias.expand_as(left)
    whole = left + gamma * (favoured.sum(dim=-1) + torch.where((bias > 0) == (left > 0), bias, 0.0))
    passed = ((shares + gamma * favoured) / whole[..., None] * relevance[..., None]).sum(dim=1)
    return passed


def lrp_norm(norm, entered, left, relevance):
    """The deviation divides like a constant; what remains is a linear layer: centring, then the weight."""
    deviation = (entered.var(dim=-1, unbiased=False, keepdim=True) + norm.eps).sqrt()
    passed = relevance / left * norm.weight / deviation
    return entered * (passed - passed.mean(dim=-1, keepdim=True))


def lrp_softmax(entered, left, relevance):
    return entered * (relevance - left * relevance.sum(dim=-1, keepdim=True))


class PlainBlock:
    """One block of one image, its intermediate values kept, and their relevance passed backwards."""

    def __init__(self, block, tokens):
        attention, self.block, self.tokens = block.attn, block, tokens
        self.normed = block.norm1(tokens)
        self.qkv = attention.qkv(self.normed)
        count, width = tokens.shape
        heads = attention.num_heads
        self.shape = (count, 3, heads, width // heads)
        self.query, self.key, self.value = self.qkv.reshape(self.shape).permute(1, 2, 0, 3)
        self.scale = (width // heads) ** -0.5
        self.scores = self.scale * self.query @ self.key.mT
        self.attention = self.scores.softmax(dim=-1)
        self.heads = self.attention @ self.value
        self.mixed = self.heads.permute(1, 0, 2).reshape(count, width)
        self.attended = attention.proj(self.mixed)
        self.middle = tokens + self.attended
        self.normed2 = block.norm2(self.middle)
        self.hidden = block.mlp.fc1(self.normed2)
        self.active = block.mlp.act(self.hidden)
        self.processed = block.mlp.fc2(self.active)
        self.output = self.middle + self.processed

    def relevance(self, relevance, gamma=0.0):
        """Relevance of the entering tokens, and what the softmax took up."""
        block, lrp_linear = self.block, partial(plain_linear, gamma=gamma)
        processed = relevance * self.processed / self.output
        active = lrp_linear(block.mlp.fc2, self.active, self.processed, processed)
        hidden = active  # the identity rule
        normed2 = lrp_linear(block.mlp.fc1, self.normed2, self.hidden, hidden)
        middle = relevance * self.middle / self.output
        middle = middle + lrp_norm(block.norm2, self.middle, self.normed2, normed2)
        attended = middle * self.attended / self.middle
        mixed = lrp_linear(block.attn.proj, self.mixed, self.attended, attended)
        shares = mixed.reshape(len(mixed), *self.heads.shape[::2]).permute(1, 0, 2) / self.heads
        value = self.value * (self.attention.mT @ shares) / 2
        attention = self.attention * (shares @ self.value.mT) / 2
        scores = lrp_softmax(self.scores, self.attention, attention)
        query = self.scale * self.query * ((scores / self.scores) @ self.key) / 2
        key = self.scale * self.key * ((scores / self.scores).mT @ self.query) / 2
        qkv = torch.stack([query, key, value]).permute(2, 0, 1, 3).reshape(self.qkv.shape)
        normed = lrp_linear(block.attn.qkv, self.normed, self.qkv, qkv)
        tokens = middle * self.tokens / self.middle + lrp_norm(block.norm1, self.tokens, self.normed, normed)
        return tokens, float((attention.sum() - scores.sum()).detach())


def plain_relevance(network, images, targets, gamma=0.0):
    """``(B, N)`` signed relevance of the tokens that enter the first block, logits, and what softmaxes took up."""
    found, answers, taken = [], [], []
    for image, target in zip(images, targets, strict=True):
        tokens = network._pos_embed(network.patch_embed(image[None]))[0]
        blocks = []
        for block in network.blocks:
            blocks.append(PlainBlock(block, tokens))
            tokens = blocks[-1].output
        normed = network.norm(tokens)
        logits = network.head(normed[0])
        head = torch.zeros_like(logits)
        head[target] = logits[target]
        passed = torch.zeros_like(normed)
        passed[0] = plain_linear(network.head, normed[0], logits, head, gamma)[0]
        passed = lrp_norm(network.norm, tokens, normed, passed)
        lost = 0.0
        for block in reversed(blocks):
            passed, more = block.relevance(passed, gamma)
            lost += more
        found.append(passed.detach().sum(dim=-1))
        answers.append(logits)
        taken.append(lost)
    return torch.stack(found), torch.stack(answers), torch.tensor(taken, dtype=torch.float64)


@pytest.mark.parametrize(("targets", "gamma"), [((0, 1), 0.0), ((2, 2), 0.0), ((0, 1), 0.1), ((2, 2), 3.0)], ids=str)
def test_equals_relevance_passed_back_layer_by_layer(images, targets, gamma):
    network = random_network()
    target = torch.tensor(targets)
    logits, signed = signed_relevance(network, images, gamma=gamma)
    expected, answers, _ = plain_relevance(network, images, target, gamma)
    ours = signed(target, False)
    assert torch.allclose(logits, answers, atol=1e-12)
    assert torch.allclose(ours, expected, rtol=1e-8, atol=1e-10)
    assert gamma > 1 or (ours < 0).any(), "the test must see both signs"
    trace = get_method(f"attnlrp:{gamma}")(network, images)
    assert torch.allclose(trace.explain(target, False).flatten(1), expected[:, 1:].clamp(min=0), atol=1e-10)


def test_gamma_also_rules_the_projections_of_torchs_own_attention(images):
    """The same weights in nn.MultiheadAttention and in layers of their own give the same relevance."""
    torch.manual_seed(1)
    block = torch.nn.TransformerEncoderLayer(12, 2, 24, dropout=0.0, batch_first=True).double().self_attn
    rules, seen = Rules(LrpState(), 0.5), []
    mode = Interception(rules.attend)
    mode.linear = lambda *given: seen.append(1) or rules.linear(*given)
    tokens = torch.rand(1, 4, 12, dtype=torch.float64)
    with mode:
        ruled = block(tokens, tokens, tokens, need_weights=False)[0]
    assert len(seen) == 2
    assert torch.allclose(ruled, block(tokens, tokens, tokens, need_weights=False)[0], atol=1e-12)


@pytest.mark.parametrize("name", ["attnlrp:", "attnlrp:-1", "attnlrp:nan", "attnlrp:inf", "gae:0.1", "attnlrp:much"])
def test_a_gamma_that_is_none_is_refused(name):
    with pytest.raises(UserError, match="attnlrp"):
        get_method(name)


def test_a_loss_can_be_built_on_maps_with_gamma():
    from robustvit import guided_loss

    model = load_model(tiny_network())
    images, masks = torch.rand(2, 3, SIZE, SIZE), torch.zeros(2, 1, SIZE, SIZE)
    masks[..., :20, :20] = 1
    loss = guided_loss(model, images, masks, torch.tensor([0, 1]), relevance="attnlrp:0.1").loss
    loss.backward()
    assert torch.isfinite(loss)
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.network.blocks.parameters())


def without_biases(network):
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias") and not name.startswith("patch_embed"):
                parameter.zero_()
    return network


def test_relevance_is_conserved_but_for_what_the_softmax_takes_up(images):
    """Without biases every rule conserves relevance, except the softmax's, whose Taylor expansion has a constant term
    (section 3.3.1 of the paper)."""
    network = without_biases(random_network())
    target = torch.tensor([0, 2])
    logits, signed = signed_relevance(network, images)
    _, _, taken = plain_relevance(network, images, target)
    chosen = logits.gather(1, target[:, None])[:, 0]
    assert torch.allclose(signed(target, False).sum(dim=1), chosen - taken, rtol=1e-8)
    assert taken.abs().max() > 1e-3
    with torch.no_grad():
        for block in network.blocks:
            block.attn.proj.weight.zero_()
    for block in (0, 1):
        logits, signed = signed_relevance(network, images, block)
        assert torch.allclose(signed(target, False).sum(dim=1), logits.gather(1, target[:, None])[:, 0], rtol=1e-8)


@pytest.mark.parametrize(
    "name", ["blocks.0.attn.qkv.weight", "blocks.1.norm1.weight", "blocks.0.mlp.fc1.bias", "head.weight", "cls_token"]
)
@pytest.mark.parametrize("gamma", [0.0, 0.3])
def test_derivative_in_the_weights_is_that_of_the_slow_implementation(images, name, gamma):
    network = random_network()
    target = torch.tensor([1, 0])
    weights = torch.randn(2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    parameter = dict(network.named_parameters())[name]
    ours = (attnlrp(network, images, gamma=gamma).explain(target, True).flatten(1) * weights).sum()
    (gradient,) = torch.autograd.grad(ours, parameter)
    direction = torch.randn(parameter.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    step, values = 1e-6, []
    with torch.no_grad():
        for sign in (1, -1):
            parameter += sign * step * direction
            values.append(
                float((plain_relevance(network, images, target, gamma)[0][:, 1:].clamp(min=0) * weights).sum())
            )
            parameter -= sign * step * direction
    measured = (values[0] - values[1]) / (2 * step)
    assert float((gradient * direction).sum()) == pytest.approx(measured, rel=1e-5)


def test_loss_of_the_logits_has_its_true_gradient_also_beside_the_relevance(images):
    network = random_network()
    target = torch.tensor([1, 0])
    expected = torch.autograd.grad(
        torch.nn.functional.cross_entropy(network(images), target), list(network.parameters())
    )
    trace = attnlrp(network, images)
    maps = trace.explain(target, True).sum()
    alone = torch.autograd.grad(maps, list(network.parameters()), retain_graph=True, allow_unused=True)
    loss = torch.nn.functional.cross_entropy(trace.logits, target)
    both = torch.autograd.grad(loss + maps, list(network.parameters()))
    for one, plain, other in zip(both, expected, alone, strict=True):
        other = torch.zeros_like(one) if other is None else other
        assert torch.allclose(one - other, plain, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_tiny_patch16_224", {"qk_norm": True, "init_values": 0.1, "reg_tokens": 2}),
        ("deit_tiny_distilled_patch16_224", {}),
        ("beit_base_patch16_224", {"use_rel_pos_bias": True}),
        ("eva_large_patch14_196", {"patch_size": 8}),
        ("vit_small_patch16_dinov3", {}),
        ("vit_base_patch16_siglip_224", {}),
    ],
)
def test_other_families_keep_their_logits(name, options):
    network = timm.create_model(name, num_classes=3, **TINY | {"embed_dim": 24, "patch_size": 8} | options).eval()
    images = torch.rand(2, 3, 16, 16)
    logits, signed = signed_relevance(network, images)
    assert torch.allclose(logits, network(images), atol=1e-5)
    assert torch.isfinite(signed(torch.tensor([0, 1]), True)).all()


@pytest.mark.parametrize(
    ("name", "options", "word"),
    [
        ("eva02_tiny_patch14_224", {}, "gated"),
        ("vit_tiny_patch16_224", {"mlp_layer": timm.layers.SwiGLUPacked}, "gated"),
        ("vit_tiny_patch16_224", {"norm_layer": timm.layers.RmsNorm}, "rms_norm"),
        ("vit_base_patch16_clip_quickgelu_224", {}, "sigmoid"),
        ("resnet18", None, "no attention"),
    ],
)
def test_what_no_rule_covers_is_refused_by_name_before_anything_starts(name, options, word):
    settings = {} if options is None else TINY | {"embed_dim": 24, "patch_size": 8} | options
    model = load_model(timm.create_model(name, num_classes=3, **settings))
    with pytest.raises(UserError, match=word):
        check_method("attnlrp", model)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_memory_is_freed_without_the_collector():
    network = tiny_network()
    gc.collect()
    gc.disable()
    try:
        images = torch.rand(1, 3, SIZE, SIZE)
        trace = attnlrp(network, images)
        maps = trace.explain(torch.tensor([0]), True)
        watched = [weakref.ref(trace.logits), weakref.ref(maps), weakref.ref(images)]
        maps.sum().backward()
        del trace, maps, images
        assert [ref() for ref in watched] == [None] * 3
        assert not [one for one in gc.get_objects() if type(one).__name__ == "_ValveBackward"]
    finally:
        gc.enable()


def test_maps_of_bare_model_and_classifier_agree():
    network = tiny_network()
    classifier = load_model(network)
    images = torch.rand(2, 3, SIZE, SIZE)
    normalised = (images - classifier.mean) / classifier.std
    maps = relevance(classifier, images, method="attnlrp")
    assert torch.allclose(maps, relevance(network, normalised, method="attnlrp"), atol=1e-6)
