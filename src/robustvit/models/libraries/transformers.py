"""Image classifiers of transformers: by hub name, or from a folder of ``save_pretrained``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from robustvit.common.errors import UserError
from robustvit.common.files import write_json
from robustvit.models.classifier import Classifier, Preprocessing, made_by
from robustvit.models.libraries.library import (
    Library,
    Loaded,
    Wanted,
    imported,
    readable_errors,
    refuse_other_head,
    separate_weights,
)
from robustvit.models.weights import load_weights

_WAY_OUT = "--model transformers:FOLDER, a folder that save_pretrained wrote"
_RESAMPLING = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers


class Transformers(Library):
    """See ``Library``; names are the hub's, ``OWNER/NAME``, or folders."""

    name = "transformers"

    def owns(self, network: nn.Module) -> bool:
        """Whether a network is of a class of transformers."""
        return made_by(network, "transformers") and hasattr(network, "save_pretrained")

    def load(self, name: str, wanted: Wanted) -> Loaded:
        """Load a model; see ``Library``."""
        auto = imported("transformers", "transformers").AutoModelForImageClassification
        with readable_errors(f"transformers:{name}", _WAY_OUT), _quiet():
            if wanted.pretrained:
                network, report = auto.from_pretrained(name, output_loading_info=True, trust_remote_code=False)
                _refuse_missing(name, sorted(report["missing_keys"]))
                refuse_other_head(name, network.config.num_labels, wanted.num_classes)
            else:
                network = auto.from_config(_config(name, wanted))
        network.float()
        if wanted.state is not None:
            self.load_state(network, wanted.state, str(wanted.checkpoint))
        return Loaded(network, _processing(name, network), self.class_names(network))

    def load_state(self, network: Any, state: dict[str, Tensor], origin: str | Path) -> None:
        """Load a state dict with the names of this version of transformers, or with those of files on disk."""
        if state.keys() != network.state_dict().keys():
            with _quiet():
                state = _renamed(network, state) or state
        load_weights(network, state, origin)

    def class_names(self, network: Any) -> tuple[str, ...]:
        """Return names in the configuration, except those that transformers makes up; the first of synonyms."""
        names = tuple(str(name) for _, name in sorted(network.config.id2label.items()))
        if all(re.fullmatch(r"LABEL_\d+", name) for name in names):
            return ()
        return tuple(name.split(",")[0] for name in names) if len(names) == 1000 else names

    def save(self, classifier: Classifier, folder: Path) -> None:
        """Write a folder that ``AutoModelForImageClassification`` and ``AutoImageProcessor`` load."""
        network: Any = classifier.network
        names = classifier.class_names
        if names and names != self.class_names(network):
            network.config.id2label = dict(enumerate(names))
            network.config.label2id = {name: index for index, name in enumerate(names)}
        weights = separate_weights(network)
        with _quiet():  # one file, whatever the size
            network.save_pretrained(folder, state_dict=weights, max_shard_size="1000GB")
        write_json(_processor(classifier.preprocessing), folder / "preprocessor_config.json")


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide messages and progress bars of transformers."""
    logs = imported("transformers.utils.logging", "transformers")
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
    config = imported("transformers", "transformers").AutoConfig.from_pretrained(name, trust_remote_code=False)
    if wanted.classes not in (None, config.num_labels):
        config.num_labels = wanted.classes
    return config


def _refuse_missing(name: str, missing: list[str]) -> None:
    if missing:
        raise UserError(
            f"the weights of {name} lack {missing[0]}{f' and {len(missing) - 1} more' if len(missing) > 1 else ''}: "
            "name a model that was trained to classify images"
        )


def _renamed(network: Any, state: dict[str, Tensor]) -> dict[str, Tensor] | None:
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


def _processing(name: str, network: Any) -> Preprocessing | None:
    """Return the preprocessing of the image processor stored beside a model, or None if there is none."""
    try:
        with _quiet():
            auto = imported("transformers", "transformers").AutoImageProcessor
            found = auto.from_pretrained(name, trust_remote_code=False).to_dict()
    except (OSError, ValueError):
        return None
    return _preprocessing(found, Preprocessing.of(network))


def _preprocessing(found: dict[str, Any], default: Preprocessing) -> Preprocessing:
    if "data_config" in found:  # of a timm model, in timm's words
        return Preprocessing.from_timm(found["data_config"])
    size, crop = found.get("size") or {}, found.get("crop_size") or {}
    size = {"height": size, "width": size} if isinstance(size, int) else size
    crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop
    edge = size.get("shortest_edge")
    resized = (edge, edge) if edge else (size.get("height", 0), size.get("width", 0))
    squash = edge is None
    if not found.get("do_resize", True) or not all(resized):
        resized, squash = default.input_size, False
    target, share = resized, 1.0
    if found.get("do_center_crop") and crop:
        target = (crop["height"], crop["width"])
        share = target[0] / resized[0]
    elif edge and found.get("crop_pct") is not None:  # ConvNeXt's: small inputs are cropped, large ones squashed
        share, squash = (found["crop_pct"], False) if edge < 384 else (1.0, True)
    normalize = found.get("do_normalize", True)
    return Preprocessing(
        target,
        tuple(found.get("image_mean") or default.mean) if normalize else (0.0, 0.0, 0.0),
        tuple(found.get("image_std") or default.std) if normalize else (1.0, 1.0, 1.0),
        share,
        _RESAMPLING.get(found.get("resample", 3), "bicubic"),
        squash,
    )


def _processor(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return the settings of an image processor that prepares photos the same way."""
    (height, width), resized = preprocessing.input_size, preprocessing.resized
    whole = preprocessing.resizes_both_sides
    return {
        "image_processor_type": "BitImageProcessor",
        "do_resize": True,
        "size": {"height": resized[0], "width": resized[1]} if whole else {"shortest_edge": resized[0]},
        "resample": {name: number for number, name in _RESAMPLING.items()}.get(preprocessing.interpolation, 3),
        "do_center_crop": True,
        "crop_size": {"height": height, "width": width},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocessing.mean),
        "image_std": list(preprocessing.std),
        "do_convert_rgb": True,
    }
