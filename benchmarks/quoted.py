"""Figures that the documents quote and no other script measures; each stands in a dated record, by name.

    python -m benchmarks.quoted [--only NAME ...]

Nothing is downloaded: the models are the embedded one, small ones, and shapes without weights. A test compares the
documents with the newest record (``SAID``: page by page, the words with figures put in).
"""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from importlib.resources import as_file, files
from itertools import pairwise
from pathlib import Path
from typing import Any

import timm
import torch

from benchmarks.dated import RESULTS, parser_of, write_dated
from robustvit import audit, guided_loss, load_model
from robustvit.common.files import write_text
from robustvit.common.provenance import versions
from robustvit.data.class_matching import match_labels
from robustvit.data.datasets import MaskedPhotos
from robustvit.data.embedded.scenes import write_split
from robustvit.data.find_photos import find_photos
from robustvit.evaluation.records.reported import reported_table
from robustvit.evaluation.sets.class_tables import member_classes
from robustvit.models.classifier import Classifier
from robustvit.sharing.onnx import write_onnx

ROOT = Path(__file__).parent.parent
RATES = (2e-6, 1e-5, 5e-5)
STEPS = 8
# By page: words that it must hold, with figures of the record put in.
SAID: dict[str, tuple[str, ...]] = {
    "README.md": ("a backbone of {weights[dino_mb]:.0f} MB",),
    "docs/tutorial.md": ("{weights[dino_mb]:.0f} MB",),
    "docs/howto/sharing.md": (
        "{onnx[millions]:.1f} million parameters, {onnx[mb]:.1f} MB, opset {onnx[opset]}",
        "it was {onnx[embedded]:.0e}, for tiny torchvision and transformers models {onnx[torchvision]:.0e} and "
        "{onnx[transformers]:.0e}",
    ),
    "docs/howto/long-runs.md": (
        "ViT-L/16: {weights[vit_l_millions]:.0f} million weights, {weights[vit_l_gb]:.1f} GB",
        "gradients and AdamW's two moments {weights[vit_l_training_gb]:.1f} GB",
        "A ViT-B/16 ({weights[vit_b_millions]:.0f} million) needs {weights[vit_b_training_gb]:.1f} GB",
    ),
    "docs/howto/per-class.md": ("about {chance[classes]:.0f} classes",),
    "docs/howto/evaluation.md": ("{protocol[low]:.0f} to {protocol[high]:.0f} points lower on A",),
    "docs/reference/evaluation-sets.md": (
        "the {classes[imagenet_9]} classes of nine groups",
        "the 16 classes have {classes[cue_conflict_least]} to {classes[cue_conflict_most]} ImageNet classes",
    ),
    "docs/howto/audit.md": ("{audit[usual]:.1f} % on the usual and {audit[other]:.1f} % on other backgrounds",),
}


@contextmanager
def embedded() -> Iterator[str]:
    """The embedded model's name for ``load_model``."""
    with as_file(files("robustvit.data.embedded") / "model") as place:
        yield f"local-dir:{place}"


def weights() -> dict[str, float]:
    """Sizes of models by their shapes; nothing is fetched. Training keeps weights, gradients and two moments."""
    with torch.device("meta"):
        counts = {
            name: sum(one.numel() for one in timm.create_model(full, **options).parameters())
            for name, full, options in (
                ("dino", "vit_small_patch16_224", {"num_classes": 0}),
                ("vit_b", "vit_base_patch16_224", {}),
                ("vit_l", "vit_large_patch16_224", {}),
            )
        }
    found = {f"{name}_millions": count / 1e6 for name, count in counts.items()}
    found |= {f"{name}_gb": 4 * count / 1e9 for name, count in counts.items()}
    found |= {f"{name}_training_gb": 16 * count / 1e9 for name, count in counts.items()}
    return found | {"dino_mb": 4 * counts["dino"] / 1e6}


def onnx() -> dict[str, float]:
    """Size of the embedded model as ONNX, and the largest difference of a logit from PyTorch's for three models."""
    import onnx as library
    from torchvision.models import VisionTransformer
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    shape = {"image_size": 48, "patch_size": 8, "num_hidden_layers": 2, "num_attention_heads": 3}
    config = ViTConfig(**shape, hidden_size=24, intermediate_size=48, num_labels=3)
    tower = VisionTransformer(48, 8, num_layers=2, num_heads=3, hidden_dim=24, mlp_dim=48, num_classes=3).eval()
    torch.nn.init.normal_(tower.heads.head.weight)  # zero at the start: logits would be constant
    with tempfile.TemporaryDirectory() as folder, embedded() as name:
        place, own = Path(folder) / "model.onnx", load_model(name)
        found = {"embedded": write_onnx(own, place)}
        found["millions"] = sum(one.numel() for one in own.parameters()) / 1e6
        found["mb"] = place.stat().st_size / 1e6
        found["opset"] = library.load(str(place)).opset_import[0].version
        for library_name, network in (("torchvision", tower), ("transformers", ViTForImageClassification(config))):
            found[library_name] = write_onnx(Classifier(network.eval()), Path(folder) / f"{library_name}.onnx")
    return found


def order() -> dict[str, Any]:
    """The relevance loss of ten scenes over some steps, first and second order, at several rates, and their times."""
    losses: dict[str, dict[str, list[float]]] = {"first": {}, "second": {}}
    seconds = dict.fromkeys(losses, math.inf)
    with tempfile.TemporaryDirectory() as folder, embedded() as name:
        write_split(folder, 1, seed=1)
        base = load_model(name)
        photos = match_labels(find_photos(f"{folder}/images", f"{folder}/masks"), base.num_classes, base.class_names)
        for way, found in losses.items():
            for rate in RATES:
                model = load_model(name)
                data = MaskedPhotos(photos, model.preprocessing)
                batch = torch.utils.data.default_collate([data[number] for number in range(len(data))])
                optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
                found[f"{rate:g}"] = []
                for _ in range(STEPS + 1):
                    start = time.process_time()
                    guided = guided_loss(
                        model, batch["image"], batch["mask"], batch["label"], second_order=way == "second"
                    )
                    optimizer.zero_grad()
                    guided.loss.backward()
                    optimizer.step()
                    seconds[way] = min(seconds[way], time.process_time() - start)
                    found[f"{rate:g}"].append(float(guided.parts["relevance"]))
    falls = {
        way: {rate: sum(b < a for a, b in pairwise(row)) for rate, row in found.items()}
        for way, found in losses.items()
    }
    return {"losses": losses, "steps": STEPS, "falls": falls, "seconds_ratio": seconds["second"] / seconds["first"]}


def chance() -> dict[str, float]:
    """Of 1,000 classes of 50 images, those that move by ten points or more if one answer in ten turns by chance."""
    turn, images, least = 0.05, 50, 5
    share = {0: 1.0}
    for _ in range(images):
        fresh: dict[int, float] = {}
        for moved, weight in share.items():
            for step, probability in ((-1, turn), (0, 1 - 2 * turn), (1, turn)):
                fresh[moved + step] = fresh.get(moved + step, 0.0) + weight * probability
        share = fresh
    return {"classes": 1000 * sum(weight for moved, weight in share.items() if abs(moved) >= least)}


def protocol() -> dict[str, float]:
    """How many points lower ImageNet-A is as the paper reports it than as timm does, for the same models."""
    ours, timms = reported_table("table1"), reported_table("timm")
    where = [(table, next(i for i, c in enumerate(table.columns) if (c.set, c.measure) == ("imagenet-a", "top1")))
             for table in (ours, timms)]  # fmt: skip
    rows = [{row.model: row.values[at] for row in table.rows if row.method == "original"} for table, at in where]
    gaps = [rows[1][model] - rows[0][model] for model in rows[0].keys() & rows[1].keys()]
    return {"low": min(gaps), "high": max(gaps), "models": len(gaps)}


def classes() -> dict[str, int]:
    """How many of ImageNet's classes stand behind those of other sets."""
    nine, cue = member_classes("imagenet_9"), member_classes("cue_conflict")
    return {
        "imagenet_9": sum(map(len, nine.values())),
        "cue_conflict_least": min(map(len, cue.values())),
        "cue_conflict_most": max(map(len, cue.values())),
    }


def audited() -> dict[str, float]:
    """An audit of the embedded model on 150 scenes, one in five on another background than its class's."""
    with tempfile.TemporaryDirectory() as folder, embedded() as name:
        write_split(folder, 15, seed=7, correlation=0.8, part="test")
        found = audit(
            model=name, images=f"{folder}/images", masks=f"{folder}/masks", out=f"{folder}/audit.html", device="cpu"
        )
        record = json.loads(Path(found.record).read_text(encoding="utf-8"))
    usual, other = (100 * record["backgrounds"]["usual"][name]["model"]["mean"] for name in ("usual", "unusual"))
    return {"usual": usual, "other": other, "kinds": len(record["backgrounds"]["kinds"]), "photos": record["count"]}


def relink(name: str) -> None:
    """Let every page that cites this record cite the newest."""
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        text = path.read_text(encoding="utf-8")
        if (fresh := re.sub(r"quoted-20\d\d-\d\d-\d\d\.json", name, text)) != text:
            write_text(fresh, path)


MEASURED: dict[str, Callable[[], dict[str, Any]]] = {
    "weights": weights, "onnx": onnx, "order": order, "chance": chance, "protocol": protocol, "classes": classes,
    "audit": audited,
}  # fmt: skip


def main() -> None:
    parser = parser_of(__doc__, out=False)
    parser.add_argument("--only", nargs="+", choices=MEASURED, default=list(MEASURED), help="the rest is kept")
    args = parser.parse_args()
    torch.set_num_threads(1)
    earlier = sorted(RESULTS.glob("quoted-20*.json"))
    kept = json.loads(earlier[-1].read_text(encoding="utf-8"))["figures"] if earlier else {}
    for name in args.only:
        kept[name] = MEASURED[name]()
        print(name, json.dumps(kept[name]), flush=True)
    record = {
        "date": date.today().isoformat(),
        "command": "python -m benchmarks.quoted",
        "machine": f"{os.uname().machine}, 1 thread",
        "versions": versions(),
        "figures": {name: kept[name] for name in MEASURED if name in kept},
    }
    write_dated("quoted", record)
    relink(f"quoted-{record['date']}.json")


if __name__ == "__main__":
    main()
