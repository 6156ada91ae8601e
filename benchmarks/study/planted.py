"""Does an audit find a shortcut that was planted into one class, and name it?

    python -m benchmarks.study.planted train SET --data DATA --weights FILE --work WORK
    python -m benchmarks.study.planted audit SET --data DATA --work WORK
    python -m benchmarks.study.planted table --work WORK

A pretrained ViT-S is finetuned on photos of five animals, of which up to four classes have a shortcut each, of another
kind, in every photo (``plants.SETS``). Each model is audited twice with its normal budget, on 20 test photos a class:
as they are, and with the same shortcuts in the same classes, as the test photos of such a data set would have them.
Beside it stands whether the model learned the shortcut: it is put into the test photos of the other classes, as
files, by the code that planted it; what share of them is then taken for the class, and is not without it?
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.dated import parser_of, write_dated
from benchmarks.study.photo_base import preprocessing, train_base
from benchmarks.study.plants import ON_FILES, PLANTS, SETS, plant_photos, ruler
from robustvit.audits.audit import audit
from robustvit.audits.properties import audit_properties, photo_properties
from robustvit.common.files import write_json
from robustvit.common.intervals import paired_difference
from robustvit.common.provenance import versions
from robustvit.data.datasets import MaskedPhotos
from robustvit.data.find_photos import find_photos
from robustvit.models.classifier import Classifier
from robustvit.models.load import load_model

PER_CLASS, SIDE, EPOCHS = 20, 112, 4
RATES = {"head": 1e-3, "backbone": 5e-5}  # five times those of the other studies: a shortcut has to be learned


def classes_of(data: Path) -> list[str]:
    """The classes of the photos."""
    return sorted(path.name for path in (data / "voc-animals-large" / "train" / "images").iterdir())


def planted_in(name: str, data: Path) -> dict[str, str]:
    """What is planted into which class."""
    return dict(zip(classes_of(data), SETS[name], strict=False))


def train(name: str, given: argparse.Namespace) -> None:
    """Plant a set into the training photos, and finetune on them."""
    place = given.work / name
    plant_photos(given.data / "voc-animals-large" / "train" / "images", place / "train" / "images",
                 planted_in(name, given.data))  # fmt: skip
    train_base(place, given.weights, 0, place / "model", SIDE, RATES, EPOCHS)


def take_tests(name: str, given: argparse.Namespace) -> dict[str, Path]:
    """Write the test photos that are audited, without and with the shortcuts, and annotations of the planted object."""
    source, place = given.data / "voc-animals-large" / "test", given.work / name
    for kind in ("images", "masks"):
        for label in classes_of(given.data):
            folder = place / "taken" / kind / label
            folder.mkdir(parents=True, exist_ok=True)
            for file in sorted((source / kind / label).iterdir())[:PER_CLASS]:
                link = folder / file.name
                link.unlink(missing_ok=True)
                link.symlink_to(file.resolve())
    found = {"without": place / "without", "with": place / "with"}
    plant_photos(place / "taken" / "images", found["without"], {})
    boxes = plant_photos(place / "taken" / "images", found["with"], planted_in(name, given.data))
    images = [{"id": at, "file_name": file} for at, file in enumerate(boxes)]
    objects = [
        {"id": at, "image_id": at, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for at, box in enumerate(boxes.values())
    ]
    categories = [{"id": 1, "name": "ball"}]
    write_json({"images": images, "annotations": objects, "categories": categories}, place / "objects.json")
    ruler().save(place / "ruler.png")
    return found


def answers_of(model: Classifier, folder: Path) -> tuple[list[int], list[int]]:
    """Return the classes of the photos in a folder, and the model's answers."""
    names = list(model.class_names or ())
    photos = find_photos(folder)
    held = MaskedPhotos(photos, preprocessing(SIDE))
    said: list[int] = []
    with torch.no_grad():
        for start in range(0, len(photos), 32):
            images = torch.stack([held[at]["image"] for at in range(start, min(start + 32, len(photos)))])
            said += model(images).argmax(dim=1).tolist()
    return [names.index(str(photo.class_name)) for photo in photos], said


def learned(name: str, given: argparse.Namespace, model: Classifier) -> dict[str, Any]:
    """Put each shortcut into photos of all other classes, and count the answers that go over to its class."""
    place, classes = given.work / name, classes_of(given.data)
    truth, plain = map(np.array, answers_of(model, place / "without"))
    found = {}
    for label, plant in planted_in(name, given.data).items():
        others = place / "everywhere" / plant.replace(" ", "-")
        plant_photos(place / "taken" / "images", others, dict.fromkeys(classes, plant))
        _, said = answers_of(model, others)
        free = truth != classes.index(label)
        pull = paired_difference(*((side[free] == classes.index(label)).astype(float)
                                   for side in (plain, np.array(said))))  # fmt: skip
        found[plant] = asdict(pull)
    return found


def audit_set(name: str, given: argparse.Namespace) -> None:
    """Audit a set's model without and with the shortcuts in the photos, and keep what it says."""
    place, folders = given.work / name, take_tests(name, given)
    result: dict[str, Any] = {"planted": planted_in(name, given.data), "audits": {}}
    if name in ON_FILES:
        result["audits"] = {side: _audit_files(folder) for side, folder in folders.items()}
    else:
        model = place / "model"
        result["learned"] = learned(name, given, load_model(f"local-dir:{model}"))
        result["audits"] = {side: _audit_model(model, place, side, folder) for side, folder in folders.items()}
    write_json(result, place / "result.json")


def _audit_files(folder: Path) -> dict[str, Any]:
    """Ask of the files alone, as an audit does."""
    photos = find_photos(folder)
    values = np.array([photo_properties(photo.image, photo.pixels) for photo in photos])
    found = audit_properties(values, [str(photo.class_name) for photo in photos])
    return {"inserted": {"model": []}, "companions": [], "regions": [], "properties": found and asdict(found)}


def _audit_model(model: Path, place: Path, side: str, folder: Path) -> dict[str, Any]:
    objects = place / "objects.json"
    has_objects = side == "with" and bool(json.loads(objects.read_text())["annotations"])
    page = place / f"audit-{side}.html"
    audit(
        model=f"local-dir:{model}", images=str(folder), masks=str(place / "taken" / "masks"), out=str(page),
        insert=str(place / "ruler.png"), shifted=0, tries=2, objects=str(objects) if has_objects else None,
        at_inference="none",
    )  # fmt: skip
    record = json.loads(page.with_suffix(".json").read_text())
    regions = [
        {key: one[key] for key in ("share", "classes", "accuracy", "against_others", "tested", "decides")}
        for one in record["regions"]
    ]
    return {key: record[key] for key in ("summary", "inserted", "companions", "properties")} | {"regions": regions}


def named_by(plant: str, label: str, found: Mapping[str, Any]) -> list[str]:
    """Return which tests of an audit name a planted shortcut, with what they say of it."""
    wanted, said = PLANTS[plant], []
    for row in found["inserted"]["model"]:
        if row["is_shortcut"] and row["pulls_to"] == label and row["name"].startswith(wanted.told):
            said.append(f"put in: {_points(row['excess'])}")
    for row in found["companions"]:
        if row["decides"] and row["name"].startswith(wanted.told):
            said.append(f"object: {_points(row['accuracy'])}")
    for row in found["regions"]:
        if row["decides"] and max(row["classes"], key=row["classes"].get) == label and plant in LIKE_A_PLACE:
            said.append(f"region: {_points(row['accuracy'])}")
    telling = found["properties"]["telling"] if found["properties"] else ()
    marks = [row for row in telling if row["class_name"] == label]
    if marks:
        surest = [f"{row['property']} {max(row['auroc'], 1 - row['auroc']):.2f}" for row in marks[:2]]
        said.append("files: " + ", ".join(surest))
    return said


LIKE_A_PLACE = ("text", "black frame", "white frame", "picture", "object")  # what a region of the photo shows


def false_names(planted: Mapping[str, str], found: Mapping[str, Any]) -> list[str]:
    """Return what was put in and is named although it is planted into no class, or pulls to another than its own."""
    return [
        f"{row['name']} to {row['pulls_to']}"
        for row in found["inserted"]["model"]
        if row["is_shortcut"]
        and not any(label == row["pulls_to"] and row["name"].startswith(PLANTS[plant].told)
                    for label, plant in planted.items())
    ]  # fmt: skip


def _points(x: Mapping[str, float]) -> str:
    return f"{100 * x['mean']:+.0f} [{100 * x['low']:+.0f}, {100 * x['high']:+.0f}]".replace("-", "−")


_PAGE = """# Planted shortcuts

`python -m benchmarks.study.planted`: a ViT-S finetuned at 112 px on 80 photos a class, in which one class has the
shortcut (up to four classes of a model have one each); audits of 20 test photos a class, normal budget.

*Learned*: photos of other classes that the shortcut turns into its class, points. *put in*: the same by the audit's own
version of it, less its control. *object*, *region*: change of accuracy when it is blurred. *files*: the two properties
that tell the class best, with their AUROC. Size, aspect ratio and compression are no matter of a model: photos alone.

| planted | in | learned | audit of photos without it | audit of photos with it |
|---|---|---|---|---|
{rows}

Put in and named, although not planted or with another class: {wrong}.
"""


def table(given: argparse.Namespace) -> None:
    """Write what all sets came to."""
    rows, sets, wrong = [], {}, []
    for name in SETS:
        if not (given.work / name / "result.json").is_file():
            continue
        found = json.loads((given.work / name / "result.json").read_text())
        sets[name] = found
        for label, plant in found["planted"].items():
            pull = found.get("learned", {}).get(plant)
            cells = ["; ".join(named_by(plant, label, found["audits"][side])) or "not named" for side in
                     ("without", "with")]  # fmt: skip
            rows.append(f"| {plant} | {label} | {_points(pull) if pull else 'not asked'} | {cells[0]} | {cells[1]} |")
        wrong += [f"{name}, photos {side} them: {line}" for side in ("without", "with")
                  for line in false_names(found["planted"], found["audits"][side])]  # fmt: skip
    text = _PAGE.format(rows="\n".join(rows), wrong="; ".join(wrong) or "nothing") + (
        f"\n{given.note}\n" if given.note else ""
    )
    write_dated("planted", {"versions": versions(), "note": given.note, "sets": sets}, text, given.out)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("step", choices=("train", "audit", "table"))
    parser.add_argument("set", nargs="?", choices=tuple(SETS))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--note", help="a line below the table")
    given = parser.parse_args()
    if given.step == "table":
        table(given)
    elif given.step == "train":
        train(given.set, given)
    else:
        audit_set(given.set, given)


if __name__ == "__main__":
    main()
