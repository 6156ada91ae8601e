"""Adapters of peft (LoRA and others): put on their model, merged into it or kept apart, and saved as they came."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from robustvit.common.errors import UserError
from robustvit.common.extras import import_extra
from robustvit.common.files import read_json
from robustvit.common.progress import warn
from robustvit.models.checkpoints import read_file
from robustvit.models.state_dicts import in_float32, list_differences

if TYPE_CHECKING:
    from peft import PeftModel

ADAPTER = "adapter"  # a folder inside that of a saved model
_SETTINGS = "adapter_config.json"
_FILES = ("adapter_model.safetensors", "adapter_model.bin")
_PREFIX = "base_model.model."


@dataclass(frozen=True)
class AdapterFiles:
    """A folder in which peft saved an adapter: ``adapter_config.json`` and the weights."""

    folder: Path

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings in ``adapter_config.json``."""
        settings = read_json(self.folder / _SETTINGS)
        if not isinstance(settings, dict) or "peft_type" not in settings:
            raise UserError(f"expected settings of an adapter of peft in {self.folder / _SETTINGS}: save it again")
        return settings

    @cached_property
    def state(self) -> dict[str, Tensor]:
        """Its weights by name."""
        _ = self.settings  # broken settings are reported first
        file = next((self.folder / name for name in _FILES if (self.folder / name).is_file()), None)
        if file is None:
            raise UserError(f"expected {_FILES[0]} beside {self.folder / _SETTINGS}, found none: copy it there, too")
        state = read_file(file)
        if not isinstance(state, dict) or not all(isinstance(weight, Tensor) for weight in state.values()):
            raise UserError(f"expected the weights of an adapter in {file}: save it again with save_pretrained")
        return in_float32(state, file)

    @property
    def replaced(self) -> frozenset[str]:
        """Names of the model's weights that the adapter replaces whole, such as those of the head."""
        return frozenset(name.removeprefix(_PREFIX) for name in self.state)

    def put_on(self, network: nn.Module, kept: bool) -> tuple[nn.Module, KeptAdapter | None]:
        """Return a network with the adapter merged into its weights, or ``kept`` apart; the network is changed."""
        model = _add_adapter(network, self)
        if kept:
            adapter = _keep_apart(model)
            return adapter.network, adapter
        warn(f"the adapter in {self.folder} is merged into the weights of {type(network).__name__}")
        return merge(model), None

    def base(self) -> str:
        """Return the name of the model that the adapter was made for."""
        named = self.settings.get("base_model_name_or_path")
        if not named:
            raise UserError(
                f"{self.folder} is an adapter that does not say which model it was made for: name that with --model, "
                f"and the adapter with --checkpoint {self.folder}"
            )
        library = str((self.settings.get("auto_mapping") or {}).get("parent_library") or "")
        if Path(named).exists():
            return str(named)
        return f"{'hf-hub' if library.startswith('timm') else 'transformers'}:{named}"


@dataclass(frozen=True)
class KeptAdapter:
    """An adapter that is trained without merging it.

    Attributes:
        model: peft's model around the classifier's network.
        names: parameters of the network that belong to the adapter.
    """

    model: PeftModel
    names: frozenset[str]

    @property
    def network(self) -> nn.Module:
        """The network with the layers of the adapter in it."""
        network: nn.Module = self.model.base_model.model
        return network

    def of(self, network: nn.Module) -> KeptAdapter:
        """Return the adapter; refuse a network that it is not in."""
        if network is not self.network:
            raise UserError(
                f"the adapter of {type(network).__name__} cannot be trained alone inside another module: give peft the "
                "model itself, or leave out --train adapter, which merges it"
            )
        return self

    def restore(self, folder: Path) -> None:
        """Restore the weights that peft wrote to a folder."""
        _set_state(self.model, AdapterFiles(folder))


def find_adapter(source: str | Path) -> AdapterFiles | None:
    """Return the adapter in a folder, or in the folder of a file of its weights; None if it has no adapter."""
    path = Path(str(source).removeprefix("transformers:").removeprefix("local-dir:"))
    folder = path.parent if path.name in _FILES else path
    return AdapterFiles(folder) if (folder / _SETTINGS).is_file() else None


def _add_adapter(network: nn.Module, files: AdapterFiles) -> PeftModel:
    """Return peft's model of a network with an adapter on it; the network is changed."""
    peft = import_extra("peft", "peft", f"the adapter {files.folder}")
    try:
        settings = peft.PeftConfig.from_pretrained(str(files.folder))
        settings.inference_mode = False  # otherwise its weights would be frozen too
        model = peft.get_peft_model(network, settings)  # type: ignore[arg-type]
    except Exception as error:  # whatever peft raises
        reason = " ".join((str(error) or type(error).__name__).split())[:200]
        raise UserError(
            f"cannot put the adapter in {files.folder} on {type(network).__name__} ({reason}): name the model it was "
            "made for"
        ) from error
    _set_state(model, files)
    return model


def _set_state(model: PeftModel, files: AdapterFiles) -> None:
    """Load the weights of an adapter; refuse those of another adapter."""
    import peft

    own, given = peft.get_peft_model_state_dict(model), files.state
    if wrong := list_differences(given, own):
        raise UserError(f"the adapter in {files.folder} does not fit its settings or the model: it {wrong[0]}")
    peft.set_peft_model_state_dict(model, given)


def merge(model: PeftModel) -> nn.Module:
    """Return the network of peft's model with the adapter merged into its weights, all of which can be trained."""
    if not hasattr(model, "merge_and_unload"):
        raise UserError(
            f"{type(model).__name__} holds an adapter that cannot be merged into the weights: merge it yourself, and "
            "give the network"
        )
    merged: nn.Module = model.merge_and_unload()
    return merged.requires_grad_(True)  # peft froze all but the adapter


def settle_adapter(
    source: str | Path | nn.Module, checkpoint: str | Path | None
) -> tuple[str | Path | nn.Module, str | Path | None, AdapterFiles | None]:
    """Return model, checkpoint and adapter; the checkpoint, or the model itself, may be a folder with an adapter."""
    if checkpoint is not None and (adapter := find_adapter(checkpoint)) is not None:
        return source, None, adapter
    if not isinstance(source, nn.Module) and (adapter := find_adapter(source)) is not None:
        return adapter.base(), checkpoint, adapter
    return source, checkpoint, None


def keep_given(source: object) -> KeptAdapter | None:
    """Return the adapter of a model of peft, in a copy of it in float32; None of anything else."""
    return _keep_apart(copy.deepcopy(source).float()) if isinstance(source, nn.Module) and is_adapted(source) else None


def _keep_apart(model: PeftModel) -> KeptAdapter:
    """Return the adapter of a model, apart from its weights: it alone is trained."""
    if not hasattr(model, "merge_and_unload"):
        raise UserError(
            f"{type(model).__name__} holds an adapter without layers, which cannot be trained here: use an adapter "
            "such as LoRA"
        )
    network = model.base_model.model
    trained = frozenset(name for name, weight in network.named_parameters() if weight.requires_grad)
    return KeptAdapter(model, trained)


def is_adapted(module: nn.Module) -> bool:
    """Whether a module is a model of peft: a network with an adapter in its layers."""
    return any(kind.__module__.startswith("peft.") for kind in type(module).__mro__) and hasattr(module, "base_model")
