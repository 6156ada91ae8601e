"""Models of timm: by name with or without tag, from the hub, and from the folders that runs write."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import timm
import timm.models
from safetensors import safe_open
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from robustvit.common.errors import UserError, did_you_mean
from robustvit.models.bounds import check_folder
from robustvit.models.classifier import Classifier
from robustvit.models.heads import classes_of, describe_head, head_of
from robustvit.models.kinds import is_timm
from robustvit.models.libraries.library import (
    Library,
    Loaded,
    Wanted,
    readable_errors,
    refuse_other_head,
    separate_weights,
)
from robustvit.models.recipes import CARDS
from robustvit.models.state_dicts import fit_names
from robustvit.models.weights import warn_of_resampling

_HEADS = ("head", "head_dist", "fc_norm", "classifier")


class Timm(Library):
    """See ``Library``; names are timm's, ``hf-hub:OWNER/NAME`` or ``local-dir:FOLDER``."""

    name = "timm"

    def owns(self, network: nn.Module) -> bool:
        """Whether timm built a network by name, so that it can build it again; classes derived from timm's are not."""
        return is_timm(network) and type(network).__module__.startswith("timm.")

    def load(self, name: str, wanted: Wanted) -> Loaded:
        _check_name(name)
        folder = Path(name.removeprefix("local-dir:")) if name.startswith("local-dir:") else None
        if folder is not None:
            given = None if wanted.state is None else wanted.checkpoint
            check_folder(folder, lambda: timm.create_model(name, pretrained=False), given)
        if wanted.headless:
            return self._load_headless(name, wanted)
        network = _create(name, wanted.classes, wanted.pretrained, wanted.input_size)
        if wanted.state is not None:
            self.load_state(network, wanted.state, str(wanted.checkpoint))
        elif folder is not None:
            _say_if_resampled(network, folder)
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
            state = fit_names(wanted.state, own, str(wanted.checkpoint))
            state = {k: v for k, v in state.items() if k in own or k.split(".")[0] not in _HEADS}
            self.load_state(network, state, str(wanted.checkpoint))
        return Loaded(network)

    def class_names(self, network: nn.Module) -> tuple[str, ...]:
        """Return names stored with a network, or ImageNet's for 1,000 classes."""
        config = getattr(network, "pretrained_cfg", None) or {}
        names = tuple(config.get("label_names") or ())
        return names if names and len(names) == classes_of(network) else super().class_names(network)

    def rebuild(self, folder: Path, config: dict[str, Any]) -> nn.Module:
        return timm.create_model(config["architecture"], pretrained=False, **config["model_args"])

    def own_head(self, network: nn.Module) -> list[list[Any]] | None:
        head = head_of(network)
        return describe_head(head) if isinstance(head, nn.Sequential) else None

    def save(self, classifier: Classifier, folder: Path) -> None:
        """Write a folder that ``timm.create_model("local-dir:FOLDER", pretrained=True)`` loads.

        A head of several layers is described with timm's settings; ``load_model`` alone can load it.
        """
        network: Any = classifier.network
        config: dict[str, Any] = {"num_classes": classifier.outputs}
        config["pretrained_cfg"] = classifier.preprocessing.as_timm() | config
        if classifier.class_names:
            config["label_names"] = list(classifier.class_names)
        if (own_head := self.own_head(network)) is not None:
            config |= {"library": self.name, "own_head": own_head, "label_names": list(classifier.class_names)}
            config["preprocessing"] = asdict(classifier.preprocessing)
        weights = separate_weights(network)
        said, network.num_classes = network.num_classes, classifier.outputs  # outdated if the head was replaced
        network.state_dict = lambda: weights  # timm saves this, and would fail on weights that share memory
        try:
            timm.models.save_for_hf(network, str(folder), model_config=config, safe_serialization=True)
        finally:
            network.num_classes = said
            del network.state_dict


def _say_if_resampled(network: nn.Module, folder: Path) -> None:
    """Say that timm resampled the position embeddings in a folder."""
    file = folder / "model.safetensors"
    if not isinstance(network, VisionTransformer) or network.pos_embed is None or not file.is_file():
        return
    with safe_open(file, "pt") as stored:
        shape = stored.get_slice("pos_embed").get_shape() if "pos_embed" in stored.keys() else []  # noqa: SIM118
        if len(shape) == 3 and shape[1] != network.pos_embed.shape[1]:
            warn_of_resampling(network, stored.get_tensor("pos_embed"), folder)


def _check_name(name: str) -> None:
    if name.startswith(("hf-hub:", "local-dir:")) or timm.is_model(name.split(".")[0]):
        return
    if Path(name).is_file():
        raise UserError(
            f"expected the name or the folder of a model, found a file at {name}: if it holds weights, give the name "
            "of their model and --checkpoint for the file"
        )
    parent = Path(name).parent
    folders = [str(parent / one.name) for one in parent.iterdir() if one.is_dir()] if parent.is_dir() else []
    known = [*folders, *timm.list_pretrained(), *timm.list_models(), *CARDS]
    hint = did_you_mean(name, known) or "timm.list_models() lists all names"
    raise UserError(f"unknown model {name!r}, and no folder of that name is here: {hint}")


def _create(
    name: str, num_classes: int | None, pretrained: bool, size: tuple[int, int] | None = None, **options: Any
) -> nn.Module:
    options |= {} if num_classes is None else {"num_classes": num_classes}
    pretrained = pretrained or name.startswith("local-dir:")
    if size is not None and (sized := _create_sized(name, pretrained, size, options)) is not None:
        return sized
    with readable_errors(name, "--checkpoint FILE or --model FOLDER"):
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


def _create_sized(name: str, pretrained: bool, size: tuple[int, int], options: dict[str, Any]) -> nn.Module | None:
    """Create a network for images of another size than its name says, or None if its size is not fixed."""
    try:
        return _create(name, options.get("num_classes"), pretrained, img_size=size)
    except UserError as error:
        if "img_size" not in str(error):
            raise
        return None


def _unknown_tag(name: str) -> UserError:
    base = name.split(".")[0]
    hint = did_you_mean(name, timm.list_pretrained(f"{base}.*") or [base], cutoff=0.0)
    return UserError(f"unknown weights {name!r}: {hint}")
