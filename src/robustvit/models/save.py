"""Saving models as folders, and restoring weights from them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from robustvit.common.errors import UserError
from robustvit.common.files import explain_full_disk, sync_folder
from robustvit.models.classifier import Classifier
from robustvit.models.libraries import library_of


def save_model(classifier: Classifier, folder: str | Path) -> Path:
    """Save a model as a folder that ``load_model`` reads.

    Without this package, ``timm.create_model("local-dir:FOLDER", pretrained=True)`` loads a timm model, and
    ``AutoModelForImageClassification.from_pretrained(FOLDER)`` a model of transformers. The folder is written under
    another name and then moved; an old folder is replaced.

    Returns:
        The folder.
    """
    folder = Path(folder)
    fresh, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        with explain_full_disk(folder):
            fresh.mkdir(parents=True)
            library_of(classifier.network).save(classifier, fresh)
            sync_folder(fresh, files=True)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    if folder.exists():
        os.replace(folder, old)
    os.replace(fresh, folder)
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)
    return folder


def restore_weights(classifier: Classifier, folder: str | Path) -> None:
    """Restore the weights that ``save_model`` wrote for this model."""
    network = classifier.network
    try:
        weights = load_file(Path(folder) / "model.safetensors")
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"the model in {folder} is missing or broken ({error}): put it back, or start a new run"
        ) from error
    library_of(network).load_state(network, weights, folder)
