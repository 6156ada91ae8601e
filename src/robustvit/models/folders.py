"""Model folders: of save_model, of a run, of timm and of transformers."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from robustvit.common.errors import UserError
from robustvit.common.files import read_json
from robustvit.common.options import HeadKind
from robustvit.common.photo_options import PixelOptions
from robustvit.common.progress import warn
from robustvit.common.run_folder import RunFolder
from robustvit.common.verdict_files import read_verdict
from robustvit.models.bounds import check_folder, check_settings
from robustvit.models.heads import build_head, replace_head
from robustvit.models.libraries import LIBRARIES, Library, Loaded, Wanted
from robustvit.models.libraries.library import readable_errors, refuse_other_head
from robustvit.models.preprocessing import Preprocessing
from robustvit.models.quantised import refuse_quantised_settings
from robustvit.models.shards import WEIGHT_SUFFIXES
from robustvit.models.state_dicts import say_float32

_NAMES = {torch.bfloat16: "BF16", torch.float16: "F16"}  # in the headers of safetensors
_PACKAGE = Path(__file__).resolve().parents[1]


class SavedSettings(NamedTuple):
    """Settings in the folder of a file of weights: preprocessing, class names, reading of photos, kind of head."""

    preprocessing: Preprocessing | None = None
    class_names: tuple[str, ...] = ()
    pixels: PixelOptions = PixelOptions()
    head: HeadKind | None = None


def load_folder(folder: Path, library: Library, wanted: Wanted) -> Loaded:
    """Load the model in a folder or in the ``best/`` of a run, with the library that its ``config.json`` names."""
    check_settings(folder / "open_clip_config.json")
    if library.name == "open_clip" and (folder / "open_clip_config.json").is_file():
        return library.load(str(folder), wanted)
    inner = next((one for one in (folder, folder / "best") if (one / "config.json").is_file()), None)
    if inner is None:
        raise UserError(_explain_folder(folder))
    check_settings(inner / "config.json")
    config = _read_config(inner)
    refuse_quantised_settings(config, inner)
    if "model_type" not in config:
        _say_halves(inner / "model.safetensors")
    _warn_if_refused(inner)
    wanted = replace(wanted, pretrained=wanted.state is None)  # a folder holds its own weights
    pixels = _read_pixels(config, inner)
    if str(config.get("library")) in LIBRARIES:
        loaded = _rebuild(inner, LIBRARIES[config["library"]], config, wanted)
    elif "model_type" in config:
        loaded = LIBRARIES["transformers"].load(str(inner), wanted)
    else:
        loaded = LIBRARIES["timm"].load(f"local-dir:{inner}", wanted)
    head = _read_head(config, inner)
    names = tuple(map(str, config.get("label_names") or ())) if head == "binary" else loaded.class_names
    return replace(loaded, pixels=pixels, head=head, class_names=names)


def _read_head(config: dict[str, Any], folder: Path) -> HeadKind | None:
    """Return the kind of head that ``save_model`` recorded, or None."""
    said = config.get("head")
    if said is None or said in get_args(HeadKind):
        return said
    raise UserError(
        f"cannot load {folder}: its config.json says head {said!r:.60}, expected {', '.join(get_args(HeadKind))}: fix "
        "or remove that entry"
    )


def _read_pixels(config: dict[str, Any], folder: Path) -> PixelOptions:
    """Return how the photos of a run were read, as ``save_model`` recorded it."""
    said = config.get("pixels") or {}
    try:
        return PixelOptions(**said)
    except (TypeError, UserError) as error:
        raise UserError(
            f"cannot load {folder}: its config.json says pixels {said!r:.80}, expected a range and alpha as finetune "
            "writes them: fix or remove that entry"
        ) from error


def _say_halves(file: Path) -> None:
    """Say that weights of 16 bits are converted; folders of transformers say so once they are loaded.

    The embedded model of the package is left out, as it is not the user's.
    """
    if file.is_file() and not file.resolve().is_relative_to(_PACKAGE):
        with suppress(Exception), safe_open(file, "pt") as weights:  # a broken file is refused when it is loaded
            kinds = {weights.get_slice(name).get_dtype() for name in weights.keys()}  # noqa: SIM118 - no dictionary
            if halves := [kind for kind, name in _NAMES.items() if name in kinds]:
                say_float32(halves, file.parent)


def _explain_folder(folder: Path) -> str:
    """Say in one line what a folder without ``config.json`` holds, and how to load it."""
    expected = f"expected a model folder with config.json at {folder}, or a run folder with best/ in it"
    if files := sorted(file for file in folder.rglob("*") if file.suffix in WEIGHT_SUFFIXES):
        return f"{expected}; it holds weights: give the model's name and --checkpoint {files[0]}"
    return expected


def read_settings_beside(checkpoint: str | None) -> SavedSettings:
    """Return the settings that ``save_model`` wrote to the folder of a file of weights, if it did."""
    file = Path(checkpoint or "").parent / "config.json"
    if checkpoint is None or not file.is_file():
        return SavedSettings()
    config = _read_config(file.parent)
    if str(config.get("library")) not in LIBRARIES or not isinstance(config.get("preprocessing"), dict):
        return SavedSettings()
    names = tuple(map(str, config.get("label_names") or ()))
    pixels, head = _read_pixels(config, file.parent), _read_head(config, file.parent)
    return SavedSettings(Preprocessing.from_dict(config["preprocessing"]), names, pixels, head)


def _read_config(folder: Path) -> dict[str, Any]:
    config = read_json(folder / "config.json")
    if not isinstance(config, dict):
        raise UserError(f"cannot load local-dir:{folder}: its config.json is broken, it is a {type(config).__name__}")
    return config


def _rebuild(folder: Path, library: Library, config: dict[str, Any], wanted: Wanted) -> Loaded:
    """Rebuild a model that ``Library.save`` wrote."""
    refuse_other_head(str(folder), config.get("num_classes"), wanted.num_classes)
    with readable_errors(f"{library.name}:{folder}", "another folder"):
        check_folder(folder, lambda: _build(library, folder, config), wanted.checkpoint)
        network = _build(library, folder, config)
        if wanted.state is None:
            library.load_state(network, load_file(folder / "model.safetensors"), folder)
        else:
            library.load_state(network, wanted.state, str(wanted.checkpoint))
        return Loaded(network, Preprocessing.from_dict(config["preprocessing"]), tuple(config.get("label_names") or ()))


def _build(library: Library, folder: Path, config: dict[str, Any]) -> nn.Module:
    """Build a network without its weights, with the head that it was saved with."""
    network = library.rebuild(folder, config)
    if config.get("own_head") is not None:
        replace_head(network, build_head(config["own_head"]))
    return network


def _warn_if_refused(folder: Path) -> None:
    """Warn of a model that the verdict of its run did not accept, so that it is not taken for an improvement."""
    said = None
    if (folder / "verdict.json").is_file():
        verdict = read_verdict(folder / "verdict.json")
        said = None if verdict.accepted else verdict.sentence
    elif RunFolder(folder.parent).is_run:
        said = "this model has no verdict: its run is not finished, or it is not the run's best"
    if said is not None:
        warn(f"{folder}: {said}")
