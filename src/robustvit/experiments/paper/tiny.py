"""Tiny scale: stand-ins for the paper's models and sets, so that the real steps run in minutes.

The embedded model with its ten classes among ImageNet's 1000 stands for each model; scenes of the embedded benchmark,
written in the layouts of the sets, are read by the real readers.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image

from robustvit.common.extras import import_extra
from robustvit.data.embedded.scenes import CLASSES, SHIFTS, Scene, make_scene
from robustvit.evaluation.on_sets.segmented_photos import MAT_FILE
from robustvit.evaluation.sets.class_tables import imagenet_wnids, unique_imagenet_names
from robustvit.models.classifier import Classifier
from robustvit.models.recipes import CARDS
from robustvit.models.save import save_model

# ImageNet classes that stand for the embedded ones, by index and with SI-Score's name; they are in INet-A, INet-R and
# SI-Score. The choice has no meaning.
_INDICES = (99, 327, 407, 470, 472, 776, 932, 937, 951, 954)
_NAMES = ["goose", "starfish", "ambulance", "candle", "canoe", "saxophone", "pretzel", "broccoli", "lemon", "banana"]
STANDS_FOR: dict[str, tuple[int, str]] = dict(zip(CLASSES, zip(_INDICES, _NAMES, strict=True), strict=True))
_NEVER = -20.0  # bias of the 990 other classes
_EACH = 2  # images per class and set
_PHOTOS = 4  # masked training photos per class
_MARK = "tiny.json"


def make_stand_in(card: str) -> Classifier:
    """Return the embedded model with 1000 classes. A constant makes the weights, and so the records, differ by card."""
    with as_file(files("robustvit.data.embedded") / "model") as folder:
        small: Any = timm.create_model(f"local-dir:{folder}", pretrained=True)
    _use_half_normalization(small)
    head = torch.nn.Linear(small.head.in_features, 1000)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(_NEVER - 0.01 * CARDS.index(card))
        for label, (index, _) in enumerate(STANDS_FOR.values()):
            head.weight[index], head.bias[index] = small.head.weight[label], small.head.bias[label]
    small.head, small.num_classes = head, 1000
    return Classifier(small, class_names=unique_imagenet_names(), source=f"stand-in for {card}").eval()


def _use_half_normalization(network: Any) -> None:
    """Change the first layer to take pixels normalized with 0.5, as in the paper's protocol."""
    mean, std = (torch.tensor(network.pretrained_cfg[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    projection = network.patch_embed.proj
    with torch.no_grad():
        projection.bias += (projection.weight * (0.5 - mean) / std).sum(dim=(1, 2, 3))
        projection.weight *= 0.5 / std


def write_stand_in(card: str, folder: Path) -> Path:
    """Write a stand-in, unless it exists."""
    return folder if (folder / "config.json").is_file() else save_model(make_stand_in(card), folder)


def write_tiny_sets(root: Path) -> None:
    """Write ImageNet-S and every set of the paper as drawn scenes, all or nothing, unless they exist."""
    if (root / _MARK).is_file():
        return
    fresh = root.with_name(f".{root.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    _write_imagenet_s(fresh / "imagenet-s" / "ImageNetS919")
    wnid = {name: imagenet_wnids()[index] for name, (index, _) in STANDS_FOR.items()}
    by_wnid, by_name = wnid.__getitem__, lambda name: STANDS_FOR[name][1]
    _write_set(fresh / "imagenet-val", by_wnid, seed=11)
    _write_set(fresh / "imagenet-a", by_wnid, seed=12, swapped=True)
    _write_set(fresh / "imagenet-r", by_wnid, seed=13, swapped=True)
    _write_set(fresh / "imagenet-sketch", by_wnid, seed=14, swapped=True)
    _write_set(fresh / "imagenet-v2/matched-frequency", lambda name: str(STANDS_FOR[name][0]), seed=15)
    _write_set(fresh / "objectnet/images", by_name, seed=16, swapped=True)
    _write_mappings(fresh / "objectnet/mappings")
    for number, (factor, change) in enumerate(SHIFTS.items()):
        _write_set(fresh / "si-score" / factor, by_name, seed=17 + number, swapped=True, numbered=True, **change)
    _write_segmentation(fresh / MAT_FILE)
    (fresh / _MARK).write_text(json.dumps({"scenes": "drawn by robustvit reproduce --scale tiny"}), encoding="utf-8")
    shutil.rmtree(root, ignore_errors=True)
    os.replace(fresh, root)


def _make_scene(label: int, index: int, seed: int, swapped: bool, change: dict[str, Any]) -> Scene:
    rng = np.random.default_rng([seed, label, index])
    background = (label + 1 + index) % len(CLASSES) if swapped else label
    turn = {name: values[(label + index) % len(values)] for name, values in change.items()}
    return make_scene(label, background, rng, part="test", **turn)


def _write_set(
    folder: Path,
    named: Callable[[str], str],
    *,
    seed: int,
    swapped: bool = False,
    numbered: bool = False,
    **change: Sequence[Any],
) -> None:
    for label, name in enumerate(CLASSES):
        (folder / named(name)).mkdir(parents=True)
        for index in range(_EACH):
            scene = _make_scene(label, index, seed, swapped, change)
            file = f"{_EACH * label + index}.png" if numbered else f"scene_{index:04d}.png"
            Image.fromarray(scene.image).save(folder / named(name) / file)


def _write_imagenet_s(folder: Path) -> None:
    """Photos, and masks in ImageNet-S's colours: class id = R + 256 G, counted from 1."""
    for label, (index, _) in enumerate(STANDS_FOR.values()):
        wnid = imagenet_wnids()[index]
        photos, masks = folder / "train-semi" / wnid, folder / "train-semi-segmentation" / wnid
        photos.mkdir(parents=True)
        masks.mkdir(parents=True)
        for number in range(_PHOTOS):
            scene = make_scene(label, label, np.random.default_rng([1, label, number]), part="train")
            Image.fromarray(scene.image).save(photos / f"{wnid}_{number}.png")
            ids = np.where(scene.mask > 0, index + 1, 0)
            colours = np.stack([ids % 256, ids // 256, 0 * ids], axis=-1).astype(np.uint8)
            Image.fromarray(colours).save(masks / f"{wnid}_{number}.png")


def _write_mappings(folder: Path) -> None:
    """ObjectNet's four files; here every object has one class."""
    folder.mkdir(parents=True)
    names = {name: name.capitalize() for _, name in STANDS_FOR.values()}
    labels = {index: f"label {index}" for index in range(1000)}
    shared = {names[name]: labels[index] for index, name in STANDS_FOR.values()}
    for file, table in (
        ("folder_to_objectnet_label.json", names),
        ("objectnet_to_imagenet_1k.json", shared),
        ("pytorch_to_imagenet_2012_id.json", {str(index): index for index in labels}),
    ):
        (folder / file).write_text(json.dumps(table), encoding="utf-8")
    (folder / "imagenet_to_label_2012_v2").write_text("".join(f"{label}\n" for label in labels.values()))


def _write_segmentation(path: Path) -> None:
    """ImageNet-Segmentation's HDF5 file: references to images and masks, with MATLAB's order of axes."""
    h5py = import_extra("h5py", "sets", "the HDF5 file of the tiny sets")
    with h5py.File(path, "w") as file:
        images, masks = [], []
        for label in range(len(CLASSES)):
            scene = _make_scene(label, 0, 21, True, {})
            images.append(file.create_dataset(f"#refs#/img{label}", data=scene.image.T).ref)
            masks.append(file.create_dataset(f"#refs#/gt{label}", data=(scene.mask.T > 0).astype(np.uint8)).ref)
        for name, references in (("/value/img", images), ("/value/gt", masks)):
            table = file.create_dataset(name, (1, len(references)), dtype=h5py.ref_dtype)
            for column, reference in enumerate(references):
                table[0, column] = reference
