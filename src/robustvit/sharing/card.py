"""The card of a shared model: training data, verdict, intended use and licence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from markupsafe import Markup

from robustvit.common.pages import environment
from robustvit.common.run_folder import RunFolder
from robustvit.common.verdict_files import Comparison, Verdict
from robustvit.evaluation.measured_intervals import measure_title
from robustvit.guidance.registry import GUIDANCE
from robustvit.models.classifier import Preprocessing
from robustvit.models.origin import BaseModel
from robustvit.training.settings import complete_settings

# Settings that help a reader; those that name folders and files do not.
_SETTINGS = (
    "recipe", "guidance", "relevance", "target", "second_order", "background", "foreground", "relevance_weight",
    "classification_weight", "classification", "temperature", "swap_share", "balance", "train", "lr", "epochs",
    "lr_schedule", "batch_size", "weight_decay", "select", "weight_interpolation", "max_drop", "normalization",
    "precision", "seed",
)  # fmt: skip
_USES = {
    "timm": 'import timm\n\nmodel = timm.create_model("{timm}", pretrained=True).eval()\n'
    "settings = timm.data.resolve_model_data_config(model)\n"
    "transform = timm.data.create_transform(**settings, is_training=False)\n"
    "logits = model(transform(photo)[None])  # photo: an RGB image of Pillow",
    "transformers": "from transformers import AutoImageProcessor, AutoModelForImageClassification\n\n"
    'model = AutoModelForImageClassification.from_pretrained("{name}")\n'
    'processor = AutoImageProcessor.from_pretrained("{name}")\n'
    'logits = model(**processor(photo, return_tensors="pt")).logits',
    "onnx": "import numpy as np\nimport onnxruntime\n\n"
    'session = onnxruntime.InferenceSession("model.onnx")\n'
    "images = np.asarray(photo, np.float32).transpose(2, 0, 1)[None] / 255  # resized and cropped, see below\n"
    'logits = session.run(["logits"], {{"images": images}})[0]',
    "module": "from robustvit import load_model\n\n"
    'model = load_model(YourModule(), checkpoint="FOLDER/model.safetensors")  # takes images in [0, 1]',
    "own": "from huggingface_hub import snapshot_download\nfrom robustvit import load_model\n\n"
    'model = load_model(snapshot_download("{name}"))  # takes images in [0, 1]; or load_model("FOLDER")',
}


@dataclass(frozen=True)
class CardFacts:
    """Facts for a model card besides those in the run folder.

    Attributes:
        base: model that the run started from.
        library: library of the model: timm, transformers, ...
        classes: class names; empty if there are none.
        num_classes: number of classes.
        preprocessing: preprocessing of the model.
        license: licence stated for these weights; default: that of the base model.
        onnx: largest difference of a logit, for an ONNX model.
        batches: batch sizes compared for the ONNX model.
        name: ``OWNER/NAME`` on the hub, if pushed.
    """

    base: BaseModel
    library: str
    classes: tuple[str, ...]
    num_classes: int
    preprocessing: Preprocessing
    license: str | None = None
    onnx: float | None = None
    batches: tuple[int, ...] = ()
    name: str | None = None


def render_card(run: RunFolder, verdict: Verdict, facts: CardFacts) -> str:
    """Write the card, Markdown with YAML front matter for the hub. It names no file or folder of the author."""
    config, preprocessing = run.config(), facts.preprocessing
    license = facts.license or facts.base.license or "unknown"
    resized, whole = preprocessing.resized, preprocessing.resizes_both_sides
    template = environment("markdown", __package__).get_template("model_card.md.j2")
    return template.render(
        base=facts.base,
        classes=facts.classes,
        num_classes=facts.num_classes,
        front_matter=Markup(_front_matter(facts, license)),
        title=facts.name or f"{facts.base.title}, guided",
        verdict=verdict,
        guidance=GUIDANCE.get(config.get("guidance", "robustvit")),
        version=version("robustvit"),
        head=config.get("head") or "softmax",
        input_size=preprocessing.input_size,
        resized=f"{resized[0]} x {resized[1]} pixels" if whole else f"{resized[0]} pixels on the shorter side",
        interpolation=preprocessing.interpolation,
        trained=_count_photos(run),
        settings=_settings(config),
        comparisons=[_row(comparison) for comparison in (*verdict.comparisons, *run.shifts())],
        usage=Markup(_usage(facts)),
        onnx=f"{facts.onnx:.1e}" if facts.onnx is not None else None,
        batches=", ".join(map(str, facts.batches)),
        license=license + ("" if facts.license is None else " (stated by the author)"),
    )


def _settings(config: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the settings that the run used, including those of its recipe and defaults."""
    used = complete_settings(config)
    return [(name, used[name]) for name in _SETTINGS if used.get(name) is not None]


def _front_matter(facts: CardFacts, license: str) -> str:
    from huggingface_hub import ModelCardData

    library = "onnx" if facts.onnx is not None else facts.library
    data = ModelCardData(
        license=license,
        library_name=library if library in ("timm", "transformers", "onnx") else "robustvit",
        base_model=facts.base.hub,
        base_model_relation="finetune" if facts.base.hub else None,
        pipeline_tag="image-classification",
        tags=["image-classification", "robustvit", library],
    )
    return data.to_yaml().strip()


def _usage(facts: CardFacts) -> str:
    kind = "onnx" if facts.onnx is not None else facts.library if facts.library in _USES else "own"
    timm = f"hf-hub:{facts.name}" if facts.name else "local-dir:FOLDER"
    return f"```python\n{_USES[kind].format(timm=timm, name=facts.name or 'FOLDER')}\n```"


def _count_photos(run: RunFolder) -> Mapping[str, Any]:
    """Count the photos used, without their names."""
    run.photos.trained_labels()  # refuses a selection that is missing or broken
    rows = run.photos.rows()
    train = [row for row in rows if row["split"] == "train"]
    split = Counter(row["split"] for row in rows)
    counts = Counter(row["label"] for row in train).values()
    return {
        "photos": len(train),
        "classes": len(counts),
        "masked": sum(bool(row["mask"]) for row in train),
        "per_class": str(max(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}",
        "held_out": split["validation"],
        "judged": split["verdict"] if _independent(rows) else 0,
    }


def _independent(rows: list[dict[str, str]]) -> bool:
    """Whether the verdict was measured on other photos than those that chose the epoch."""
    chose, judged = ({row["image"] for row in rows if row["split"] == name} for name in ("validation", "verdict"))
    return bool(judged) and not chose & judged


def _row(comparison: Comparison) -> dict[str, Any]:
    title = measure_title(comparison.measure)
    return {
        "title": title if title != comparison.measure else f"accuracy on the shifted test {title}",
        "before": comparison.before.percent("").strip(),
        "after": comparison.after.percent("").strip(),
        "change": comparison.difference.points(""),
        "count": comparison.difference.count,
    }
