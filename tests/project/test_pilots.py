"""The pilots: each method changes what it says, and the table's interval covers photos and runs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from benchmarks.recipes import pilot_methods as methods
from benchmarks.recipes.pilot_table import COLUMNS, ORDERS, PLAIN, SAME, TESTS, Pilots, as_markdown
from benchmarks.recipes.pilots import mean_of
from helpers.small_models import SIZE, tiny_network
from robustvit import Classifier, guided_loss
from robustvit.data.swaps import paste
from robustvit.guidance.background_swaps import SwapRelevance, on_other_backgrounds
from robustvit.guidance.registry import GUIDANCE
from robustvit.models.save import save_model


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(4, 3, SIZE, SIZE, dtype=torch.float64, generator=generator)
    masks = torch.zeros(4, 1, SIZE, SIZE, dtype=torch.float64)
    for at in range(4):
        masks[at, :, 4 + at : 16 + at, 6:18] = 1
    return images, masks, torch.tensor([0, 1, 2, 1])


def loss_of(method, network, batch, seed=5):
    torch.manual_seed(seed)
    return guided_loss(network, *batch, guidance=method).loss


def gradient_of(loss, network):
    found = torch.autograd.grad(loss, list(network.parameters()), materialize_grads=True)
    return torch.cat([one.flatten() for one in found])


def stepped(network, rate=1e-3, steps=1):
    """Take steps along another random gradient each, and return the weights after each."""
    optimizer, after = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.0), []
    for step in range(steps):
        torch.manual_seed(step)
        for weight in network.parameters():
            weight.grad = torch.randn_like(weight)
        optimizer.step()
        after.append({name: weight.detach().clone() for name, weight in network.named_parameters()})
    return after


def test_kept_answers_add_the_cross_entropy_with_those_of_the_original(batch):
    network, images = tiny_network().double(), batch[0]
    methods.KeepAnswers.original = original = tiny_network().double()
    stepped(network)
    with torch.no_grad():
        chances, logs = original(images).softmax(dim=1), network(images).log_softmax(dim=1)
    kept = -sum(chances[i, c] * logs[i, c] for i in range(4) for c in range(3)) / 4
    expected = loss_of(SwapRelevance(), network, batch) + kept
    assert loss_of(methods.KeepAnswers(), network, batch).item() == pytest.approx(expected.item(), rel=1e-6)


def test_consistency_is_the_divergence_of_two_swaps_in_both_directions(batch):
    network = tiny_network().double()
    torch.manual_seed(5)
    logs = [network(on_other_backgrounds(*batch[:2])).log_softmax(dim=1).detach() for _ in range(2)]
    apart = sum(F.kl_div(logs[a], logs[b], log_target=True, reduction="batchmean") for a, b in ((0, 1), (1, 0)))
    expected = loss_of(SwapRelevance(), network, batch) + 2 * apart
    assert loss_of(methods.Consistent(), network, batch).item() == pytest.approx(expected.item(), rel=1e-5)


def test_with_equal_norms_the_relevance_moves_the_weights_as_far_as_the_answer(batch):
    network = tiny_network().double()
    alone = SwapRelevance(relevance_weight=0.0), SwapRelevance(classification_weight=0.0)
    answer, relevance = (gradient_of(loss_of(one, network, batch), network) for one in alone)
    found = gradient_of(loss_of(methods.EqualNorms(), network, batch), network)
    torch.testing.assert_close(found - answer, relevance * (answer.norm() / relevance.norm()), rtol=1e-6, atol=1e-9)


def test_sharpness_takes_the_gradient_uphill_and_moves_back_before_the_step(batch):
    network, twin = tiny_network().double(), tiny_network().double()
    start = [weight.detach().clone() for weight in network.parameters()]
    uphill = gradient_of(loss_of(SwapRelevance(), twin, batch), twin)
    with torch.no_grad():
        moved = torch.nn.utils.parameters_to_vector(twin.parameters()) + methods.SHARPNESS * uphill / uphill.norm()
        torch.nn.utils.vector_to_parameters(moved, twin.parameters())
    loss_of(SwapRelevance(), twin, batch).backward()
    with methods.returning():
        loss_of(methods.Sharpness(), network, batch).backward()
        for weight, other in zip(network.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(weight.grad, other.grad, rtol=1e-6, atol=1e-9)
        torch.optim.SGD(network.parameters(), lr=0.0).step()
    assert all(torch.equal(weight, before) for weight, before in zip(network.parameters(), start, strict=True))


def test_sharpness_moves_back_also_where_no_step_is_taken(batch):
    network = tiny_network().double()
    start = [weight.detach().clone() for weight in network.parameters()]
    loss_of(methods.Sharpness(), network, batch)
    with torch.no_grad():
        loss_of(methods.Sharpness(), network, batch)
    assert all(torch.equal(weight, before) for weight, before in zip(network.parameters(), start, strict=True))


def test_empty_donors_lend_their_whole_frame(batch):
    background = torch.full((3, SIZE, SIZE), 0.25, dtype=torch.float64)
    methods.EmptyDonors.backgrounds = [background]
    images, masks, labels = batch
    masks = torch.cat([masks[:3], torch.zeros_like(masks[3:])])
    pasted = torch.stack([*(paste(images[i], masks[i], background) for i in range(3)), images[3]])
    options = {"classification": "label", "relevance_weight": 8.0, "classification_weight": 1.0}
    network = tiny_network().double()
    expected = guided_loss(network, pasted, masks, labels, **options).loss
    found = loss_of(methods.EmptyDonors(), network, (images, masks, labels))
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)


def test_swapped_energy_counts_relevance_outside_the_mask(batch):
    network = tiny_network().double()
    torch.manual_seed(5)
    swapped = on_other_backgrounds(*batch[:2])
    expected = guided_loss(network, swapped, *batch[1:], guidance="energy").loss
    found = loss_of(methods.SwapEnergy(relevance_weight=1.0), network, batch)
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)


@pytest.mark.parametrize(
    "method", [methods.KeepAnswers, methods.Consistent, methods.EqualNorms, methods.Sharpness, methods.EmptyDonors]
)
def test_validation_is_that_of_the_recipe(batch, method):
    network = tiny_network().double()
    with torch.no_grad():
        assert torch.equal(loss_of(method(), network, batch), loss_of(SwapRelevance(), network, batch))


def test_a_method_is_known_only_while_its_pilot_runs():
    kinds = []

    def fail():
        with methods.registered(methods.Consistent):
            kinds.append(GUIDANCE["consistent"])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert kinds == [methods.Consistent]
    assert "consistent" not in GUIDANCE


def test_queries_and_keys_learn_faster_and_nothing_else():
    start = dict(tiny_network().named_parameters())
    plain = stepped(tiny_network())[-1]
    network = tiny_network()
    with methods.faster_attention(Classifier(tiny_network()), 10):
        # names of a Classifier begin with that of the network, in the same order
        faster = stepped(network)[-1]
    for name, before in start.items():
        own, other = faster[name] - before, plain[name] - before
        rows = 2 * len(before) // 3 if ".qkv." in name else 0
        torch.testing.assert_close(own[:rows], 10 * other[:rows], rtol=1e-4, atol=1e-7)
        assert torch.equal(own[rows:], other[rows:]), name
    assert torch.equal(stepped(tiny_network())[-1]["head.weight"], plain["head.weight"]), "hooks are gone"


def test_the_average_is_that_of_all_steps_with_falling_weights():
    network = tiny_network()
    with methods.averaging(0.5) as give:
        after = stepped(network, steps=3)
    give(Classifier(network))
    for name, weight in network.named_parameters():
        expected = 0.5 * (0.5 * after[0][name] + 0.5 * after[1][name]) + 0.5 * after[2][name]
        torch.testing.assert_close(weight, expected)


def test_a_soup_is_the_mean_of_weights(tmp_path):
    folders = []
    for seed in range(3):
        network = tiny_network()
        with torch.no_grad():
            network.head.weight.fill_(seed)
        folders.append(save_model(Classifier(network), tmp_path / str(seed)))
    assert torch.allclose(mean_of(folders).network.head.weight, torch.ones(()))


def cell(right, seconds=1.0):
    return {"answers": {share: dict.fromkeys(TESTS, right) for share in ("1", "0.6")}, "cpu_seconds": seconds}


def pairs(count):
    return {test: [(index, index) for index in range(count)] for test in TESTS}


def test_a_table_shows_changes_from_the_mean_of_the_runs_of_the_recipe():
    cells = {f"{name}-{seed}": cell("0011" * 50) for name in SAME for seed in (1, 2)}
    cells |= {f"{name}-{seed}": cell("0111" * 50, 2.0) for name in ("SAM", "base") for seed in (1, 2)}
    cells |= {"LoRA-1": cell("1111" * 50), "swaps-3": cell("1111" * 50)}
    record = {"date": "2026-01-01", "command": "c", "versions": {}, "cells": cells, "pairs": pairs(200)}
    text = as_markdown(record)
    assert "| base models, % | 75.0 | 75.0 | 75.0 |  |  |  |" in text
    assert "| the recipe, % | 50.0 |" in text
    assert text.count("**+25.0**") == 6
    assert "LoRA" not in text, "it did not run on all base models"
    assert "1 change on 2 base models" in text
    assert "Of the 6 numbers in the table, 6 exclude zero by themselves" in text
    assert "6 do so with all taken together" in text
    assert "SAM 2.0" in text


@pytest.mark.parametrize("change", [0.0, 0.05])
def test_the_interval_covers_photos_and_runs(change):
    """Two base models, 300 photos of different difficulty, and runs that differ by 2 points (standard deviation)."""
    rng = torch.Generator().manual_seed(0)
    covered, rounds, column = 0, 300, next(iter(COLUMNS))
    for _ in range(rounds):
        hard = 0.2 + 0.6 * torch.rand(300, generator=rng)
        cells = {}
        for seed in (1, 2):
            for name in (*SAME, "SAM"):
                drift = 0.02 * torch.randn((), generator=rng) + change * (name == "SAM")
                answers = torch.rand(300, generator=rng) < (hard + drift).clamp(0, 1)
                cells[f"{name}-{seed}"] = cell("".join(str(int(one)) for one in answers))
        pilots = Pilots(cells, pairs(300))
        found = pilots.change(pilots.of("SAM"), column)
        covered += found.low <= change <= found.high
    assert 0.93 <= covered / rounds <= 1.0
    assert (PLAIN, *ORDERS) == SAME
