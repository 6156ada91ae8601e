"""The shared folder of a finished run: weights or ONNX, card and verdict, without paths of this machine."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robustvit.common.errors import UserError
from robustvit.common.files import explain_full_disk, read_json, write_json, write_text
from robustvit.common.options import ExportFormat
from robustvit.common.run_folder import RunFolder
from robustvit.common.verdict_files import Verdict, read_verdict, write_verdict
from robustvit.models.classifier import Classifier, Preprocessing
from robustvit.models.load import load_model
from robustvit.models.origin import describe_base_model, is_local
from robustvit.sharing.card import CardFacts, render_card
from robustvit.sharing.machine_paths import check_shareable, without_paths
from robustvit.sharing.onnx import BATCHES, write_onnx

_WEIGHTS = ("config.json", "model.safetensors", "preprocessor_config.json")  # the files that libraries read and write


@dataclass(frozen=True)
class SharedModel:
    """The files of a shared model.

    Attributes:
        files: names and sizes in bytes.
        verdict: verdict of the run, without paths of this machine.
        library: library that loads the folder: timm, transformers, torchvision, ..., or onnx.
        difference: largest difference of a logit, for an ONNX model.
    """

    files: dict[str, int]
    verdict: Verdict
    library: str
    difference: float | None = None


def read_finished(path: str) -> tuple[RunFolder, Verdict]:
    """Read a finished run and its verdict."""
    run = RunFolder(path)
    run.config()
    if not run.verdict.is_file() or not (run.best / "config.json").is_file():
        raise UserError(f"{path} is not finished: continue it with robustvit finetune ... --resume")
    verdict = read_verdict(run.verdict)
    paths = _list_paths(run)
    return run, replace(verdict, notes=tuple(without_paths(note, paths) for note in verdict.notes))


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Create a temporary folder that is moved to ``path`` if the block succeeds, and removed otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        explain_full_disk(path),
        tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as parent,
    ):
        fresh = Path(parent) / "new"
        fresh.mkdir()
        yield fresh
        if path.is_dir():
            path.rmdir()  # fails unless empty
        os.replace(fresh, path)


def write_shared(
    run: RunFolder,
    verdict: Verdict,
    folder: Path,
    format: ExportFormat,
    *,
    license: str | None = None,
    name: str | None = None,
) -> SharedModel:
    """Write the shared files of a run into an empty folder.

    ``run`` and ``verdict`` are from ``read_finished``, ``license`` is that of these weights, and ``name`` on the card
    is ``OWNER/NAME`` on the hub.
    """
    stored = read_json(run.best / "config.json")
    if not isinstance(stored, dict):
        raise UserError(f"{run.best / 'config.json'} does not describe a model: repeat the run")
    library = stored.get("library") or ("transformers" if "model_type" in stored else "timm")
    if format == "timm" and library != "timm":
        raise UserError(f"{run.path} contains a {library} model, which timm cannot load: use --format auto or onnx")
    # The code of a module is its author's alone: such a model is described as it was stored.
    classifier = _load(run) if library != "module" or format == "onnx" else None
    base = describe_base_model(run.config(), stored)
    facts = CardFacts(base, library, *_describe(stored, classifier), license, name=name)
    if format == "onnx" and classifier is not None:
        facts = replace(facts, onnx=write_onnx(classifier, folder / "model.onnx"), batches=BATCHES)
        write_json(_describe_interface(classifier), folder / "config.json")
    else:
        _copy_weights(run.best, stored, folder)
    write_text(render_card(run, verdict, facts), folder / "README.md")
    write_verdict(verdict, folder / "verdict.json")
    check_shareable(folder, _list_paths(run))
    files = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
    return SharedModel(files, verdict, "onnx" if format == "onnx" else library, facts.onnx)


def _load(run: RunFolder) -> Classifier:
    """Load the run's model with its preprocessing."""
    with tempfile.TemporaryDirectory() as folder:  # a copy without the verdict: the caller reports that
        for name in _WEIGHTS:
            if (run.best / name).is_file():
                _link((run.best / name).absolute(), Path(folder) / name)
        try:
            return load_model(folder)
        except UserError as error:
            told = str(error).replace(f"local-dir:{folder}", str(run.best)).replace(folder, str(run.best))
            raise UserError(told) from error


def _link(file: Path, target: Path) -> None:
    try:
        os.symlink(file, target)
    except OSError:  # Windows allows links to some users only
        shutil.copyfile(file, target)


def _describe(stored: dict[str, Any], classifier: Classifier | None) -> tuple[tuple[str, ...], int, Preprocessing]:
    """Return class names, number of classes and preprocessing."""
    if classifier is not None:
        return classifier.class_names, classifier.num_classes, classifier.preprocessing
    classes = 2 if stored.get("head") == "binary" else stored["num_classes"]
    return tuple(stored["label_names"]), classes, Preprocessing.from_dict(stored["preprocessing"])


def _copy_weights(best: Path, stored: dict[str, Any], folder: Path) -> None:
    for name in _WEIGHTS[1:]:
        if (best / name).is_file():
            shutil.copyfile(best / name, folder / name)
    # transformers stores a path of this machine
    kept = {key: value for key, value in stored.items() if key != "_name_or_path"}
    write_json(kept, folder / "config.json")


def _describe_interface(classifier: Classifier) -> dict[str, Any]:
    """Describe inputs and outputs of the ONNX model, for programs."""
    settings = classifier.preprocessing
    return {
        "input": {"name": "images", "shape": ["batch", 3, *settings.input_size], "range": [0, 1], "colours": "RGB"},
        "output": {"name": "logits", "shape": ["batch", classifier.num_classes], "head": classifier.head_kind},
        "resize": {
            "size": list(settings.resized) if settings.resizes_both_sides else settings.resized[0],
            "of": "both sides" if settings.resizes_both_sides else "shorter side",
            "interpolation": settings.interpolation,
            "then_centre_crop": list(settings.input_size),
        },
        "label_names": list(classifier.class_names),
        "pixels": classifier.pixels.said,
    }


def _list_paths(run: RunFolder) -> list[str]:
    """Return every path in the run's settings, and that of the run."""
    config = run.config()
    names = ("images", "masks", "val_images", "val_masks", "test_images", "test_masks", "review", "checkpoint", "out")
    given = [str(config[name]) for name in names if config.get(name)]
    source = str(config.get("model") or "")
    if source and is_local(source):
        given.append(source.partition(":")[2] or source)
    return [*given, str(run.path), str(run.path.absolute())]
