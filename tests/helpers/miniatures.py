"""Miniature benchmark sets: a few drawn images each, in the folders, names and files that the true sets have.

Each function writes one set below a root, where ``Benchmark.read`` looks for it, and returns what it wrote::

    {"folder": Path,                           # of the set
     "right": {"n01440764/a.png": (0,), ...},  # image below its class folders: ImageNet classes (or answers) by index
     "groups": {...}}                          # the same images' groups, where the set has any

The sets are incomplete, as their counts are the true ones.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from robustvit.evaluation.sets.class_tables import imagenet_subset, imagenet_wnids, member_classes

SIDE = 40
RED = (255, 0, 0)
OBJECTNET = {  # folder: ObjectNet's label, ImageNet's classes; the names with ", " are ImageNet's own
    "alarm_clock": ("Alarm clock", ["analog clock", "digital clock"], (409, 530)),
    "bench": ("Bench", ["park bench"], (703,)),
    "chair": ("Chair", ["barber chair", "folding chair", "rocking chair, rocker"], (423, 559, 765)),
    "squeegee": ("Squeegee", [], ()),
}


def draw_image(seed: int, side: int = SIDE) -> Image.Image:
    """A square image of coloured noise, the same for the same seed."""
    rng = np.random.default_rng(seed)
    tint = rng.integers(0, 160, 3)
    return Image.fromarray((tint + rng.integers(0, 96, (side, side, 3))).astype(np.uint8))


def write_imagenet_val(root: Path, classes: Sequence[int] = (0, 1, 10, 999), each: int = 2) -> dict[str, Any]:
    """ImageNet validation: ``imagenet-val/<wnid>/ILSVRC2012_val_00000001.JPEG``."""
    return _write_wnids(root / "imagenet-val", classes, each, "ILSVRC2012_val_{:08d}.JPEG")


def write_imagenet_a(root: Path, each: int = 1) -> dict[str, Any]:
    """ImageNet-A: all of its 200 ``<wnid>`` folders."""
    return _write_wnids(root / "imagenet-a", imagenet_subset("a"), each, "0.{:06d}_bee _ fly_0.9.jpg")


def write_imagenet_r(root: Path, each: int = 1) -> dict[str, Any]:
    """ImageNet-R: all of its 200 ``<wnid>`` folders, and the README it has."""
    made = _write_wnids(root / "imagenet-r", imagenet_subset("r"), each, "art_{}.jpg")
    (made["folder"] / "README.txt").write_text("ImageNet-R\n")
    return made


def write_imagenet_sketch(root: Path, classes: Sequence[int] = (0, 1, 10, 999), each: int = 2) -> dict[str, Any]:
    """ImageNet-Sketch: ``sketch/<wnid>/sketch_0.JPEG``, the name its archive has."""
    return _write_wnids(root / "sketch", classes, each, "sketch_{}.JPEG")


def write_imagenet_v2(
    root: Path, variant: str = "matched-frequency", classes: Sequence[int] = (0, 2, 10, 100, 999), each: int = 2
) -> dict[str, Any]:
    """A variant of ImageNet-V2: ``imagenetv2-<variant>-format-val/<number>/``, where 10 is not the class after 1."""
    folder = root / f"imagenetv2-{variant}-format-val"
    return _write(folder, {str(index): (index,) for index in classes}, each, "{:04x}.jpeg")


def write_objectnet(root: Path, each: int = 2) -> dict[str, Any]:
    """ObjectNet: ``images/<folder>/`` with a red border of 2 pixels, and ``mappings/``.

    Two folders have several ImageNet classes, ``squeegee`` has none (and is not in ``right``).
    """
    folder = root / "objectnet-1.0"
    made = _write(folder / "images", {name: row[2] for name, row in OBJECTNET.items()}, each, "{:015x}.png", border=2)
    made["folder"] = folder
    made["right"] = {name: right for name, right in made["right"].items() if right}
    mappings = folder / "mappings"
    mappings.mkdir()
    _write_json(mappings / "folder_to_objectnet_label.json", {name: row[0] for name, row in OBJECTNET.items()})
    _write_json(
        mappings / "objectnet_to_imagenet_1k.json", {row[0]: "; ".join(row[1]) for row in OBJECTNET.values() if row[1]}
    )
    # ObjectNet's lines are in an order of their own (of the first ImageNet challenge): 0 is on line 355
    line_of = {index: (7 * index + 355) % 1000 for index in range(1000)}
    _write_json(mappings / "pytorch_to_imagenet_2012_id.json", {str(index): line for index, line in line_of.items()})
    labels = _imagenet_labels()
    names = {line: labels[index] for index, line in line_of.items()}
    (mappings / "imagenet_to_label_2012_v2").write_text("".join(f"{names[line]}\n" for line in range(1000)))
    return made


def write_si_score(root: Path, factor: str, *, metadata: bool = True) -> dict[str, Any]:
    """A part of SI-Score: ``si-score/{area,rotation,location20_area02_min0pc}/<class>/<number>.jpg``, ``metadata.csv``.

    Two values of the factor, the first with one image a class and the second with two, so that the mean over groups is
    not the mean over images.
    """
    archive = {"size": "area", "rotation": "rotation", "location": "location20_area02_min0pc"}[factor]
    classes = ("ambulance", "kite", "zebra")
    made = _write(
        root / "si-score" / archive, {name: member_classes("si_score")[name] for name in classes}, 3, "{}.jpg"
    )
    values = {
        "size": (("area 0.01", {"area": 0.01}), ("area 0.50", {"area": 0.5})),
        "rotation": (("rotation 001", {"rotation": 1}), ("rotation 121", {"rotation": 121})),
        "location": (
            ("x 0.00, y 0.05", {"x_coord": 0.0, "y_coord": 0.05}),
            ("x 0.95, y 1.00", {"x_coord": 0.95, "y_coord": 1.0}),
        ),
    }[factor]
    made["groups"] = {name: values[place % 3 > 0][0] for place, name in enumerate(made["right"])}
    if metadata:
        whole = {"x_coord": 0.5, "y_coord": 0.5, "area": 0.2, "rotation": 0, "foreground_class": 0}
        whole |= {"foreground_instance": 0, "background": 3, "pct_inside_image": 1.0}
        rows = [
            {"image_id": int(Path(name).stem)} | whole | values[place % 3 > 0][1]
            for place, name in enumerate(made["right"])
        ]
        _write_csv(made["folder"] / "metadata.csv", rows)
    return made


def write_imagenet_9(root: Path, variants: Sequence[str] = ("original", "mixed_same", "mixed_rand")) -> dict[str, Any]:
    """Variants of ImageNet-9: ``bg_challenge/<variant>/val/00_dog/`` to ``08_fish``; ``right`` is one of the nine.

    ``folder`` is ``bg_challenge``; ``right`` names the images of one variant, which are those of all.
    """
    names = {f"{place:02d}_{name}": (place,) for place, name in enumerate(member_classes("imagenet_9"))}
    for variant in variants:
        made = _write(root / "bg_challenge" / variant / "val", names, 2, "fg_{:03d}.JPEG")
    return made | {"folder": root / "bg_challenge"}


def write_waterbirds(root: Path) -> dict[str, Any]:
    """Waterbirds: ``metadata.csv`` with three splits; ``right`` has the test images only, 1 to 4 in the four groups."""
    folder = root / "waterbird_complete95_forest2water2"
    rows: list[dict[str, Any]] = []
    right, groups = {}, {}
    for split, y, place, count in [
        (0, 0, 0, 3),
        (1, 1, 1, 2),
        *((2, y, p, 1 + y + 2 * p) for y in (0, 1) for p in (0, 1)),
    ]:
        for _ in range(count):
            name = f"{y:03d}.Bird_{y}/Bird_{len(rows):04d}.jpg"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            draw_image(len(rows)).save(folder / name)
            rows.append(
                {
                    "img_id": len(rows),
                    "img_filename": name,
                    "y": y,
                    "split": split,
                    "place": place,
                    "place_filename": "/b",
                }
            )
            if split == 2:
                right[name] = (y,)
                groups[name] = f"{('landbird', 'waterbird')[y]} on {('land', 'water')[place]}"
    _write_csv(folder / "metadata.csv", rows)
    return {"folder": folder, "right": right, "groups": groups}


def write_iwildcam(root: Path) -> dict[str, Any]:
    """iWildCam of WILDS: ``metadata.csv``, ``categories.csv`` and ``train/`` with the images of all splits."""
    folder = root / "iwildcam_v2.0"
    (folder / "train").mkdir(parents=True)
    rows, right, groups = [], {}, {}
    for number, (split, camera, label) in enumerate(
        [("train", 3, 0), ("id_test", 3, 1), ("test", 7, 0), ("test", 7, 181), ("test", 12, 1)]
    ):
        name = f"8b31d3be-{number:04d}.jpg"
        draw_image(number).save(folder / "train" / name)
        rows.append(
            {"split": split, "location_remapped": camera, "location": camera + 100, "y": label, "filename": name}
        )
        if split == "test":
            right[name], groups[name] = (label,), f"camera {camera}"
    _write_csv(folder / "metadata.csv", rows)
    named = [(0, "empty"), (1, "dasyprocta punctata"), (99999, "end")]
    _write_csv(folder / "categories.csv", [{"category_id": 2 * y, "name": name, "y": y} for y, name in named])
    classes = {"empty", "dasyprocta punctata", "class 181"}
    return {"folder": folder, "images": folder / "train", "right": right, "groups": groups, "classes": classes}


def write_metashift(root: Path) -> dict[str, Any]:
    """MetaShift's cats and dogs, indoors and outdoors: ``test/cat/cat(outdoor)/`` and so on."""
    folder = root / "MetaShift-Cat-Dog-indoor-outdoor"
    right, groups = {}, {}
    places = [("train", "cat", "indoor"), ("train", "dog", "outdoor"), ("test", "cat", "outdoor"),
              ("test", "dog", "indoor")]  # fmt: skip
    for part, name, place in places:
        inner = folder / part / name / f"{name}({place})"
        inner.mkdir(parents=True)
        for number in range(2):
            draw_image(number).save(inner / f"{2313000 + number}.jpg")
            if part == "test":
                image = f"{name}/{inner.name}/{2313000 + number}.jpg"
                right[image], groups[image] = (("cat", "dog").index(name),), f"{name}, {place}"
    return {"folder": folder, "images": folder / "test", "right": right, "groups": groups, "classes": {"cat", "dog"}}


def write_chexpert(root: Path) -> dict[str, Any]:
    """CheXpert: ``valid.csv`` with paths that begin with the archive's name, and ``valid/`` by patient and study."""
    folder = root / "CheXpert-v1.0-small"
    rows, right, groups = [], {}, {}
    patients = [("Female", "Frontal", "AP", "0.0"), ("Male", "Lateral", "", "0.0"), ("Male", "Frontal", "PA", "1.0")]
    for number, (sex, view, direction, healthy) in enumerate(patients):
        inside = f"patient{64541 + number}/study1/view1_{view.lower()}{number}.jpg"
        (folder / "valid" / inside).parent.mkdir(parents=True, exist_ok=True)
        draw_image(number).save(folder / "valid" / inside)
        rows.append({"Path": f"CheXpert-v1.0-small/valid/{inside}", "Sex": sex, "Age": 60, "Frontal/Lateral": view,
                     "AP/PA": direction, "No Finding": healthy, "Pneumonia": "0.0"})  # fmt: skip
        right[inside] = (int(healthy == "1.0"),)
        groups[inside] = f"{sex}, {'lateral' if view == 'Lateral' else f'frontal {direction}'}"
    _write_csv(folder / "valid.csv", rows)
    classes = {"finding", "no finding"}
    return {"folder": folder, "images": folder / "valid", "right": right, "groups": groups, "classes": classes}


def write_cue_conflict(root: Path, classes: Sequence[str] = ("airplane", "cat", "elephant")) -> dict[str, Any]:
    """cue-conflict: ``<shape>/<shape>1-<texture>2.png`` for every pair of some of the 16 classes.

    ``right`` is the shape, ``textures`` the texture; where both are one there is no conflict.
    """
    folder = root / "cue-conflict"
    known = list(member_classes("cue_conflict"))
    right, textures = {}, {}
    for shape in classes:
        (folder / shape).mkdir(parents=True)
        for texture in classes:
            name = f"{shape}/{shape}{len(right) + 1}-{texture}2.png"
            draw_image(len(right)).save(folder / name)
            right[name], textures[name] = (known.index(shape),), known.index(texture)
    return {"folder": folder, "right": right, "textures": textures}


def _write_wnids(folder: Path, classes: Sequence[int], each: int, names: str) -> dict[str, Any]:
    return _write(folder, {imagenet_wnids()[index]: (index,) for index in classes}, each, names)


def _write(folder: Path, classes: dict[str, tuple[int, ...]], each: int, names: str, border: int = 0) -> dict[str, Any]:
    right: dict[str, tuple[int, ...]] = {}
    number = 0
    for name, indices in classes.items():
        (folder / name).mkdir(parents=True)
        for _ in range(each):
            number += 1
            image = draw_image(number)
            if border:
                framed = Image.new("RGB", (SIDE + 2 * border, SIDE + 2 * border), RED)
                framed.paste(image, (border, border))
                image = framed
            file = names.format(number)
            image.save(folder / name / file)
            right[f"{name}/{file}"] = indices
    return {"folder": folder, "right": right, "groups": {}}


@cache
def _imagenet_labels() -> list[str]:
    from timm.data import ImageNetInfo

    return ImageNetInfo().label_descriptions()


def _write_json(path: Path, table: dict[str, Any]) -> None:
    path.write_text(json.dumps(table, indent=2))


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
