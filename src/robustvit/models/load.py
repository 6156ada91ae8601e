"""Loading image classifiers from any source: a library, the hub, a folder, a run, a module."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robustvit.common.errors import UserError
from robustvit.common.options import ClassNames, HeadKind, Normalization
from robustvit.common.progress import warn
from robustvit.common.run_folder import MODULE, RunFolder
from robustvit.models.adapters import keep_given, settle_adapter
from robustvit.models.class_names import read_names, set_names
from robustvit.models.classifier import Classifier
from robustvit.models.folders import load_folder, saved_beside
from robustvit.models.forward_pass import run_on_noise
from robustvit.models.given_preprocessing import GivenPreprocessing
from robustvit.models.head_kinds import CLASSIFIERS, ONE_CLASS, expect_head, settle_head
from robustvit.models.kinds import channels_of, find_inside
from robustvit.models.libraries import LIBRARIES, Loaded, Wanted, library_of
from robustvit.models.libraries.library import imagenet_names
from robustvit.models.normalise import check_channels, normalise
from robustvit.models.options import ComparedModels, GivenModel, given_preprocessing
from robustvit.models.origin import is_local
from robustvit.models.preprocessing import Preprocessing
from robustvit.models.recipes import CARDS, model_card, recipe_settings
from robustvit.models.shards import find_weights
from robustvit.models.states import AverageAsked, read_checkpoint, split_entry
from robustvit.models.unwrap import unwrap


def load_model(
    source: str | Path | nn.Module,
    *,
    num_classes: int | None = None,
    checkpoint: str | Path | None = None,
    pretrained: bool = True,
    normalization: Normalization = "model",
    class_names: ClassNames | Path | None = None,
    head: HeadKind | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    headless: bool = False,
    keep_adapter: bool = False,
) -> Classifier:
    """Load an image classifier from any source.

    Args:
        source: a timm name with or without tag, ``hf-hub:OWNER/NAME``, ``transformers:OWNER/NAME``,
            ``torchvision:NAME``, ``open_clip:ARCHITECTURE/TAG`` (a zero-shot classifier), ``local-dir:FOLDER``, a
            folder that ``save_model`` or transformers wrote, a run folder of ``finetune``, a model card of the paper
            (``vit-b``), or a module, also compiled, in DataParallel, in a LightningModule or with a LoRA adapter.
        num_classes: classes of the head; read from the checkpoint or the source when left out.
        checkpoint: weights to load into it: safetensors, ``.pth``, ``.ckpt`` or ``.pth.tar``, the index of several
            files, or a folder with an adapter of peft; with ``FILE#ENTRY``, those under that name in the file.
        pretrained: start from the source's published weights; off when a checkpoint is given.
        normalization: ``model``, its own mean and std, or ``paper``, 0.5 for every model.
        class_names: the classes of a zero-shot model (ImageNet's when left out), or names for a head that has none; a
            list, ``cat,dog``, or a text file with one name per line.
        head: what the outputs are: ``softmax``, one class a photo; ``binary``, one logit for a class and its absence;
            ``multi-label``, a sigmoid for each class; ``regression`` or ``ordinal``, which are explained only. Default:
            as the model says, else ``softmax``.
        preprocessing: any of ``mean``, ``std``, ``input_size`` and ``interpolation``, instead of the model's own.
        headless: only features are needed: backbones without a head are accepted, and timm's heads are dropped.
        keep_adapter: keep an adapter (LoRA) apart, so that it alone can be trained, instead of merging it.

    Returns:
        A ``Classifier`` in evaluation mode.

    Raises:
        UserError: unknown name, missing folder, weights that cannot be fetched, a checkpoint that does not fit, a
            library that is not installed, names that are not the model's, weights that are NaN or infinite, a module
            of which nothing says how photos are prepared for it, one output of which nothing says what it means.
    """
    names = None if class_names is None else read_names(class_names)
    source, checkpoint, adapter = settle_adapter(source, checkpoint)
    state = read_checkpoint(checkpoint) if checkpoint is not None else None
    file = None if checkpoint is None else str(find_weights(split_entry(checkpoint)[0]))
    given = GivenPreprocessing.read(preprocessing or {})
    wanted = Wanted(num_classes, state, file, pretrained and state is None, names, headless, given.input_size)
    kept = keep_given(source) if keep_adapter else None
    if adapter is not None:
        wanted = replace(wanted, num_classes=num_classes or adapter.classes, replaced=adapter.replaced)
    classifier = _load_any(source if kept is None else kept.network, wanted, given, normalization)
    if adapter is not None:
        network, kept = adapter.put_on(classifier.network, keep_adapter)
        classifier.network = network
    classifier.adapter = None if kept is None else kept.of(classifier.network)
    if classifier.preprocessing.channels == 1:
        warn(f"{classifier} takes images of one channel: colour photos become grey for it")
    if headless:
        return set_names(_check_finite(classifier), names)
    return set_names(settle_head(_check_finite(classifier), head, names), names)


def _load_any(
    source: str | Path | nn.Module, wanted: Wanted, given: GivenPreprocessing, normalization: Normalization
) -> Classifier:
    """Load a classifier from a module, a classifier or a name."""
    source = unwrap(source) if isinstance(source, nn.Module) else source
    if isinstance(source, Classifier):
        return _check_classifier(source, wanted, given)
    if isinstance(source, nn.Module):
        return _load_module(source, wanted, given, normalization)
    return _load_by_name(str(source), wanted, given, normalization)


def _check_finite(classifier: Classifier) -> Classifier:
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
    if lacking := _find_missing(config):
        raise UserError(
            f"{run} started from {lacking}, and it is not there any more: put it back (relative names count from the "
            "folder that finetune was called in), or name where the original is now, --baseline local-dir:FOLDER"
        )
    return load_settled(
        config["model"] or recipe,
        num_classes=config["num_classes"],
        checkpoint=config["checkpoint"],
        class_names=config.get("class_names"),
        head=config.get("head", "softmax"),  # older versions knew no other
        normalization=config["normalization"] or recipe_settings(recipe).get("normalization", "model"),
        preprocessing=given_preprocessing(config),
    )


def load_settled(source: str | Path | nn.Module, **options: Any) -> Classifier:
    """Load the model of a run that was started: older versions took the average where a checkpoint has one."""
    try:
        return load_model(source, **options)
    except AverageAsked as asked:
        return load_model(source, **options | {"checkpoint": asked.average})


def _find_missing(config: Mapping[str, Any]) -> str:
    """Return the folder or file of weights that a run's settings name, if it is missing; else an empty text."""
    if config["checkpoint"] and not split_entry(config["checkpoint"])[0].exists():
        return str(config["checkpoint"])
    source = str(config["model"] or "")
    if not source or source in CARDS or not is_local(source):
        return ""
    prefix, _, rest = source.partition(":")
    folder = Path((rest if prefix in LIBRARIES else source).removeprefix("local-dir:"))
    return "" if folder.is_dir() else source


def _load_module(
    network: nn.Module, wanted: Wanted, given: GivenPreprocessing, normalization: Normalization
) -> Classifier:
    """Load a module given from Python; see ``normalise``."""
    source = str(getattr(network, "name", type(network).__name__))
    saved, saved_names, pixels, head = saved_beside(wanted.checkpoint)
    own = saved or Preprocessing.recorded(network)
    if own is None and normalization == "paper" and given.input_size is not None:
        own = Preprocessing(given.input_size)
    if own is not None and saved is None:
        own = own.normalized(normalization)
    found = normalise(network, given, own, exact=saved is not None)
    library = library_of(found.network)
    if wanted.state is not None:
        library.load_state(found.network, wanted.state, str(wanted.checkpoint))
    own_names = imagenet_names(found.classes) if library.name == "module" else library.class_names(found.network)
    classifier = Classifier(
        found.network,
        preprocessing=found.preprocessing,
        class_names=saved_names or own_names,
        source=source,
        kind=found.kind,
    )
    classifier.readout, classifier.classes, classifier.pixels = found.readout, found.classes, pixels
    classifier.recorded_head = head
    return classifier.eval()


def _check_classifier(classifier: Classifier, wanted: Wanted, given: GivenPreprocessing) -> Classifier:
    """Return a classifier given from Python with the weights and the preprocessing that were asked for."""
    if wanted.state is not None:
        library_of(classifier.network).load_state(classifier.network, wanted.state, str(wanted.checkpoint))
    if given.changes:
        raise UserError(
            "expected no --mean, --std, --input-size and --interpolation for a Classifier: give it its Preprocessing"
        )
    if classifier.classes is None and list(find_inside(classifier.network)) != [classifier.network]:
        found = normalise(classifier.network, given, classifier.preprocessing, exact=True)
        classifier.kind, classifier.readout, classifier.classes = found.kind, found.readout, found.classes
    return classifier


def _load_by_name(source: str, wanted: Wanted, given: GivenPreprocessing, normalization: Normalization) -> Classifier:
    """Load the model that a name or a folder stands for."""
    loaded = _find(source, wanted)
    if not wanted.headless:
        check_channels(loaded.network)
    own = loaded.preprocessing or Preprocessing.of(loaded.network)
    if loaded.guessed and not (given.mean and given.std):
        warn(
            f"{source}: no preprocessor_config.json says how photos are prepared: {own}, as published models of its "
            "family; give --mean, --std, --input-size or --interpolation if it was trained otherwise"
        )
    own = own.normalized(normalization)
    own = (given.apply(own) or own).with_channels(channels_of(loaded.network))
    if given.input_size is not None and not wanted.headless:
        run_on_noise(loaded.network, own)  # refuses a size that the model does not take
    classifier = Classifier(loaded.network, preprocessing=own, class_names=loaded.class_names, source=source)
    classifier.pixels = loaded.pixels
    classifier.recorded_head = loaded.head
    return classifier.eval()


def _find(source: str, wanted: Wanted) -> Loaded:
    """Load the model that a name or a folder stands for."""
    prefix, _, rest = source.partition(":")
    library, name = (LIBRARIES[prefix], rest) if prefix in LIBRARIES else (LIBRARIES["timm"], source)
    folder = Path(name.removeprefix("local-dir:"))
    if folder.is_dir():
        return load_folder(folder, library, wanted)
    if library.name != "timm":
        return library.load(name, wanted)
    if name.startswith("local-dir:") or ("/" in name and not name.startswith("hf-hub:")):
        raise UserError(f"expected a model folder, found none at {folder}: check the path, or name a timm model")
    if name in CARDS:
        if model_card(name).needs_checkpoint and wanted.state is None:
            raise UserError(f"timm no longer provides the weights of {name}: give them with --checkpoint FILE")
        name = model_card(name).timm_name
    return library.load(name, wanted)


def load_given(options: GivenModel, heads: Collection[HeadKind] = ONE_CLASS) -> Classifier:
    """Load the model that a command's options name, see ``load_model``; refuse a kind of head not among ``heads``."""
    classifier = load_model(
        options.model,
        preprocessing=options.preprocessing,
        checkpoint=options.checkpoint,
        num_classes=options.num_classes,
        normalization=options.normalization,
        class_names=options.class_names,
        head=options.head,
    )
    return expect_head(classifier, heads)


def load_baseline(models: ComparedModels, classifier: Classifier) -> Classifier | None:
    """Load the model to compare with, if any: a source, or "original" for the one that a run started from."""
    baseline = models.baseline
    if baseline is None:
        return None
    if baseline == "original":
        if not isinstance(models.model, (str, Path)):
            kind = type(models.model).__name__
            raise UserError(f"expected a run folder as the model of --baseline original, got a {kind}: name the folder")
        other = load_original(models.model)
    else:
        other = load_given(replace(models, model=baseline, checkpoint=None), CLASSIFIERS)
    if other.num_classes != classifier.num_classes or other.head_kind != classifier.head_kind:
        raise UserError(
            f"expected a model of {classifier.num_classes} classes ({classifier.head_kind}) to compare with "
            f"{classifier}, {baseline} has {other.num_classes} ({other.head_kind}): name one with the same outputs"
        )
    if other.class_names and classifier.class_names and other.class_names != classifier.class_names:
        raise UserError(f"expected {baseline} to have the classes of {classifier} in the same order, it has others")
    return other
