"""Saving models as folders, and restoring weights from them."""

from __future__ import annotations

import copy
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from robustvit.common.errors import UserError
from robustvit.common.files import explain_full_disk, read_json, sync_folder, write_json
from robustvit.common.progress import warn
from robustvit.models.adapters import ADAPTER, merge
from robustvit.models.classifier import Classifier
from robustvit.models.forward_pass import evaluating
from robustvit.models.head_kinds import tell_head
from robustvit.models.libraries import WEIGHTS_ALONE, library_of
from robustvit.models.unwrap import copy_shallow


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
            _save_whole(classifier, fresh)
            _record_more(classifier, fresh / "config.json")
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


def _record_more(classifier: Classifier, config: Path) -> None:
    """Add how photos were read, and what unusual outputs mean, to the settings of a library, which ignores them."""
    more: dict[str, object] = {"pixels": said} if (said := classifier.pixels.said) else {}
    if classifier.head_kind != "softmax" or tell_head(classifier) is not None:
        more["head"] = classifier.head_kind
    if classifier.head_kind == "binary" and classifier.class_names:
        more["label_names"] = list(classifier.class_names)
    if more:
        write_json(read_json(config) | more, config)


def _save_whole(classifier: Classifier, folder: Path) -> None:
    """Write a model; an adapter is merged into it, and also written to a separate folder."""
    if classifier.adapter is None:
        library_of(classifier.network).save(classifier, folder)
        return
    whole = copy_shallow(classifier)
    whole.network = merge(copy.deepcopy(classifier.adapter.model))
    library_of(whole.network).save(whole, folder)
    classifier.adapter.model.save_pretrained(folder / ADAPTER)  # for PeftModel.from_pretrained


def settle_saving(classifier: Classifier, source: object) -> None:
    """Check, before any work, that a model from Python can be saved and loaded again unchanged.

    ``source`` is what it was loaded from; a name or a folder needs no check. If the library builds another network, the
    weights alone are saved, with a line that says so.
    """
    if not isinstance(source, torch.nn.Module):
        return
    network = classifier.network
    if (library := library_of(network)).name != "module" and (reason := _find_difference(classifier)):
        warn(
            f"{type(network).__name__} was changed in a way that {library.name} cannot build again ({reason}): its "
            "weights alone are saved; load them with load_model(your module, checkpoint='.../model.safetensors')"
        )
        setattr(network, WEIGHTS_ALONE, True)
    if library_of(network).name == "module" and (reason := _find_difference(classifier, load=False)):
        raise UserError(f"{type(network).__name__} cannot be saved, so it cannot be trained: {reason}")


def _find_difference(classifier: Classifier, *, load: bool = True) -> str:
    """Return why a model cannot be saved, or how it differs once loaded again; empty if it does not."""
    from robustvit.models.load import load_model

    weights = next(classifier.parameters())
    noise = torch.rand(2, 3, *classifier.preprocessing.input_size, generator=torch.Generator().manual_seed(0))
    try:
        with (
            evaluating(classifier),
            TemporaryDirectory() as temporary,
            torch.no_grad(),
            torch.random.fork_rng(devices=[]),
        ):
            folder = save_model(classifier, Path(temporary) / "model")
            if not load:
                return ""
            again = load_model(folder).to(weights.device, weights.dtype)
            noise = noise.to(weights.device, weights.dtype)
            return "" if torch.allclose(again(noise), classifier(noise), atol=1e-4) else "its answers differ"
    except Exception as error:  # whatever the libraries raise
        return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def restore_weights(classifier: Classifier, folder: str | Path) -> None:
    """Restore the weights that ``save_model`` wrote for this model."""
    network = classifier.network
    if classifier.adapter is not None:
        classifier.adapter.restore(Path(folder) / ADAPTER)
        return
    try:
        weights = load_file(Path(folder) / "model.safetensors")
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"the model in {folder} is missing or broken ({error}): put it back, or start a new run"
        ) from error
    library_of(network).load_state(network, weights, folder)
