"""Loading image classifiers from wherever they are: timm, the hub, a folder, a run, a module."""

from __future__ import annotations

import difflib
import logging
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
from timm.data import ImageNetInfo
from torch import nn

from robustvit.checkpoints import head_classes, load_weights, read_checkpoint
from robustvit.classifier import Classifier, Preprocessing
from robustvit.errors import UserError
from robustvit.options import Normalization
from robustvit.progress import console
from robustvit.recipes import CARDS, model_card
from robustvit.runs import MODULE, RunFolder
from robustvit.verdict import read_verdict

__all__ = ["load_model", "load_original"]


def load_model(
    source: str | Path | nn.Module,
    *,
    num_classes: int | None = None,
    checkpoint: str | Path | None = None,
    pretrained: bool = True,
    normalization: Normalization = "model",
) -> Classifier:
    """Load an image classifier from wherever it is.

    Args:
        source: a timm name with or without tag, ``hf-hub:OWNER/NAME``, ``local-dir:FOLDER``, a run folder of
            ``finetune``, a model card of the paper (``vit-b``), or a module.
        num_classes: classes of the head; read from the checkpoint or the source when left out.
        checkpoint: weights to load into it: safetensors, ``.pth`` or ``.pth.tar``.
        pretrained: start from the source's published weights; off when a checkpoint is given.
        normalization: ``model``, its own mean and std, or ``paper``, 0.5 for every model.

    Returns:
        A ``Classifier`` in evaluation mode.

    Raises:
        UserError: unknown name, missing folder, weights that cannot be fetched, a checkpoint that does not fit.
    """
    state = read_checkpoint(checkpoint) if checkpoint is not None else None
    if isinstance(source, Classifier):
        if state is not None:
            load_weights(source.network, state, str(checkpoint))
        return source
    if isinstance(source, nn.Module):
        network = source
    else:
        if source in CARDS and model_card(str(source)).needs_checkpoint and state is None:
            raise UserError(f"the weights of {source} are not among timm's any more: give them with --checkpoint FILE")
        name = _resolve(str(source))
        classes = num_classes if num_classes is not None or state is None else head_classes(state)
        network = _create(name, classes, pretrained and state is None)
        _say_if_refused(name)
    if state is not None:
        load_weights(network, state, str(checkpoint))
    classifier = Classifier(
        network,
        preprocessing=Preprocessing.of(network, normalization),
        class_names=_class_names(network),
        source=source if isinstance(source, str) else str(getattr(source, "name", type(network).__name__)),
    )
    return classifier.eval()


def load_original(run: str | Path) -> Classifier:
    """Load the model that a run started from, as its settings name it.

    Raises:
        UserError: no run there, or a model that cannot be had any more.
    """
    config = RunFolder(run).config()
    recipe = config["recipe"]
    if str(config["model"]).startswith(MODULE):
        raise UserError(f"{run} started from {config['model']}: load that model yourself and name it as the baseline")
    return load_model(
        config["model"] or recipe,
        num_classes=config["num_classes"],
        checkpoint=config["checkpoint"],
        normalization=config["normalization"] or (model_card(recipe).normalization if recipe else "model"),
    )


def _resolve(source: str) -> str:
    """Turn a run folder, a plain folder or a card's name into a name that timm knows."""
    if source.startswith("hf-hub:"):
        return source
    folder = Path(source.removeprefix("local-dir:"))
    if folder.is_dir():
        inside = [place for place in (folder, folder / "best") if (place / "config.json").is_file()]
        if not inside:
            raise UserError(f"expected a model folder with config.json at {folder}, or a run folder with best/ in it")
        return f"local-dir:{inside[0]}"
    if source.startswith("local-dir:") or "/" in source:
        raise UserError(f"expected a model folder, found none at {folder}: check the path, or name a timm model")
    if source in CARDS:
        return model_card(source).timm_name
    if not timm.is_model(source.split(".")[0]):
        close = difflib.get_close_matches(source, [*timm.list_pretrained(), *timm.list_models(), *CARDS], n=1)
        nearest = f"did you mean {close[0]}?" if close else "timm.list_models() names them all"
        raise UserError(f"unknown model {source!r}: {nearest}")
    return source


def _say_if_refused(name: str) -> None:
    """A model that its own run's verdict refused must not be taken for an improvement."""
    folder = Path(name.removeprefix("local-dir:"))
    if not name.startswith("local-dir:"):
        return
    said = None
    if (folder / "verdict.json").is_file():
        verdict = read_verdict(folder / "verdict.json")
        said = None if verdict.accepted else verdict.sentence
    elif RunFolder(folder.parent).is_run:
        said = "this model has no verdict: its run is not finished, or it is not the run's best"
    if said is not None:
        console.print(f"{folder}: {said}", style="yellow", markup=False, soft_wrap=True)


@contextmanager
def _readable_errors(name: str):
    """Turn what timm and the hub raise while a model is made into one line that offers a way out."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)  # its retries would bury the one line that matters
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if name.startswith("local-dir:"):
            raise UserError(f"cannot load {name}: {reason}") from error
        if "tag" in reason.lower():
            base = name.split(".")[0]
            tags = [full for full in timm.list_pretrained(f"{base}.*")]
            close = difflib.get_close_matches(name, tags, n=1, cutoff=0.0)
            raise UserError(f"unknown weights {name!r}: did you mean {close[0] if close else base}?") from error
        raise UserError(
            f"cannot fetch the weights of {name} ({type(error).__name__}: {reason}): check the network, or give "
            "--checkpoint FILE or --model local-dir:FOLDER"
        ) from error
    finally:
        logger.setLevel(level)


def _create(name: str, num_classes: int | None, pretrained: bool) -> nn.Module:
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    pretrained = pretrained or name.startswith("local-dir:")
    with _readable_errors(name):
        network = timm.create_model(name, pretrained=pretrained, **options)
    stored = (getattr(network, "pretrained_cfg", None) or {}).get("num_classes")
    if pretrained and num_classes is not None and stored not in (None, num_classes):
        raise UserError(
            f"the weights of {name} have a head of {stored} classes, not {num_classes}: finetune it to your classes "
            "first, or give such weights with --checkpoint"
        )
    return network


def _class_names(network: nn.Module) -> tuple[str, ...]:
    """Names of a network's classes: those stored with it, or ImageNet's for 1,000 classes."""
    config = getattr(network, "pretrained_cfg", None) or {}
    names = tuple(config.get("label_names") or ())
    classes = getattr(network, "num_classes", 0)
    if len(names) == classes:
        return names
    if classes == 1000:
        info = ImageNetInfo()
        return tuple(info.index_to_description(index).split(",")[0] for index in range(classes))
    return ()
