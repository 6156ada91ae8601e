"""Models of timm: by name with or without tag, from the hub, and from the folders that runs write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import timm.models
from torch import nn

from robustvit.common.errors import UserError, did_you_mean
from robustvit.models.classifier import Classifier, classes_of, made_by
from robustvit.models.libraries.library import (
    Library,
    Loaded,
    Wanted,
    readable_errors,
    refuse_other_head,
    separate_weights,
)
from robustvit.models.recipes import CARDS


class Timm(Library):
    """See ``Library``; names are timm's, ``hf-hub:OWNER/NAME`` or ``local-dir:FOLDER``."""

    name = "timm"

    def owns(self, network: nn.Module) -> bool:
        """Whether a network is of a class of timm or derived from one."""
        return made_by(network, "timm")

    def load(self, name: str, wanted: Wanted) -> Loaded:
        """Load a model; see ``Library``."""
        _check_name(name)
        if wanted.headless:
            return self._load_headless(name, wanted)
        network = _create(name, wanted.classes, wanted.pretrained)
        if wanted.state is not None:
            self.load_state(network, wanted.state, str(wanted.checkpoint))
        return Loaded(network, class_names=self.class_names(network))

    def _load_headless(self, name: str, wanted: Wanted) -> Loaded:
        """Load a network without its head, for images of any size if the architecture supports that."""
        try:
            network = _create(name, 0, wanted.pretrained, dynamic_img_size=True)
        except UserError as error:
            if "dynamic_img_size" not in str(error):
                raise
            network = _create(name, 0, wanted.pretrained)
        if wanted.state is not None:
            own = network.state_dict()
            heads = ("head", "head_dist", "fc_norm", "classifier")
            kept = {k: v for k, v in wanted.state.items() if k in own or k.split(".")[0] not in heads}
            self.load_state(network, kept, str(wanted.checkpoint))
        return Loaded(network)

    def class_names(self, network: nn.Module) -> tuple[str, ...]:
        """Return names stored with a network, or ImageNet's for 1,000 classes."""
        config = getattr(network, "pretrained_cfg", None) or {}
        names = tuple(config.get("label_names") or ())
        return names if names and len(names) == classes_of(network) else super().class_names(network)

    def save(self, classifier: Classifier, folder: Path) -> None:
        """Write a folder that ``timm.create_model("local-dir:FOLDER", pretrained=True)`` loads."""
        config: dict[str, Any] = {"num_classes": classifier.num_classes}
        config["pretrained_cfg"] = classifier.preprocessing.as_timm() | config
        if classifier.class_names:
            config["label_names"] = list(classifier.class_names)
        network: Any = classifier.network
        network.pretrained_cfg = getattr(network, "pretrained_cfg", None) or {"architecture": type(network).__name__}
        weights = separate_weights(network)
        network.state_dict = lambda: weights  # timm saves this, and would fail on weights that share memory
        try:
            timm.models.save_for_hf(network, str(folder), model_config=config, safe_serialization=True)
        finally:
            del network.state_dict


def _check_name(name: str) -> None:
    if name.startswith(("hf-hub:", "local-dir:")) or timm.is_model(name.split(".")[0]):
        return
    known = [*timm.list_pretrained(), *timm.list_models(), *CARDS]
    raise UserError(f"unknown model {name!r}: {did_you_mean(name, known) or 'timm.list_models() names them all'}")


def _create(name: str, num_classes: int | None, pretrained: bool, **options: Any) -> nn.Module:
    options |= {} if num_classes is None else {"num_classes": num_classes}
    pretrained = pretrained or name.startswith("local-dir:")
    with readable_errors(name, "--checkpoint FILE or --model local-dir:FOLDER"):
        try:
            network = timm.create_model(name, pretrained=pretrained, **options)
        except RuntimeError as error:
            raise _unknown_tag(name) if "invalid pretrained tag" in str(error).lower() else error from None
        except (TypeError, KeyError) as error:
            if not name.startswith("local-dir:"):
                raise
            raise UserError(
                f"cannot load {name}: the architecture that its config.json names does not go with its other settings "
                f"({error}); name the architecture that its weights are of"
            ) from error
    stored = (getattr(network, "pretrained_cfg", None) or {}).get("num_classes")
    refuse_other_head(name, stored if pretrained else None, num_classes or None)
    return network


def _unknown_tag(name: str) -> UserError:
    base = name.split(".")[0]
    hint = did_you_mean(name, timm.list_pretrained(f"{base}.*") or [base], cutoff=0.0)
    return UserError(f"unknown weights {name!r}: {hint}")
