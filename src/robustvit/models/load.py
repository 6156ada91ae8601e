"""Loading image classifiers from any source: a library, the hub, a folder, a run, a module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from robustvit.common.errors import UserError
from robustvit.common.files import read_json
from robustvit.common.options import ClassNames, Normalization
from robustvit.common.progress import warn
from robustvit.common.run_folder import MODULE, RunFolder
from robustvit.common.verdict import read_verdict
from robustvit.models.classifier import Classifier, Preprocessing
from robustvit.models.libraries import LIBRARIES, Library, Loaded, Wanted, library_of
from robustvit.models.libraries.library import readable_errors, refuse_other_head
from robustvit.models.options import ComparedModels, GivenModel
from robustvit.models.origin import is_local
from robustvit.models.recipes import CARDS, model_card, recipe_settings
from robustvit.models.weights import read_checkpoint


def load_model(
    source: str | Path | nn.Module,
    *,
    num_classes: int | None = None,
    checkpoint: str | Path | None = None,
    pretrained: bool = True,
    normalization: Normalization = "model",
    class_names: ClassNames | Path | None = None,
    headless: bool = False,
) -> Classifier:
    """Load an image classifier from any source.

    Args:
        source: a timm name with or without tag, ``hf-hub:OWNER/NAME``, ``transformers:OWNER/NAME``,
            ``torchvision:NAME``, ``open_clip:ARCHITECTURE/TAG`` (a zero-shot classifier), ``local-dir:FOLDER``, a
            folder that ``save_model`` or transformers wrote, a run folder of ``finetune``, a model card of the paper
            (``vit-b``), or a module.
        num_classes: classes of the head; read from the checkpoint or the source when left out.
        checkpoint: weights to load into it: safetensors, ``.pth`` or ``.pth.tar``.
        pretrained: start from the source's published weights; off when a checkpoint is given.
        normalization: ``model``, its own mean and std, or ``paper``, 0.5 for every model.
        class_names: the classes of a zero-shot model (ImageNet's when left out), or names for a head that has none; a
            list, ``cat,dog``, or a text file with one name per line.
        headless: only features are needed: backbones without a head are accepted, and timm's heads are dropped.

    Returns:
        A ``Classifier`` in evaluation mode.

    Raises:
        UserError: unknown name, missing folder, weights that cannot be fetched, a checkpoint that does not fit, a
            library that is not installed, names that are not the model's, weights that are NaN or infinite.
    """
    names = None if class_names is None else _read_names(class_names)
    state = read_checkpoint(checkpoint) if checkpoint is not None else None
    wanted = Wanted(num_classes, state, str(checkpoint), pretrained and state is None, names, headless)
    if isinstance(source, Classifier):
        _given(source.network, wanted)
        return _named(_sound(source), names)
    loaded = _given(source, wanted) if isinstance(source, nn.Module) else _found(str(source), wanted)
    own = loaded.preprocessing or Preprocessing.of(loaded.network)
    classifier = Classifier(
        loaded.network,
        preprocessing=own.normalized(normalization),
        class_names=loaded.class_names,
        source=source if isinstance(source, str) else str(getattr(source, "name", type(source).__name__)),
    )
    return _named(_sound(classifier), names).eval()


def _sound(classifier: Classifier) -> Classifier:
    """Return the classifier; refuse it if a weight is NaN or infinite."""
    for name, weight in classifier.network.named_parameters():
        if weight.is_floating_point() and not torch.isfinite(weight).all():
            raise UserError(f"{name} of {classifier.source} holds NaN or infinity, the weights are broken: load others")
    return classifier


def load_original(run: str | Path) -> Classifier:
    """Load the model that a run started from, by its settings."""
    config = RunFolder(run).config()
    recipe = config["recipe"]
    if str(config["model"]).startswith(MODULE):
        raise UserError(f"{run} started from {config['model']}: load that model yourself and name it as the baseline")
    if lacking := _lacking(config):
        raise UserError(
            f"{run} started from {lacking}, and it is not there any more: put it back (relative names count from the "
            "folder that finetune was called in), or name where the original is now, --baseline local-dir:FOLDER"
        )
    return load_model(
        config["model"] or recipe,
        num_classes=config["num_classes"],
        checkpoint=config["checkpoint"],
        class_names=config.get("class_names"),
        normalization=config["normalization"] or recipe_settings(recipe).get("normalization", "model"),
    )


def _lacking(config: Mapping[str, Any]) -> str:
    """Return the folder or file of weights that a run's settings name, if it is missing; else an empty text."""
    if config["checkpoint"] and not Path(config["checkpoint"]).is_file():
        return str(config["checkpoint"])
    source = str(config["model"] or "")
    if not source or source in CARDS or not is_local(source):
        return ""
    prefix, _, rest = source.partition(":")
    folder = Path((rest if prefix in LIBRARIES else source).removeprefix("local-dir:"))
    return "" if folder.is_dir() else source


def _given(network: nn.Module, wanted: Wanted) -> Loaded:
    """Describe a module given from Python."""
    library = library_of(network)
    if wanted.state is not None:
        library.load_state(network, wanted.state, str(wanted.checkpoint))
    return Loaded(network, class_names=library.class_names(network))


def _found(source: str, wanted: Wanted) -> Loaded:
    """Load the model that a name or a folder stands for."""
    prefix, _, rest = source.partition(":")
    library, name = (LIBRARIES[prefix], rest) if prefix in LIBRARIES else (LIBRARIES["timm"], source)
    folder = Path(name.removeprefix("local-dir:"))
    if folder.is_dir():
        return _in_folder(folder, library, wanted)
    if library.name != "timm":
        return library.load(name, wanted)
    if name.startswith("local-dir:") or ("/" in name and not name.startswith("hf-hub:")):
        raise UserError(f"expected a model folder, found none at {folder}: check the path, or name a timm model")
    if name in CARDS:
        if model_card(name).needs_checkpoint and wanted.state is None:
            raise UserError(f"timm no longer provides the weights of {name}: give them with --checkpoint FILE")
        name = model_card(name).timm_name
    return library.load(name, wanted)


def _in_folder(folder: Path, library: Library, wanted: Wanted) -> Loaded:
    """Load the model in a folder or in the ``best/`` of a run, with the library that its ``config.json`` names."""
    if library.name == "open_clip" and (folder / "open_clip_config.json").is_file():
        return library.load(str(folder), wanted)
    inside = [place for place in (folder, folder / "best") if (place / "config.json").is_file()]
    if not inside:
        raise UserError(f"expected a model folder with config.json at {folder}, or a run folder with best/ in it")
    place = inside[0]
    config = _read_config(place)
    _say_if_refused(place)
    wanted = replace(wanted, pretrained=wanted.state is None)  # a folder holds its own weights
    if str(config.get("library")) in LIBRARIES:
        return _rebuilt(place, LIBRARIES[config["library"]], config, wanted)
    if "model_type" in config:
        return LIBRARIES["transformers"].load(str(place), wanted)
    return LIBRARIES["timm"].load(f"local-dir:{place}", wanted)


def _read_config(folder: Path) -> dict[str, Any]:
    found = read_json(folder / "config.json")
    if not isinstance(found, dict):
        raise UserError(f"cannot load local-dir:{folder}: its config.json is broken, it is a {type(found).__name__}")
    return found


def _rebuilt(folder: Path, library: Library, config: dict[str, Any], wanted: Wanted) -> Loaded:
    """Rebuild a model that ``Library.save`` wrote."""
    refuse_other_head(str(folder), config.get("num_classes"), wanted.num_classes)
    with readable_errors(f"{library.name}:{folder}", "another folder"):
        network = library.rebuild(folder, config)
        if wanted.state is None:
            library.load_state(network, load_file(folder / "model.safetensors"), folder)
        else:
            library.load_state(network, wanted.state, str(wanted.checkpoint))
        return Loaded(network, Preprocessing.from_dict(config["preprocessing"]), tuple(config["label_names"]))


def _read_names(given: ClassNames | Path) -> tuple[str, ...]:
    """Read names from a list, a text separated by commas, or a text file."""
    if isinstance(given, str) and "," in given and not _is_file(given):
        given = given.split(",")
    if isinstance(given, (str, Path)):
        path = Path(given)
        if not _is_file(path):
            raise UserError(
                f"expected class names as cat,dog or a text file with one per line, found no file at {str(path)[:200]}"
            )
        try:
            given = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"expected class names as UTF-8 text in {path}, it cannot be read: {error}") from error
    names = tuple(name.strip() for name in given if name.strip())
    if len(set(names)) < 2 or len(set(names)) != len(names):
        raise UserError(f"expected at least two different class names, each once, got {len(names)} ({names[:3]} ...)")
    return names


def _is_file(place: str | Path) -> bool:
    try:
        return Path(place).is_file()
    except (OSError, ValueError):  # a long list of names is no valid file name
        return False


def _named(classifier: Classifier, names: Sequence[str] | None) -> Classifier:
    """Set the class names of a classifier that has none."""
    if names is None or tuple(names) == classifier.class_names:
        return classifier
    if classifier.class_names:
        raise UserError(
            f"{classifier.source} already has class names ({', '.join(classifier.class_names[:3])} ...): leave "
            "--class-names out, or name a model that chooses among any names (open_clip:ARCHITECTURE/TAG)"
        )
    if len(names) != classifier.num_classes:
        raise UserError(f"expected {classifier.num_classes} class names, one per class of the model, got {len(names)}")
    classifier.class_names = tuple(names)
    return classifier


def _say_if_refused(folder: Path) -> None:
    """Warn if a model was refused by the verdict of its run, so that it is not taken for an improvement."""
    said = None
    if (folder / "verdict.json").is_file():
        verdict = read_verdict(folder / "verdict.json")
        said = None if verdict.accepted else verdict.sentence
    elif RunFolder(folder.parent).is_run:
        said = "this model has no verdict: its run is not finished, or it is not the run's best"
    if said is not None:
        warn(f"{folder}: {said}")


def load_given(options: GivenModel) -> Classifier:
    """Load the model that a command's options name; see ``load_model``."""
    return load_model(
        options.model,
        checkpoint=options.checkpoint,
        num_classes=options.num_classes,
        normalization=options.normalization,
        class_names=options.class_names,
    )


def load_baseline(models: ComparedModels, classifier: Classifier) -> Classifier | None:
    """Load the model to compare with, if any: a source, or "original" for the one that a run started from."""
    baseline = models.baseline
    if baseline is None:
        return None
    if baseline == "original":
        other = load_original(models.model)
    else:
        other = load_given(replace(models, model=baseline, checkpoint=None))
    if other.num_classes != classifier.num_classes:
        raise UserError(
            f"expected a baseline of {classifier.num_classes} classes like the model, {baseline} has "
            f"{other.num_classes}: name the model it was finetuned from"
        )
    if other.class_names and classifier.class_names and other.class_names != classifier.class_names:
        raise UserError(f"expected a baseline with the model's classes in the same order, {baseline} has others")
    return other
