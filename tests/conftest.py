"""Small models and drawn photos that every test can build on; nothing is downloaded."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # several tests run at once, one on each core

from pathlib import Path

import pytest

from helpers.drawn_photos import CLASSES, write_photos
from helpers.small_models import tiny_network

# PyTorch and timm are imported in the functions: the process that only hands tests out must not wait for them


def pytest_ignore_collect(collection_path, config):
    """Leave the app's tests, whose imports take seconds, to ``make test-app``, which names their mark."""
    return True if collection_path.stem.startswith("test_app_") and "app" not in config.getoption("markexpr") else None


def pytest_configure():
    """Let runs that name no recipe take the paper's settings: the recommended ones measure a dozen models a run."""
    from robustvit.models import recipes

    recipes.DEFAULT_RECIPE = None


@pytest.fixture
def network():
    return tiny_network()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    from robustvit.models.classifier import Classifier
    from robustvit.models.save import save_model

    folder = tmp_path_factory.mktemp("model") / "tiny"
    return save_model(Classifier(tiny_network(), class_names=CLASSES), folder)


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> tuple[Path, Path]:
    return write_photos(tmp_path_factory.mktemp("photos"), 10)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Starts runs as processes of their own that need not import everything anew."""
    from helpers.run_server import RunServer

    found = RunServer(tmp_path_factory.mktemp("server"))
    yield found
    found.close()
