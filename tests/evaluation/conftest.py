"""Models that several modules measure on sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.small_models import save_varied


@pytest.fixture(scope="module")
def thousand(tmp_path_factory) -> Path:
    return save_varied(tmp_path_factory.mktemp("models") / "thousand", 1000)


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    return save_varied(tmp_path_factory.mktemp("models") / "other", 1000, seed=1)
