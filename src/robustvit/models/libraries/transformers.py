"""Image classifiers of transformers: by hub name, or from a folder of ``save_pretrained``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from robustvit.common.errors import UserError
from robustvit.common.extras import import_extra
from robustvit.common.files import write_json
from robustvit.common.options import HeadKind
from robustvit.models.bounds import check_folder, check_settings
from robustvit.models.classifier import Classifier
from robustvit.models.heads import classes_of, describe_changed_head, head_of
from robustvit.models.kinds import is_transformers
from robustvit.models.libraries.library import (
    Library,
    Loaded,
    Wanted,
    readable_errors,
    refuse_other_head,
    separate_weights,
)
from robustvit.models.libraries.processors import convert_processor, describe_processor
from robustvit.models.preprocessing import Preprocessing
from robustvit.models.quantised import refuse_quantised_settings
from robustvit.models.state_dicts import fit_names, peel, say_float32
from robustvit.models.weights import load_weights

if TYPE_CHECKING:
    from transformers import AutoModelForImageClassification, PreTrainedModel

_WAY_OUT = "--model transformers:FOLDER, a folder that save_pretrained wrote"


class Transformers(Library):
    """See ``Library``; names are the hub's, ``OWNER/NAME``, or folders."""

    name = "transformers"

    def owns(self, network: nn.Module) -> bool:
        """Whether a network is of a class of transformers."""
        return is_transformers(network) and type(network).__module__.startswith("transformers.")

    def load(self, name: str, wanted: Wanted) -> Loaded:
        auto = import_extra("transformers", "transformers").AutoModelForImageClassification
        folder = Path(name)
        if folder.is_dir():
            given = None if wanted.state is None else wanted.checkpoint
            check_settings(folder / "preprocessor_config.json")
            with quiet():
                check_folder(folder, lambda: auto.from_config(_config(name, wanted)), given)
        with readable_errors(f"transformers:{name}", _WAY_OUT), quiet():
            network = self._fetch(auto, name, wanted) if wanted.pretrained else auto.from_config(_config(name, wanted))
        network.float()
        if wanted.state is not None:
            self.load_state(network, wanted.state, str(wanted.checkpoint))
        processing = _read_processing(name, network)
        return Loaded(network, processing, self.class_names(network), guessed=processing is None)

    def _fetch(self, auto: type[AutoModelForImageClassification], name: str, wanted: Wanted) -> Any:
        """Load a network with all of its published weights, except those that an adapter replaces."""
        config = _config(name, wanted if wanted.replaced else replace(wanted, num_classes=None))
        refuse_quantised_settings(config.to_dict(), f"transformers:{name}")
        network, report = auto.from_pretrained(
            name, config=config, output_loading_info=True, trust_remote_code=False, ignore_mismatched_sizes=True
        )
        if getattr(network, "_hf_peft_config_loaded", False):
            raise UserError(
                f"transformers:{name} is an adapter: name the model it was made for with --model, and a folder with "
                "the adapter's files with --checkpoint"
            )
        _refuse_mismatched(name, [one for one in report["mismatched_keys"] if one[0] not in wanted.replaced])
        _refuse_missing(name, sorted(set(report["missing_keys"]) - wanted.replaced))
        refuse_other_head(name, network.config.num_labels, wanted.num_classes)
        if halves := {weight.dtype for weight in network.parameters()} & {torch.float16, torch.bfloat16}:
            say_float32(halves, f"transformers:{name}")
        return network

    def load_state(self, network: PreTrainedModel, state: dict[str, Tensor], origin: str | Path) -> None:
        """Load a state dict with the names of this version of transformers, or with those of files on disk."""
        state = fit_names(state, network.state_dict(), origin)
        if state.keys() != network.state_dict().keys():
            with quiet():
                renamed = (_rename(network, one) for one in peel(state))
                state = next((one for one in renamed if one is not None), state)
        load_weights(network, state, origin)

    def class_names(self, network: PreTrainedModel) -> tuple[str, ...]:
        """Return the names in the configuration, except those that transformers makes up; of synonyms the first."""
        given = getattr(network.config, "id2label", None) or {}
        names = tuple(str(given[key]) for key in sorted(given, key=int))
        if all(re.fullmatch(r"LABEL_\d+", name) for name in names) or len(names) != classes_of(network):
            return ()
        return tuple(name.split(",")[0] for name in names) if len(names) == 1000 else names

    def head_kind(self, network: nn.Module) -> HeadKind | None:
        """Return what ``problem_type`` in the configuration says; see ``Library``."""
        kind = getattr(getattr(network, "config", None), "problem_type", None)
        if kind == "multi_label_classification":
            return "binary" if classes_of(network) == 1 else "multi-label"
        return "regression" if kind == "regression" else None

    def describe(self, network: PreTrainedModel) -> dict[str, Any]:
        return {"architecture": type(network).__name__, "model_args": network.config.to_dict()}

    def rebuild(self, folder: Path, config: dict[str, Any]) -> nn.Module:
        library = import_extra("transformers", "transformers")
        settings = library.AutoConfig.for_model(**config["model_args"])
        network: nn.Module = library.AutoModelForImageClassification.from_config(settings).float()
        return network

    def own_head(self, network: PreTrainedModel) -> list[list[Any]] | None:
        if isinstance(head_of(network), nn.Linear):
            return None
        return describe_changed_head(network, lambda: type(network)(network.config))

    def save(self, classifier: Classifier, folder: Path) -> None:
        """Write a folder that ``AutoModelForImageClassification`` and ``AutoImageProcessor`` load.

        A head of several layers is described with the settings; ``load_model`` alone can load it.
        """
        network: PreTrainedModel = classifier.network
        names = classifier.class_names
        if network.config.num_labels != classifier.outputs:  # outdated if the head was replaced
            network.config.num_labels = classifier.outputs
        if names and names != self.class_names(network) and len(names) == classifier.outputs:
            network.config.id2label = dict(enumerate(names))
            network.config.label2id = {name: index for index, name in enumerate(names)}
        if self.own_head(network) is not None:
            return super().save(classifier, folder)
        weights = separate_weights(network)
        with quiet():  # one file, whatever the size
            network.save_pretrained(folder, state_dict=weights, max_shard_size="1000GB")
        write_json(describe_processor(classifier.preprocessing), folder / "preprocessor_config.json")
        return None


@contextmanager
def quiet() -> Iterator[None]:
    """Hide messages and progress bars of transformers."""
    logs = import_extra("transformers.utils.logging", "transformers")
    level, bars = logs.get_verbosity(), logs.is_progress_bar_enabled()
    logs.set_verbosity(logs.CRITICAL)
    logs.disable_progress_bar()
    try:
        yield
    finally:
        logs.set_verbosity(level)
        if bars:
            logs.enable_progress_bar()


def _config(name: str, wanted: Wanted) -> Any:
    """Return the configuration of a name, with the number of classes given or read from a checkpoint."""
    config = import_extra("transformers", "transformers").AutoConfig.from_pretrained(name, trust_remote_code=False)
    if wanted.classes not in (None, config.num_labels):
        config.num_labels = wanted.classes
    return config


def _refuse_mismatched(name: str, mismatched: Iterable[Any]) -> None:
    """Refuse weights of other shapes than the configuration describes."""
    wrong = sorted(((str(key), tuple(theirs), tuple(ours)) for key, theirs, ours in mismatched), key=str)
    if not wrong:
        return
    key, theirs, ours = wrong[0]
    if theirs[1:] == ours[1:]:
        raise UserError(
            f"cannot load {name}: its config.json says {ours[0]} classes (id2label or num_labels), its weights have a "
            f"head of {theirs[0]} ({key}): correct config.json, or name the checkpoint that belongs to it"
        )
    raise UserError(
        f"cannot load {name}: its config.json does not belong to its weights, {key} is {theirs} in the file and {ours} "
        "in the model it describes: put back the config.json that they were saved with"
    )


def _refuse_missing(name: str, missing: list[str]) -> None:
    if missing:
        raise UserError(
            f"the weights of {name} lack {missing[0]}{f' and {len(missing) - 1} more' if len(missing) > 1 else ''}: "
            "name a model that was trained to classify images"
        )


def _rename(network: PreTrainedModel, state: dict[str, Tensor]) -> dict[str, Tensor] | None:
    """Rename a state dict as transformers renames those of files; None if it does not fit."""
    try:
        fresh, report = type(network).from_pretrained(
            None, config=network.config, state_dict=dict(state), output_loading_info=True
        )
    except (RuntimeError, ValueError):
        return None
    if report["missing_keys"] or report["unexpected_keys"]:
        return None
    return fresh.state_dict()


def _read_processing(name: str, network: PreTrainedModel) -> Preprocessing | None:
    """Return the preprocessing of the image processor stored with a model, or None."""
    try:
        with quiet():
            auto = import_extra("transformers", "transformers").AutoImageProcessor
            found = auto.from_pretrained(name, trust_remote_code=False).to_dict()
    except (OSError, ValueError):
        return None
    return convert_processor(found, Preprocessing.of(network))
