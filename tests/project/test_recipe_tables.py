"""Tables of the recipes: what a cell shows, and that its interval covers photos and seeds."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.recipes.curve import draw, points
from benchmarks.recipes.page import added_by_relevance, by_masks, by_number, by_size
from benchmarks.recipes.table import COLUMNS, as_markdown, change_over_both, groups, shown

TESTS = [test for tests in COLUMNS.values() for test in tests]


def cell(right: str) -> dict:
    return {"answers": dict.fromkeys(TESTS, right) | {"miou": [0.5, 0.5]}, "share": 1.0}


def record(cells: dict) -> dict:
    return {"date": "2026-01-01", "command": "c", "about": "a", "versions": {}, "cells": cells}


def test_a_table_shows_changes_against_base_and_swaps():
    cells = {"base-112-0": cell("0001" * 50), "base-112-1": cell("0001" * 50)}
    for seed in (0, 1):
        cells[f"swaps-drawn-10-112-{seed}"] = cell("0011" * 50)
        cells[f"mine-drawn-10-112-{seed}"] = cell("0111" * 50) | {
            "share": 0.5,
            "answers_at_share": cell("1111" * 50)["answers"],
        }
    text = as_markdown(record(cells))
    lines = {
        line.split("|")[1].strip(): line.split("|")[2].strip() for line in text.splitlines() if line.startswith("| ")
    }
    assert lines["swaps (2 seeds)"].startswith("**+25.0 [")
    assert lines["mine (2 seeds)"].startswith("**+50.0 [")
    assert lines["mine, shares 0.5, 0.5"].startswith("**+75.0 [")
    assert lines["mine against swaps, both interpolated"].startswith("**+50.0 [")
    assert text.count("| 2 of 2 |") == 5
    assert "base-112-0: ordinary 25.0" in text


def test_what_relevance_adds_is_shown_on_base_models_that_have_both():
    arms = {
        "cross-entropy": {0: cell("0001" * 50), 1: cell("0001" * 50), 2: cell("0001" * 50)},
        "cross-entropy + relevance": {0: cell("0011" * 50), 1: cell("0011" * 50)},
    }
    row = added_by_relevance(arms).splitlines()[-1]
    assert row.startswith("| added to cross-entropy alone | **+25.0**")
    assert row.endswith("| 2 |")


def test_other_masks_are_shown_above_drawn_masks_on_the_same_base_models():
    cells = {f"base-112-{seed}": cell("0001" * 50) for seed in range(3)}
    for seed, right in ((0, "0011"), (1, "0111"), (2, "1111")):
        cells[f"swaps + relevance-drawn-10-112-{seed}"] = cell(right * 50)
    for seed, right in ((0, "0001"), (1, "0000")):
        cells[f"swaps + relevance-tokencut-10-112-{seed}"] = cell(right * 50)
    found, drawn = by_masks(cells, "112").splitlines()[-2:]
    assert found.startswith("| found by TokenCut | background swaps and relevance loss")
    assert " | −12.5<br>(0.0, −25.0) |" in found
    assert drawn.startswith("| drawn, the same base models |")
    assert " | +37.5<br>(+25.0, +50.0) |" in drawn
    assert found.endswith("| 2 |")


def test_three_base_models_have_an_interval_in_the_table_of_masks():
    cells = {f"base-112-{seed}": cell("0001" * 50) for seed in range(3)}
    for kind in ("drawn", "ellipses"):
        cells |= {f"swaps-{kind}-10-112-{seed}": cell("0011" * 50) for seed in range(3)}
    rows = by_masks(cells, "112").splitlines()[-2:]
    assert all("**+25.0**<br>[" in row for row in rows)


def test_rows_of_other_numbers_of_masks_are_in_order_and_against_their_own_base_models():
    cells = {"base-112-0": cell("0001" * 50), "base-112-1": cell("0111" * 50)}
    for samples, right in (("30", "1111"), ("3", "0011"), ("10", "0000")):
        cells |= {f"swaps-drawn-{samples}-112-{seed}": cell(right * 50) for seed in (0, 1)}
    cells["swaps-tokencut-3-112-1"] = cell("1111" * 50)
    heads, _, *rows = by_number(cells, "112").splitlines()
    assert heads.startswith("| masks a class | method | ordinary")
    assert [row.split(" | ")[0] for row in rows] == ["| 3 drawn", "| 30 drawn", "| 3 found by TokenCut"]
    assert " | 0.0<br>(+25.0, −25.0) | " in rows[0]
    assert " | +50.0<br>(+75.0, +25.0) | " in rows[1]
    assert " | +25.0<br>(+25.0) | " in rows[2]
    assert rows[2].endswith("| 1 |")


def test_a_larger_input_is_compared_with_its_own_base_models_and_on_the_same_seeds():
    cells = {f"base-112-{seed}": cell("0001" * 50) for seed in range(3)} | {"base-154-2": cell("0111" * 50)}
    cells |= {f"swaps-drawn-10-112-{seed}": cell("0011" * 50) for seed in (0, 1)}
    cells |= {"swaps-drawn-10-112-2": cell("0001" * 50), "swaps-drawn-10-154-2": cell("1111" * 50)}
    large, small = by_size(cells, ("112", "154")).splitlines()[-2:]
    assert large.startswith("| 154 px | background swaps | +25.0<br>(+25.0) |")
    assert small.startswith("| 112 px | background swaps | 0.0<br>(0.0) |")


def test_cells_are_told_apart_by_their_names():
    found = groups({"swaps + relevance 0.8-tokencut-3-154-4": {}, "a-b-drawn-30-112-12": {}, "base-112-0": {}})
    assert found["tokencut", "3", "154"] == {"swaps + relevance 0.8": {4: {}}}
    assert found["drawn", "30", "112"] == {"a-b": {12: {}}}
    assert len(found) == 2


@pytest.mark.parametrize(
    ("change", "seeds", "of_seeds", "of_photos"),
    [(0.0, 5, 0.0, 0.0), (0.05, 5, 0.03, 0.1), (0.0, 2, 0.03, 0.1), (0.02, 3, 0.01, 0.3)],
)
def test_the_interval_covers_photos_and_seeds(change, seeds, of_seeds, of_photos):
    """Seeds and photos whose true changes differ (standard deviations), 400 photos of different difficulty."""
    rng, covered, rounds, texts = np.random.default_rng(0), 0, 1000, []
    for _ in range(rounds):
        hard, drift = rng.uniform(0.3, 0.7, 400), rng.normal(change, of_seeds, (seeds, 1))
        own = rng.uniform(-1, 1, 400) * of_photos * np.sqrt(3)
        before = rng.uniform(size=(seeds, 400)) < hard - own / 2
        after = rng.uniform(size=(seeds, 400)) < hard + own / 2 + drift
        found = change_over_both(before.astype(float), after.astype(float))
        covered += found.low <= change <= found.high
        texts.append(shown(found))
    assert 0.94 <= covered / rounds <= 0.988
    assert any(text.startswith("**") for text in texts)


def test_seeds_that_agree_by_chance_do_not_make_an_interval_narrower_than_photos_do():
    rng = np.random.default_rng(2)
    before, after = rng.integers(2, size=(2, 200)).astype(float)
    sides = np.stack([before, before]), np.stack([after, after[::-1]])  # the same mean change from other photos
    found, one = change_over_both(*sides), (sides[1] - sides[0]).mean(axis=0)
    assert np.diff((sides[1] - sides[0]).mean(axis=1)) == 0
    assert found.half_width == pytest.approx(1.959963984540054 * one.std(ddof=1) / 200**0.5)


def test_the_interval_equals_that_of_a_plain_analysis_of_variance():
    rng = np.random.default_rng(1)
    before, after = rng.integers(2, size=(2, 4, 30)).astype(float)
    seeds, photos = range(4), range(30)
    change = [[after[s][p] - before[s][p] for p in photos] for s in seeds]
    mean = sum(map(sum, change)) / 120
    rows = [sum(change[s]) / 30 for s in seeds]
    columns = [sum(change[s][p] for s in seeds) / 4 for p in photos]
    squares = sum((change[s][p] - rows[s] - columns[p] + mean) ** 2 for s in seeds for p in photos) / (3 * 29)
    over_seeds = sum((row - mean) ** 2 for row in rows) / 3 / 4
    over_photos = sum((column - mean) ** 2 for column in columns) / 29 / 30
    z, t = 1.959963984540054, 3.182446305284263
    reach = max(z**2 * over_photos, z**2 * (over_photos - squares / 120) + t**2 * over_seeds) ** 0.5
    found = change_over_both(before, after)
    assert (found.mean, found.low, found.high) == pytest.approx((mean, mean - reach, mean + reach), abs=1e-12)


def test_the_figure_of_the_masks_shows_base_models_that_were_trained_with_every_number():
    cells = {f"base-112-{seed}": cell("0001" * 50) for seed in (0, 1, 2)}
    for samples, seeds in (("3", (0, 1, 2)), ("10", (1, 2))):
        cells |= {f"swaps-drawn-{samples}-112-{seed}": cell("0011" * 50) for seed in seeds}
    cells |= {"swaps-drawn-10-154-0": cell("1111" * 50), "energy-drawn-10-112-0": cell("1111" * 50)}
    assert sorted(points(cells, "112", [0, 1, 2])["swaps", "drawn"]) == [3]
    found = points(cells, "112", [1, 2])
    assert found["swaps", "drawn"][10]["unseen backgrounds"] == [25.0, 25.0]
    assert sorted(found["swaps", "drawn"]) == [3, 10]
    assert [axis.get_title() for axis in draw(found).axes] == ["ordinary", "mixed-other", "unseen backgrounds"]
