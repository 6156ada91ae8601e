"""Loading image classifiers from any source: a library, the hub, a folder, a run, a module."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from robustvit.common.errors import UserError
from robustvit.common.options import ClassNames, HeadKind, Normalization
from robustvit.common.progress import warn
from robustvit.models.adapters import keep_given, settle_adapter
from robustvit.models.classifier import Classifier, read_names, set_names
from robustvit.models.folders import load_folder, read_settings_beside
from robustvit.models.forward_pass import run_on_noise
from robustvit.models.given_modules import check_channels, read_module
from robustvit.models.given_preprocessing import GivenPreprocessing
from robustvit.models.head_kinds import ONE_CLASS, expect_head, settle_head
from robustvit.models.heads import count_head_classes
from robustvit.models.kinds import channels_of, is_known
from robustvit.models.libraries import LIBRARIES, Loaded, Wanted, library_of
from robustvit.models.libraries.library import imagenet_names
from robustvit.models.options import GivenModel, ModelOptions
from robustvit.models.preprocessing import Preprocessing
from robustvit.models.recipes import CARDS, model_card
from robustvit.models.shards import find_weights
from robustvit.models.state_dicts import holds_all, read_checkpoint, split_entry
from robustvit.models.unwrap import unwrap
from robustvit.models.weights import load_weights


def load_model(
    source: str | Path | nn.Module,
    *,
    num_classes: int | None = None,
    checkpoint: str | Path | None = None,
    pretrained: bool = True,
    normalization: Normalization = "model",
    class_names: ClassNames | Path | None = None,
    head: HeadKind | Literal["none"] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
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
            ``multi-label``, a sigmoid for each class; ``regression`` or ``ordinal``, which are explained only;
            ``none``, for features: backbones without a head are accepted, and timm's heads are dropped. Default: as
            the model says, else ``softmax``.
        preprocessing: any of ``mean``, ``std``, ``input_size`` and ``interpolation``, instead of the model's own.

    Returns:
        A ``Classifier`` in evaluation mode.

    Raises:
        UserError: unknown name, missing folder, weights that cannot be fetched, a checkpoint that does not fit, a
            library that is not installed, names that are not the model's, weights that are NaN or infinite, a module
            that does not say how photos are prepared for it, a single output whose meaning is not known.
    """
    options = ModelOptions(
        num_classes=num_classes,
        checkpoint=None if checkpoint is None else str(checkpoint),
        normalization=normalization,
        class_names=str(class_names) if isinstance(class_names, Path) else class_names,
        head=None if head == "none" else head,
        **GivenPreprocessing.read(preprocessing or {}).changes,
    )
    return load_by_options(source, options, pretrained=pretrained, headless=head == "none")


def load_by_options(
    source: str | Path | nn.Module,
    options: ModelOptions,
    *,
    pretrained: bool = True,
    headless: bool = False,
    keep_adapter: bool = False,
) -> Classifier:
    """Load a classifier as ``load_model`` does, by ``options``, whose ``model`` is not read.

    ``headless``: only features are needed. ``keep_adapter``: keep an adapter (LoRA) apart, so that it alone can be
    trained, instead of merging it.
    """
    names = None if options.class_names is None else read_names(options.class_names)
    source, checkpoint, adapter = settle_adapter(source, options.checkpoint)
    state = read_checkpoint(checkpoint) if checkpoint is not None else None
    file = None if checkpoint is None else str(find_weights(split_entry(checkpoint)[0]))
    given = GivenPreprocessing.read(options.preprocessing)
    wanted = Wanted(options.num_classes, state, file, pretrained and state is None, names, headless, given.input_size)
    kept = keep_given(source) if keep_adapter else None
    if adapter is not None:
        classes = wanted.num_classes or count_head_classes(adapter.state)
        wanted = replace(wanted, num_classes=classes, replaced=adapter.replaced)
    network = source if kept is None else kept.network
    classifier = _load_any(network, wanted, given, options.normalization or "model")
    if adapter is not None:
        classifier.network, kept = adapter.put_on(classifier.network, keep_adapter)
    classifier.adapter = None if kept is None else kept.of(classifier.network)
    if classifier.preprocessing.channels == 1:
        warn(f"{classifier} takes images of one channel: colour photos become grey for it")
    if headless:
        return set_names(_check_finite(classifier), names)
    return set_names(settle_head(_check_finite(classifier), options.head, names), names)


def load_given(options: GivenModel, heads: Collection[HeadKind] = ONE_CLASS) -> Classifier:
    """Load the model that a command's options name; refuse a kind of head that is not among ``heads``."""
    return expect_head(load_by_options(options.model, options), heads)


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


def _load_module(
    network: nn.Module, wanted: Wanted, given: GivenPreprocessing, normalization: Normalization
) -> Classifier:
    """Load a module given from Python; see ``read_module``."""
    source = str(getattr(network, "name", type(network).__name__))
    saved, saved_names, pixels, head = read_settings_beside(wanted.checkpoint)
    own = saved or Preprocessing.recorded(network)
    if own is None and normalization == "paper" and given.input_size is not None:
        own = Preprocessing(given.input_size)
    if own is not None and saved is None:
        own = own.normalized(normalization)
    state = wanted.state
    if state is not None and not is_known(network) and holds_all(state, network.state_dict()):
        load_weights(network, state, str(wanted.checkpoint))  # under the names of the module around a library's network
        state = None
    found = read_module(network, given, own, exact=saved is not None)
    library = library_of(found.network)
    if state is not None:
        library.load_state(found.network, state, str(wanted.checkpoint))
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
    """Load weights into a classifier given from Python, and measure the network in it; refuse other preprocessing."""
    if wanted.state is not None:
        library_of(classifier.network).load_state(classifier.network, wanted.state, str(wanted.checkpoint))
    if given.changes:
        raise UserError(
            "expected no --mean, --std, --input-size and --interpolation for a Classifier: give it its Preprocessing"
        )
    if classifier.classes is None and not is_known(classifier.network):
        found = read_module(classifier.network, given, classifier.preprocessing, exact=True)
        classifier.kind, classifier.readout, classifier.classes = found.kind, found.readout, found.classes
    return classifier


def _load_by_name(source: str, wanted: Wanted, given: GivenPreprocessing, normalization: Normalization) -> Classifier:
    """Load the classifier that a name or a folder stands for; see ``_find_network``."""
    loaded = _find_network(source, wanted)
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
        run_on_noise(loaded.network, own)  # refuse a size that the model does not take
    classifier = Classifier(loaded.network, preprocessing=own, class_names=loaded.class_names, source=source)
    classifier.pixels = loaded.pixels
    classifier.recorded_head = loaded.head
    return classifier.eval()


def _find_network(source: str, wanted: Wanted) -> Loaded:
    """Load a network by its library's name, or from a folder; without a prefix, timm's."""
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
