"""Loading the model to compare with: the original that a run started from, or any other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from robustvit.common.errors import UserError, nearest
from robustvit.common.run_folder import MODULE, RunFolder
from robustvit.models.classifier import Classifier
from robustvit.models.head_kinds import CLASSIFIERS
from robustvit.models.libraries import LIBRARIES
from robustvit.models.load import load_by_options, load_given
from robustvit.models.options import ComparedModels, ModelOptions, given_preprocessing
from robustvit.models.origin import is_local
from robustvit.models.recipes import CARDS, recipe_settings
from robustvit.models.state_dicts import AverageAsked, split_entry


def load_baseline(models: ComparedModels, classifier: Classifier) -> Classifier | None:
    """Load the model to compare with, if any: a source, or "original" for the model that a run started from."""
    baseline = models.baseline
    if baseline is None:
        return None
    if baseline == "original":
        if not isinstance(models.model, (str, Path)):
            kind = type(models.model).__name__
            raise UserError(f"expected a run folder as the model of --baseline original, got a {kind}: name the folder")
        other = load_original(models.model)
    else:
        if isinstance(baseline, str) and not Path(baseline).exists() and nearest(baseline, ["original"], cutoff=0.7):
            raise UserError(f"expected --baseline original or a model, got {baseline!r}: did you mean original?")
        other = load_given(replace(models, model=baseline, checkpoint=None), CLASSIFIERS)
    if other.num_classes != classifier.num_classes or other.head_kind != classifier.head_kind:
        raise UserError(
            f"expected a model of {classifier.num_classes} classes ({classifier.head_kind}) to compare with "
            f"{classifier}, {baseline} has {other.num_classes} ({other.head_kind}): name one with the same outputs"
        )
    if other.class_names and classifier.class_names and other.class_names != classifier.class_names:
        raise UserError(f"expected {baseline} to have the classes of {classifier} in the same order, got others")
    return other


def load_original(run: str | Path) -> Classifier:
    """Load the model that a run started from, by its settings."""
    config = RunFolder(run).config()
    recipe = config["recipe"]
    if str(config["model"]).startswith(MODULE):
        raise UserError(f"{run} started from {config['model']}: load that model yourself and name it as the baseline")
    if lacking := _find_missing(config):
        raise UserError(
            f"{run} started from {lacking}, which is no longer there: put it back (relative names count from the "
            "folder that finetune was called in), or name where the original is now, --baseline local-dir:FOLDER"
        )
    options = ModelOptions(
        num_classes=config["num_classes"],
        checkpoint=config["checkpoint"],
        class_names=config.get("class_names"),
        head=config.get("head", "softmax"),  # older versions knew no other
        normalization=config["normalization"] or recipe_settings(recipe).get("normalization", "model"),
        **given_preprocessing(config),
    )
    return load_settled(config["model"] or recipe, options)


def load_settled(source: str | Path | nn.Module, options: ModelOptions, *, keep_adapter: bool = False) -> Classifier:
    """Load the model that a run started from; of a checkpoint with an average, older versions used the average."""
    try:
        return load_by_options(source, options, keep_adapter=keep_adapter)
    except AverageAsked as asked:
        return load_by_options(source, replace(options, checkpoint=asked.average), keep_adapter=keep_adapter)


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
