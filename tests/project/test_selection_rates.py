"""Models that changed nothing are called better no more often than a 95 % interval allows; see the benchmark."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.study.selection_rates import called_better, donor_rates, epochs_of, selection_rates
from robustvit.common.intervals import paired_difference

MOST = 0.025  # what a 95 % interval allows


def allowed(repeats):
    """With three standard deviations of the simulation."""
    return MOST + 3 * (MOST * (1 - MOST) / repeats) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("photos", [50, 150])
def test_the_half_that_did_not_choose_judges_rightly(photos):
    found = selection_rates(photos, repeats=1000)
    assert found["halves"] <= 0.03
    assert found["one"] <= 0.03
    assert found["all"] > 0.05, "the same photos for both would not do"


@pytest.mark.slow
def test_backgrounds_that_turn_all_their_guests_are_no_gain():
    found = donor_rates(150, classes=10, pairings=5, draws=40)
    assert found["now"] <= allowed(200)
    assert found["before"] > 0.05, "independent draws with an interval over photos would not do"


def test_the_simulation_uses_the_interval_of_the_package():
    rng = np.random.default_rng(0)
    changes = epochs_of(rng, 300, 1, 40, 0.5, 0.4)[0]
    wanted = [paired_difference((row < 0).astype(float), (row > 0).astype(float)).low > 0 for row in changes]
    assert called_better(changes).tolist() == wanted
    assert 0 < sum(wanted) < 30
    assert abs(changes).mean() == pytest.approx(0.4, abs=0.02)
