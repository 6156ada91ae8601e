"""How often does an audit name a shortcut that nobody planted?

    python -m benchmarks.study.audit_alarms --model MODEL --images PHOTOS --masks MASKS

Photos in class folders, as they are: no artefact was put into one class. Twenty random halves of them are audited, and
each artefact, region, property and trade that is named counts as a false alarm. Three nulls need no trust in the model:
regions whose patches are drawn at random, properties with shuffled classes, and a trade between a model and itself with
answers exchanged at random. Answers are computed once for all halves.
"""

from __future__ import annotations

import argparse
import platform
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.dated import parser_of, write_dated
from robustvit.audits.memory import Memory
from robustvit.audits.properties import audit_properties, photo_properties
from robustvit.audits.region import ModelAnswers
from robustvit.audits.regions import find_regions
from robustvit.common.options import Feature
from robustvit.common.provenance import versions
from robustvit.data.cached_photos import CachedPhotos
from robustvit.data.class_matching import match_labels
from robustvit.data.find_photos import find_photos
from robustvit.evaluation.insertions import CONTROL, answers_to, insertions
from robustvit.evaluation.measuring import MeasureSettings
from robustvit.evaluation.pulls import judge_insertions, risen_costs
from robustvit.models.classifier import Classifier
from robustvit.models.load import load_model

SPLITS = 20


class AtRandom(Memory):
    """Maps and features are noise: no kind of region means anything. Answers are the model's."""

    def __init__(self, seed: int, known: Memory) -> None:
        super().__init__()
        self._known, self.draw = known._known, torch.Generator().manual_seed(seed)

    def explain(self, model: nn.Module, images: Tensor, method: str) -> tuple[Tensor, Tensor]:
        return self.logits(model, images), torch.rand(len(images), 8, 8, generator=self.draw)

    def features(self, model: nn.Module, images: Tensor, feature: Feature = "keys", block: int | None = None) -> Tensor:
        return torch.randn(len(images), 8, 8, 16, generator=self.draw)


def alarms(given: argparse.Namespace) -> dict[str, Any]:
    """Return, by kind, in how many halves how many tests of it raised an alarm."""
    model, memory = load_model(given.model), Memory()
    photos = match_labels(find_photos(given.images, given.masks), model.num_classes, model.class_names)
    held, labels = CachedPhotos(photos, model.preprocessing), [int(photo.label or 0) for photo in photos]
    changes = {"": lambda images: images} | insertions(model.preprocessing.input_size)
    said = answers_to(model, held, changes, asking=memory)
    properties = np.array([photo_properties(photo.image, photo.pixels) for photo in photos])
    names = [str(photo.class_name) for photo in photos]
    rows: dict[str, list[tuple[int, int]]] = {}
    for split in range(given.splits):
        rng = np.random.default_rng([given.seed, split])
        half = sorted(rng.permutation(len(photos))[: len(photos) // 2].tolist())
        truth = [labels[at] for at in half]
        answers = {name: [found[at] for at in half] for name, found in said.items()}
        judged = judge_insertions(answers, truth)
        for title, artefact in (("artefacts put in", True), ("changes of the whole photo", False)):
            named = [one.is_shortcut for one in judged if one.artefact is artefact]
            rows.setdefault(title, []).append((sum(named), len(named)))
        rows.setdefault("trade between a model and itself", []).append(_trade(answers, truth, rng))
        rows.setdefault("properties, shuffled classes", []).append(
            _properties(properties[half], rng.permutation([names[at] for at in half]).tolist(), split)
        )
        if given.regions:
            part = CachedPhotos([photos[at] for at in half], model.preprocessing)
            alarms_of = _regions(model, part, [names[at] for at in half], memory, split)
            rows.setdefault("regions at random", []).append(alarms_of)
    return {
        name: {
            "alarms": sum(count for count, _ in found),
            "tests": sum(tests for _, tests in found),
            "halves_with_an_alarm": sum(count > 0 for count, _ in found),
            "halves": len(found),
        }
        for name, found in rows.items()
    }


def _trade(answers: dict[str, list[int]], truth: list[int], rng: np.random.Generator) -> tuple[int, int]:
    """Exchange the answers of two equal models at random, photo by photo: nothing rose."""
    tested = [name for name in answers if name and not name.endswith(CONTROL)]
    before, after = {"": answers[""]}, {"": answers[""]}
    for name in tested:  # one of the two has the photo's answer with the insertion, the other that without it
        swap = rng.random(len(truth)) < 0.5
        pairs = list(zip(answers[name], answers[""], swap, strict=True))
        before[name] = [plain if chosen else put for put, plain, chosen in pairs]
        after[name] = [put if chosen else plain for put, plain, chosen in pairs]
    return len(risen_costs(before, after, truth)), len(tested)


def _properties(values: np.ndarray, names: list[str], seed: int) -> tuple[int, int]:
    found = audit_properties(values, names, seed)
    return (int(bool(found and (found.telling or found.p <= 0.05))), 1)


def _regions(model: Classifier, photos: CachedPhotos, names: list[str], memory: Memory, seed: int) -> tuple[int, int]:
    """Blur regions that are drawn at random, which decide nothing."""
    logits = [memory.logits(model, photos[at]["image"][None])[0].softmax(dim=0) for at in range(len(names))]
    before = ModelAnswers(model, [(int(one.argmax()), float(one.max())) for one in logits])
    found = find_regions(before, photos, names, MeasureSettings(seed=seed, asking=AtRandom(seed, memory)), most=3)
    return sum(one.decides for one in found), len(found)


def main() -> None:
    """Count, and write both files."""
    parser = parser_of(__doc__)
    for name in ("model", "images", "masks"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--splits", type=int, default=SPLITS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-regions", dest="regions", action="store_false")
    given = parser.parse_args()
    found = alarms(given)
    command = f"python -m benchmarks.study.audit_alarms --splits {given.splits} --seed {given.seed}"
    machine = f"{platform.machine()}, {platform.system()}"
    lines = [
        f"| {name} | {row['alarms']} of {row['tests']} | {row['halves_with_an_alarm']} of {row['halves']} |"
        for name, row in found.items()
    ]
    table = "\n".join(["| what | alarms | halves with an alarm |", "|---|---:|---:|", *lines])
    text = f"# False alarms of an audit\n\n`{command}`, halves of the photos as they are, nothing planted.\n\n{table}\n"
    record = {"command": command, "versions": versions(), "machine": machine, "alarms": found}
    write_dated("audit_alarms", record, text, given.out)


if __name__ == "__main__":
    main()
