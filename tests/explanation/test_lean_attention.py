"""Attention without stored maps: exact in every way of cutting it into tiles, and gone from memory afterwards."""

from __future__ import annotations

import gc

import pytest
import torch
import torch.nn.functional as F

from helpers.small_models import SIZE, tiny_network
from robustvit import UserError, guided_loss, relevance
from robustvit.explanation.attention import lean, tiles
from robustvit.explanation.attention.lean import LeanCall, explaining
from robustvit.explanation.attention.passes import Explained, backward
from robustvit.explanation.attention.recorded import lean_forward
from robustvit.explanation.methods.gae import gae

CUTS = {"whole": (2**30, 128), "an image": (1, 10**6), "rows": (1, 5), "two images": (2 * 8 * 2 * 7 * 9, 4)}


def call_of(bias: bool, dtype=torch.double):
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 7, 4), torch.randn(3, 2, 9, 4), torch.randn(3, 2, 9, 4)
    offset = torch.randn(1, 2, 7, 9) if bias else None
    tensors = [None if x is None else x.to(dtype).requires_grad_() for x in (query, key, value, offset)]
    return tensors, torch.randn(3, 2, 7, 4, dtype=dtype)


def openly(tensors, scale: float):
    query, key, value, bias = tensors
    scores = scale * query @ key.transpose(-2, -1)
    attention = (scores if bias is None else scores + bias).softmax(dim=-1)
    return attention @ value, attention


@pytest.fixture(params=CUTS)
def cut(request, monkeypatch):
    budget, rows = CUTS[request.param]
    monkeypatch.setattr(tiles, "_CPU_BYTES", budget)
    monkeypatch.setattr(tiles, "_ROWS", rows)
    return request.param


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kept", [0, 2**26])
@pytest.mark.parametrize("twice", [False, True])
def test_every_gradient_equals_autograd(cut, monkeypatch, bias, kept, twice):
    monkeypatch.setattr(tiles, "KEPT_BYTES", kept)
    tensors, direction = call_of(bias)
    given = [x for x in tensors if x is not None]
    weights = torch.randn(3, 7, 9, dtype=torch.double)

    output, attention = openly(tensors, 0.3)
    explained = (output.sin() * direction).sum()
    (gradient,) = torch.autograd.grad(explained, attention, create_graph=True)
    gradient = gradient if twice else gradient.detach()
    expected = (gradient * attention).clamp(min=0).mean(dim=1)
    expected_loss = (expected * weights).sum() + output.square().sum()
    expected_gradients = torch.autograd.grad(expected_loss, given)

    call = LeanCall(first=False)
    output = call(*tensors, 0.3)
    with explaining([call]):
        torch.autograd.grad((output.sin() * direction).sum(), call.anchor, retain_graph=True, create_graph=twice)
    found = call.take_relevance(differentiable=True)
    assert torch.allclose(found, expected, atol=1e-12)
    gradients = torch.autograd.grad((found * weights).sum() + output.square().sum(), given)
    for mine, theirs in zip(gradients, expected_gradients, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-10, atol=1e-10)


def test_tiles_are_what_their_budget_says(monkeypatch):
    tensors, _ = call_of(False)
    counts = {}
    for name, (budget, rows) in CUTS.items():
        monkeypatch.setattr(tiles, "_CPU_BYTES", budget)
        monkeypatch.setattr(tiles, "_ROWS", rows)
        call = tiles.Call(*tensors, 0.3)
        found = [(tile.images, tile.rows) for tile in call.tiles()]
        covered = torch.zeros(3, 7)
        for images, some_rows in found:
            covered[images, some_rows] += 1
        assert bool((covered == 1).all())
        counts[name] = len(found)
    assert counts == {"whole": 1, "an image": 3, "rows": 6, "two images": 2}


def test_two_explanations_of_one_forward_pass_add_up():
    network = tiny_network().double()
    images = torch.rand(2, 3, SIZE, SIZE, dtype=torch.double)
    targets = torch.tensor([0, 1]), torch.tensor([2, 2])

    def gradients(loss):
        return torch.autograd.grad(loss, [network.patch_embed.proj.weight, network.blocks[1].attn.qkv.weight])

    apart = []
    for target in targets:
        apart.append(gradients(gae(network, images).explain(target, True).square().sum()))
    trace = gae(network, images)
    both = gradients(sum(trace.explain(target, True).square().sum() for target in targets))
    for one, other, together in zip(*apart, both, strict=True):
        assert torch.allclose(one + other, together, atol=1e-14, rtol=1e-9)


def test_the_loss_may_be_differentiated_again_with_its_graph_kept():
    network = tiny_network().double()
    images, masks = torch.rand(2, 3, SIZE, SIZE, dtype=torch.double), torch.ones(2, 1, SIZE, SIZE)
    loss = guided_loss(network, images, masks).loss
    weights = [network.blocks[0].attn.qkv.weight]
    first = torch.autograd.grad(loss, weights, retain_graph=True)
    assert torch.equal(torch.autograd.grad(loss, weights)[0], first[0])
    loss = guided_loss(network, images, masks).loss
    with pytest.raises(UserError, match="create_graph"):
        torch.autograd.grad(loss, weights, create_graph=True)


def alive() -> list[str]:
    """What of a recorded pass is still in memory."""
    ours = (lean._State, Explained, LeanCall)
    return [type(x).__name__ for x in gc.get_objects() if type(x) in ours]


@pytest.mark.parametrize("second_order", [False, True])
@pytest.mark.parametrize("backward_too", [False, True])
def test_nothing_stays_in_memory(second_order, backward_too):
    network = tiny_network()
    images, masks = torch.rand(2, 3, SIZE, SIZE), torch.ones(2, 1, SIZE, SIZE)
    gc.collect()
    gc.disable()
    before = len(alive())  # what another test's caught exception may still hold
    try:
        guided = guided_loss(network, images, masks, second_order=second_order)
        assert len(alive()) > before
        if backward_too:
            guided.loss.backward()
        del guided
        assert len(alive()) == before, "only a garbage collection would free this graph"
        relevance(network, images, second_order=second_order)
        assert len(alive()) == before
    finally:
        gc.enable()


def test_a_large_call_keeps_no_map(monkeypatch):
    monkeypatch.setattr(tiles, "KEPT_BYTES", 0)
    network = tiny_network()
    images = torch.rand(2, 3, SIZE, SIZE)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(tuple(x.shape)) or x, lambda x: x):
        forward = lean_forward(network, images)
    assert torch.equal(forward.logits[:1] * 0, torch.zeros(1, 3))
    assert not [shape for shape in kept if shape[-2:] == (37, 37)]
    call = tiles.Call(*(torch.rand(2, 3, 37, 8) for _ in range(3)), None, 1.0)
    _, explained = backward(call, torch.rand(2, 3, 37, 8), explain=True, keep=True)
    assert explained.positive is None


def test_logits_are_bit_for_bit_those_of_fused_attention():
    network = tiny_network(global_pool="avg")
    images = torch.rand(2, 3, SIZE, SIZE)
    assert torch.equal(lean_forward(network, images).logits, network(images))


@pytest.mark.parametrize(
    ("dtype", "second_order", "least"),
    [(torch.bfloat16, False, 0.98), (torch.float16, False, 0.999), (torch.float16, True, 0.999)],
)
def test_half_precision_stays_close_to_float32(dtype, second_order, least):
    """Bounds as documented: cosine of maps and of gradients with those of float32."""
    network = tiny_network()
    images, masks = torch.rand(4, 3, SIZE, SIZE), torch.zeros(4, 1, SIZE, SIZE)
    masks[..., 12:36, 12:36] = 1

    def run(lower: bool):
        network.zero_grad()
        with torch.autocast("cpu", dtype=dtype, enabled=lower):
            guided = guided_loss(network, images, masks, second_order=second_order)
        guided.loss.backward()
        return guided, torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])

    (exact, exact_gradient), (lower, lower_gradient) = run(False), run(True)
    assert lower.maps.dtype == torch.float32
    assert F.cosine_similarity(lower.maps.flatten(1), exact.maps.flatten(1)).min() > least
    assert F.cosine_similarity(lower_gradient, exact_gradient, dim=0) > least
    assert abs(float(lower.loss / exact.loss) - 1) < 1 - least
