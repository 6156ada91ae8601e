"""Every family in the documents' table: the same map as a slow reference, and a model that is left as it was."""

from __future__ import annotations

import math
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.families import FAMILIES, PATCH, SIZES, TIMM, OwnTransformer
from robustvit import Layout, UserError, guided_loss, register_family, relevance
from robustvit.explanation.attention.interception import ready_for_interception
from robustvit.explanation.attention.recorded import explicit_attention, lean_forward, record_forward
from robustvit.explanation.maps import image_map
from robustvit.explanation.methods.gae import gae
from robustvit.models.classifier import logits_of
from robustvit.models.families import find_layout


@register_family(OwnTransformer)
def own_layout(model: OwnTransformer) -> Layout:
    return Layout(blocks=model.layers, patch_size=(PATCH, PATCH), prefix_tokens=3, readout="class")


def test_the_documents_name_every_family_that_is_tested():
    table = (Path(__file__).parents[2] / "docs" / "reference" / "models.md").read_text()
    named = [line.split("|")[2].strip() for line in table.splitlines() if line.startswith("|")][2:]
    tested = [name for name in FAMILIES if not name.endswith(", eager")]
    assert named == [name.removesuffix(", sdpa") for name in tested]


@cache
def made(name: str) -> tuple[nn.Module, Tensor]:
    """A model of a family and images for it; built once, so copy before use."""
    torch.manual_seed(0)
    model = FAMILIES[name]().double().eval()
    with torch.no_grad():
        for parameter in model.parameters():  # layer scales of 1e-5 and zero heads would hide every mistake
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model, torch.rand(2, 3, *SIZES.get(name, (32, 32)), dtype=torch.double)


@pytest.fixture(params=FAMILIES)
def family(request):
    copy = deepcopy(made(request.param))
    torch.manual_seed(1)
    return copy


def explicit(monkeypatch, model, images):
    """Logits and maps with plain attention put in the place of PyTorch's function."""
    maps = []

    def attend(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1]) if scale is None else query @ key.mT * scale
        if attn_mask is not None:
            scores = scores + attn_mask
        weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
        maps.append(weights)
        return weights @ value

    with monkeypatch.context() as patch, ready_for_interception(model):
        patch.setattr(F, "scaled_dot_product_attention", attend)
        return logits_of(model(images)), maps


def slow_relevance(model, logits, maps, target, layout) -> Tensor:
    """Equations 6 and 7 as they stand: one gradient call per block, matrices from the first block to the last."""
    explained = logits[torch.arange(len(target)), target].sum()
    blocks = []
    for attention in maps:
        (gradient,) = torch.autograd.grad(explained, attention, retain_graph=True)
        blocks.append((gradient * attention).clamp(min=0).mean(dim=1))
    pool = blocks.pop() if layout.readout == "pool" else None
    tokens = blocks[0].shape[-1]
    product = torch.eye(tokens, dtype=logits.dtype).expand(len(target), tokens, tokens)
    for block in blocks:
        product = product + block @ product
    prefix = layout.prefix_tokens
    rows = {
        "class": lambda: product[:, 0],
        "distilled": lambda: (product[:, 0] + product[:, 1]) / 2,
        "patches": lambda: product[:, prefix:].mean(dim=1),
        "tokens": lambda: product.mean(dim=1),
        "class+patches": lambda: (product[:, 0] + product[:, prefix:].mean(dim=1)) / 2,
        "pool": lambda: (pool @ product[:, tokens - pool.shape[-1] :])[:, 0],
    }
    return rows[layout.readout]()[:, prefix:]


def slow_start(layout, patches: int) -> float:
    """What the readout's row starts with, the same for every patch."""
    shares = {"patches": 1 / patches, "tokens": 1 / (layout.prefix_tokens + patches), "class+patches": 1 / 2 / patches}
    return shares.get(layout.readout, 0.0)


def weights_gradient(model, value) -> dict[str, Tensor]:
    named = dict(model.named_parameters())
    found = torch.autograd.grad(value, list(named.values()), allow_unused=True)
    return {name: g for name, g in zip(named, found, strict=True) if g is not None}


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    largest = max(g.abs().max() for g in expected.values())
    for name, gradient in expected.items():
        mine = found.get(name, torch.zeros_like(gradient))
        assert (mine - gradient).abs().max() <= tolerance * largest, name
    assert all(found[name].abs().max() <= tolerance * largest for name in found.keys() - expected.keys())


def snapshot(model) -> list:
    """Everything about a model that recording might change."""
    state = []
    for name, module in model.named_modules():
        flags = {k: v for k, v in vars(module).items() if isinstance(v, (bool, int, float, str))}
        hooks = [len(hooks) for key, hooks in vars(module).items() if key.endswith("hooks")]
        config = getattr(module, "config", None)
        state.append((name, flags, hooks, getattr(config, "_attn_implementation", None)))
    return state + [(name, p.requires_grad) for name, p in model.named_parameters()]


@pytest.mark.parametrize("second_order", [False, True])
def test_map_and_gradients_equal_a_slow_reference(family, monkeypatch, second_order):
    model, images = family
    target = torch.tensor([0, 2])
    layout = find_layout(model)
    logits, maps = explicit(monkeypatch, model, images)
    published = slow_relevance(model, logits, maps, target, layout)
    start = slow_start(layout, published.shape[1])
    expected = published - start
    trace = gae(model, images, second_order)
    found = trace.explain(target, True)
    assert torch.allclose(trace.logits, logits, atol=1e-12)
    assert found.shape == (2, *layout.grid(images))
    assert torch.allclose(found.flatten(1), expected, atol=1e-12 * float(expected.max()))
    size = images.shape[-2:]
    assert torch.allclose(image_map(found, size), image_map(published.view_as(found), size), atol=1e-12)
    loss = (found / expected.detach().max()).square().sum() + trace.logits.logsumexp(dim=1).sum()

    explained = logits[torch.arange(2), target].sum()
    gradients = torch.autograd.grad(explained, maps, create_graph=True)
    blocks = [(g if second_order else g.detach()) * a for g, a in zip(gradients, maps, strict=True)]
    reference = slow_row([b.clamp(min=0).mean(dim=1) for b in blocks], layout) - start
    slow_loss = (reference / expected.detach().max()).square().sum() + logits.logsumexp(dim=1).sum()
    assert_close(weights_gradient(model, loss), weights_gradient(model, slow_loss), 1e-9)


def slow_row(blocks, layout) -> Tensor:
    """The readout's row of the product, for maps that stay differentiable."""
    prefix = layout.prefix_tokens
    pool = blocks.pop() if layout.readout == "pool" else None
    tokens = blocks[0].shape[-1]
    product = torch.eye(tokens, dtype=torch.double)
    for block in blocks:
        product = product + block @ product
    if pool is not None:
        return (pool @ product[:, tokens - pool.shape[-1] :])[:, 0, prefix:]
    weights = layout.start(tokens, product)
    return torch.einsum("n,bnm->bm", weights, product)[:, prefix:]


class Fainter(nn.Module):
    """A model whose head's weights and biases are all multiplied by a number."""

    def __init__(self, model: nn.Module, scale: float) -> None:
        super().__init__()
        self.model, self.scale = model, scale

    def forward(self, images: Tensor) -> Tensor:
        return self.scale * logits_of(self.model(images))


def guided_gradient(model, images, masks, second_order: bool) -> tuple[Tensor, Tensor]:
    """Maps and the relevance loss's gradient in all weights, as one vector."""
    guided = guided_loss(
        model, images, masks, torch.tensor([0, 2]), classification_weight=0.0, second_order=second_order
    )
    found = torch.autograd.grad(guided.loss, list(model.parameters()), allow_unused=True, materialize_grads=True)
    return guided.maps, torch.cat([g.flatten() for g in found]).double()


@pytest.mark.parametrize("second_order", [False, True])
def test_maps_and_gradients_do_not_depend_on_the_size_of_the_logits(family, second_order):
    """In float32, where contributions of 1e-9 would be lost beside the 1 / N of a readout that averages patches."""
    model, images = family
    masks = (torch.rand(len(images), 1, *images.shape[-2:], dtype=torch.double) > 0.5).double()
    exact, expected = guided_gradient(Fainter(model, 1e-6), images, masks, second_order)
    for scale in (1e-3, 1e-6):
        maps, gradient = guided_gradient(Fainter(model.float(), scale), images.float(), masks.float(), second_order)
        assert maps.amax(dim=(1, 2, 3)).eq(1).all()
        assert torch.allclose(maps.double(), exact, atol=1e-4 if scale < 1e-3 else 1e-3)
        assert gradient.isfinite().all()
        assert (gradient - expected).norm() <= 0.01 * expected.norm() > 0


def test_recording_changes_neither_logits_nor_model(family):
    model, images = family
    for mode in (True, False):
        model.train(mode)
        before = snapshot(model)
        assert torch.isfinite(relevance(model, images)).all()
        assert snapshot(model) == before
    plain = logits_of(model(images))
    assert torch.allclose(record_forward(model, images).logits, plain, atol=1e-12)
    assert torch.allclose(lean_forward(model, images).logits, plain, atol=1e-12)


def test_an_exception_inside_leaves_the_model_as_it_was(family):
    model, images = family

    def fail(*_) -> None:
        raise RuntimeError("stop here")

    last = find_layout(model).blocks[-1]
    handle = last.register_forward_hook(fail)
    before = snapshot(model)
    for second_order in (False, True):
        with pytest.raises(RuntimeError, match="stop here"):
            relevance(model, images, second_order=second_order)
        assert snapshot(model) == before
    handle.remove()
    assert torch.isfinite(relevance(model, images)).all()


def test_a_frozen_model_has_the_same_map(family):
    model, images = family
    expected = relevance(model, images, upsample=False)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    assert torch.allclose(relevance(model, images, upsample=False), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("swin_tiny_patch4_window7_224", "inside windows"),
        ("maxvit_tiny_rw_224", "inside windows"),
        ("hiera_tiny_224", "inside windows"),
        ("resnet18", "no attention"),
        ("convnext_atto", "no attention"),
        ("vit_base_patch16_xp_224", "parallel"),
        ("xcit_nano_12_p16_224", "not known"),
    ],
)
def test_other_models_are_refused_with_the_reason_and_a_way_out(name, reason):
    if not timm.is_model(name):
        pytest.skip(f"timm has no {name}")
    with torch.device("meta"):
        network = timm.create_model(name, num_classes=3)
    with pytest.raises(UserError, match=rf"{type(network).__name__} .*{reason}.*grad_cam or input_gradient"):
        relevance(network, torch.rand(1, 3, 224, 224))


def test_differential_attention_and_odd_pooling_are_refused():
    from timm.layers import DiffAttention

    for options, word in (({"attn_layer": DiffAttention}, "difference of two maps"), ({"global_pool": "max"}, "'max'")):
        network = timm.create_model("vit_tiny_patch16_224", num_classes=3, embed_dim=64, num_heads=2, **options)
        with pytest.raises(UserError, match=word):
            find_layout(network)


def test_a_layout_that_is_not_true_is_found_out(network):
    class Wrong(type(network)):
        pass

    @register_family(Wrong)
    def _wrong(model):
        return Layout(model.blocks, (16, 16))

    network.__class__ = Wrong
    with pytest.raises(UserError, match=r"3 attention calls over 10 tokens .* got 3 of 37 x 37"):
        relevance(network, torch.rand(1, 3, 48, 48))
    with pytest.raises(UserError, match="readout"):
        Layout(network.blocks, (16, 16), readout="mean")


def test_dropout_is_off_while_recording():
    torch.manual_seed(0)
    model = TIMM["ViT, dropouts"]().eval()
    images = torch.rand(2, 3, 32, 32)
    expected = relevance(model, images)
    assert torch.allclose(relevance(model.train(), images), expected, atol=1e-5)
    assert torch.allclose(relevance(model, images, second_order=True), expected, atol=1e-5)
    assert model.training
    assert model.patch_drop.training


def test_multi_head_attention_is_replayed_as_it_is_or_refused():
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(16, 2, batch_first=True).double()
    tokens = torch.randn(3, 5, 16, dtype=torch.double)
    hidden = torch.rand(6, 5, 5) > 0.8
    for mask in (None, hidden[0], hidden, 5 * torch.randn(5, 5, dtype=torch.double)):
        expected, weights = layer(tokens, tokens, tokens, attn_mask=mask, need_weights=True)
        with explicit_attention(layer) as maps:
            found, none = layer(tokens, tokens, tokens, attn_mask=mask)
        assert none is None
        assert torch.allclose(found, expected, atol=1e-12)
        assert torch.allclose(maps[0].mean(dim=1), weights, atol=1e-12)
    with explicit_attention(layer) as maps:
        assert torch.allclose(layer(tokens[:, :1], tokens, tokens)[0], layer(tokens[:, :1], tokens, tokens)[0])
    assert not maps, "a pooling head is left alone"
    padded = torch.zeros(3, 5, dtype=torch.bool)
    with pytest.raises(UserError, match="plain self-attention"), explicit_attention(layer):
        layer(tokens, tokens, tokens, key_padding_mask=padded)
    with pytest.raises(UserError, match="causal"), explicit_attention(layer):
        F.scaled_dot_product_attention(tokens[None], tokens[None], tokens[None], is_causal=True)


def test_grouped_queries_share_keys_and_values():
    torch.manual_seed(0)
    query, key = torch.randn(2, 4, 5, 8, dtype=torch.double), torch.randn(2, 2, 5, 8, dtype=torch.double)
    expected = F.scaled_dot_product_attention(query, key, key, enable_gqa=True)
    with explicit_attention(nn.Identity()):
        assert torch.allclose(F.scaled_dot_product_attention(query, key, key, enable_gqa=True), expected, atol=1e-12)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_compiled_model_is_explained_as_it_was_before(network, in_place):
    images = torch.rand(2, 3, 48, 48)
    expected = relevance(network, images)
    compiled = network
    if in_place:
        network.compile(backend="eager")
    else:
        compiled = torch.compile(network, backend="eager")
    assert torch.equal(relevance(compiled, images), expected)
