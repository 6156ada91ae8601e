"""Options of finetune that are quick, for experiments."""

from __future__ import annotations

import pytest

from helpers.sweeps import FAST


@pytest.fixture
def base(model_folder, photos):
    return FAST | {"model": f"local-dir:{model_folder}", "images": str(photos[0]), "masks": str(photos[1])}
