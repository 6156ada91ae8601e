"""The rules of pairing objects with backgrounds, for any classes: who may lend, how often, and by which seed."""

from __future__ import annotations

from collections import Counter

import pytest

pytest.importorskip("hypothesis", reason="needs the package hypothesis: pip install hypothesis")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robustvit.data.swap_pairs import pair_backgrounds
from robustvit.data.swaps import SWAPS

# No limits of time: the machine may be busy
patient = settings(
    deadline=None, max_examples=200, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)


@st.composite
def classes_and_lenders(draw):
    labels = draw(st.lists(st.integers(0, 4), min_size=1, max_size=30))
    usable = draw(st.lists(st.booleans(), min_size=len(labels), max_size=len(labels)))
    return labels, usable


@pytest.mark.slow
@patient
@given(classes_and_lenders(), st.sampled_from(SWAPS), st.integers(1, 5), st.integers(0, 2**31))
def test_pairing_holds_for_any_classes(photos, kind, swaps, seed):
    labels, usable = photos
    pairs = pair_backgrounds(labels, usable, kind, swaps=swaps, seed=seed)
    assert pairs == pair_backgrounds(labels, usable, kind, swaps=swaps, seed=seed)
    for index, donors in enumerate(pairs):
        able = [i for i, ok in enumerate(usable) if ok and i != index]
        if kind == "mixed-same":
            able = [i for i in able if labels[i] == labels[index]]
        elif kind == "mixed-other":
            able = [i for i in able if labels[i] != labels[index]]
        elif kind == "mixed-next":
            order = sorted(set(labels))
            following = order[(order.index(labels[index]) + 1) % len(order)]
            able = [i for i in able if labels[i] == following != labels[index]]
        assert set(donors) <= set(able)
        assert len(donors) == (swaps if able else 0)
        for label in set(labels):  # none twice for an image before all of its class came
            others = {i for i in able if labels[i] == label}
            drawn = [donor for donor in donors if labels[donor] == label]
            for start in range(0, len(drawn), len(others) or 1):
                part = drawn[start : start + len(others)]
                assert len(set(part)) == len(part)


@pytest.mark.slow
@patient
@given(classes_and_lenders(), st.integers(1, 5), st.integers(0, 2**31))
def test_donors_of_other_classes_are_used_equally_often(photos, swaps, seed):
    labels, usable = photos
    used = Counter(
        d for donors in pair_backgrounds(labels, usable, "mixed-other", swaps=swaps, seed=seed) for d in donors
    )
    for label in set(labels):
        counts = [used[i] for i, ok in enumerate(usable) if ok and labels[i] == label]
        needs_repeats = swaps > len(counts)  # a photo that has all of a class takes one again, whichever it is
        assert not counts or max(counts) - min(counts) <= 1 or needs_repeats


@pytest.mark.parametrize("size", [2, 3, 4, 7, 20])
@pytest.mark.parametrize("seed", range(20))
def test_donors_of_the_own_class_are_used_equally_often(size, seed):
    """Also where the last photo would be left with itself."""
    for swaps in range(1, size):
        pairs = pair_backgrounds([0] * size, [True] * size, "mixed-same", swaps=swaps, seed=seed)
        assert set(Counter(donor for donors in pairs for donor in donors).values()) == {swaps}


@pytest.mark.parametrize("classes", [2, 5, 10])
def test_balanced_classes_leave_no_donor_unused(classes):
    """Drawn independently, about a third of the donors would not be used at all, and some three times and more."""
    labels = [i % classes for i in range(100)]
    for seed in range(10):
        used = Counter(
            d for ds in pair_backgrounds(labels, [True] * 100, "mixed-other", swaps=2, seed=seed) for d in ds
        )
        assert set(used) == set(range(100))
        assert max(used.values()) <= 3
