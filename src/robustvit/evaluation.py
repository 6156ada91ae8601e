"""Evaluation of a model on a folder of photos, alone or against the original it came from."""

# Annotations stay real objects here (no __future__ import): the command line resolves them without importing torch.
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robustvit.errors import UserError, expect_at_least
from robustvit.options import ClassNames, Device, MaskFormat, Normalization

if TYPE_CHECKING:
    from robustvit.classifier import Classifier
    from robustvit.intervals import Interval
    from robustvit.measurement import PhotoMeasure
    from robustvit.verdict import Verdict

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """What a model showed on a folder of photos.

    Attributes:
        model: where it came from.
        images: the folder.
        measures: by name, 0 to 1, with 95 % intervals over photos.
        photos: what was measured on each.
        verdict: the comparison with the baseline, if there is one.
    """

    model: str
    images: str
    measures: "dict[str, Interval]"
    photos: "list[PhotoMeasure]"
    verdict: "Verdict | None" = None

    def __str__(self) -> str:
        from robustvit.measurement import MEASURES

        lines = [f"{self.model} on {len(self.photos)} photos of {self.images}"]
        for name, found in self.measures.items():
            compared = self.verdict.of(name) if self.verdict else None
            row = f"  {MEASURES[name]:<58}{_percent(found)}"
            if compared is not None:
                change = compared.difference
                row += f"   baseline {100 * compared.before.mean:.1f}, change {100 * change.mean:+.1f} "
                row += f"[{100 * change.low:+.1f}, {100 * change.high:+.1f}]"
            lines.append(row)
        return "\n".join(lines + ([self.verdict.sentence] if self.verdict else []))


def evaluate(
    *,
    model: str,
    images: str,
    masks: str | None = None,
    baseline: str | None = None,
    checkpoint: str | None = None,
    num_classes: int | None = None,
    normalization: Normalization = "model",
    class_names: ClassNames | None = None,
    mask_format: MaskFormat = "auto",
    skip_unmasked: bool = False,
    doubtful: bool = False,
    relevance: str = "gae",
    swaps: int = 2,
    max_drop: float = 2.0,
    batch_size: int = 32,
    device: Device = "auto",
    workers: int = 0,
    seed: int = 0,
    out: str | None = None,
) -> Evaluation:
    """Measure a model on photos it was not trained on: accuracy and, with masks, its reliance on the background.

    With masks the objects are put on other photos' backgrounds (mixed-same, mixed-rand), and the relevance map of the
    predicted class is held against the mask. With a baseline the differences are paired photo by photo, and the verdict
    says which one to keep. Photos without classes (a flat folder with masks) show the place of the relevance only.

    Args:
        model: run folder, timm name, transformers:OWNER/NAME, torchvision:NAME, open_clip:ARCHITECTURE/TAG,
            hf-hub:OWNER/NAME or local-dir:FOLDER.
        images: folder with one folder of photos per class, or a CSV file (image,mask,label).
        masks: folder of masks that mirrors images.
        baseline: model to compare with: "original" for the one a run folder started from, or any source as for model.
        checkpoint: weights for the model: safetensors, .pth or .pth.tar.
        num_classes: classes of the model's head; read from the weights when left out.
        normalization: model (its own mean and std) or paper (0.5 for every model).
        class_names: classes that a zero-shot model chooses among (default ImageNet's), or names of a head without any:
            a list, or a text file with one name a line.
        mask_format: auto, soft, ids (class ids, 255 void) or imagenet-s.
        skip_unmasked: leave photos without a mask out instead of refusing them.
        doubtful: use masks too that their manifest.csv calls doubtful; they are left out otherwise.
        relevance: method that tells where the relevance lies: gae, attnlrp, rollout or raw_attention for vision
            transformers, grad_cam or input_gradient for any classifier.
        swaps: swapped backgrounds per photo and kind.
        max_drop: points of ordinary accuracy that the verdict lets a model lose against the baseline.
        batch_size: photos at a time.
        device: auto (a GPU where there is one) or cpu.
        workers: processes that read photos.
        seed: fixes the swaps.
        out: JSON file to write everything to; must be new.

    Returns:
        The measures; printing it gives a table.

    Raises:
        UserError: anything wrong with what was given; nothing is written then.

    Example:
        robustvit evaluate --model runs/mine --images photos/test --masks masks/test --baseline original
    """
    from robustvit.data.batches import MaskedPhotos
    from robustvit.data.gathering import check_photos
    from robustvit.data.labels import match_labels
    from robustvit.data.mask_filter import MaskFilter
    from robustvit.data.pairs import find_photos
    from robustvit.devices import make_accelerator
    from robustvit.measurement import measure
    from robustvit.methods import check_method
    from robustvit.models import load_model, load_original
    from robustvit.progress import warn
    from robustvit.verdict import compare, decide

    _check_options(out, batch_size, workers, seed)
    classifier = load_model(
        model, num_classes=num_classes, checkpoint=checkpoint, normalization=normalization, class_names=class_names
    )
    check_method(relevance, classifier)
    keep = MaskFilter(images, masks, doubtful=doubtful)
    listed = find_photos(images, masks, labelled=masks is None, skip_unmasked=skip_unmasked, keep=keep)
    if keep.note:
        warn(keep.note)
    photos = match_labels(listed, classifier.num_classes, classifier.class_names)
    check_photos(photos, mask_format)
    other = None
    if baseline == "original":
        other = load_original(model)
    elif baseline is not None:
        other = load_model(baseline, num_classes=num_classes, normalization=normalization, class_names=class_names)
    if other is not None:
        _check_same_classes(classifier, other, str(baseline))
        check_method(relevance, other)
    place = make_accelerator(device=device).device

    def measured(one: "Classifier") -> "list[PhotoMeasure]":
        data = MaskedPhotos(photos, one.preprocessing, mask_format=mask_format)
        return measure(
            one.to(place),
            data,
            swaps=swaps,
            seed=seed,
            method=relevance,
            batch_size=batch_size,
            workers=workers,
            device=place,
        )

    after = measured(classifier)
    verdict = None if other is None else decide(compare(measured(other), after, seed), max_drop=max_drop)
    found = Evaluation(str(model), str(images), _summary(after, seed), after, verdict)
    if out is not None:
        _write_record(
            found,
            Path(out),
            dict(relevance=relevance, swaps=swaps, seed=seed, normalization=normalization, baseline=str(baseline)),
        )
    return found


def _check_options(out: str | None, batch_size: int, workers: int, seed: int) -> None:
    from robustvit.files import check_new_file

    if out is not None:
        check_new_file(out)
    expect_at_least(1, batch_size=batch_size)
    expect_at_least(0, workers=workers, seed=seed)


def _check_same_classes(model: "Classifier", other: "Classifier", name: str) -> None:
    if other.num_classes != model.num_classes:
        raise UserError(
            f"expected a baseline of {model.num_classes} classes like the model, {name} has {other.num_classes}: name "
            "the model it was finetuned from"
        )
    if other.class_names and model.class_names and other.class_names != model.class_names:
        raise UserError(f"expected a baseline with the model's classes in the same order, {name} has others")


def _summary(results: "Sequence[PhotoMeasure]", seed: int) -> "dict[str, Interval]":
    from robustvit.intervals import mean_interval
    from robustvit.measurement import MEASURES

    values = {name: [r.values[name] for r in results if name in r.values] for name in MEASURES}
    return {name: mean_interval(found, seed) for name, found in values.items() if found}


def _percent(found: "Interval") -> str:
    return f"{100 * found.mean:5.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def _write_record(found: Evaluation, path: Path, settings: dict[str, object]) -> None:
    from robustvit.files import write_json
    from robustvit.runs import versions

    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(asdict(found) | {"settings": settings, "versions": versions()}, path)
