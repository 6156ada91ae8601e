"""Evaluation of a model on a folder of photos, alone or against the original it came from."""

# Annotations stay real objects here (no __future__ import): the command line resolves them without importing torch.
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robustvit.errors import UserError, expect_at_least
from robustvit.options import ClassNames, Device, MaskFormat, Normalization, Precision, Protocol
from robustvit.wording import counted

if TYPE_CHECKING:
    from robustvit.classifier import Classifier
    from robustvit.intervals import Interval
    from robustvit.measurement import PhotoMeasure
    from robustvit.set_evaluation.summary import Sets
    from robustvit.verdict import Verdict

__all__ = ["Evaluation", "evaluate", "load_baseline"]


@dataclass(frozen=True)
class Evaluation:
    """What a model showed on a folder of photos.

    Attributes:
        model: where it came from.
        images: the folder.
        measures: by name, 0 to 1, with 95 % intervals over photos.
        photos: what was measured on each.
        verdict: the comparison with the baseline, if there is one.
        notes: what a reader of the numbers must know, such as photos that were left out.
    """

    model: str
    images: str
    measures: "dict[str, Interval]"
    photos: "list[PhotoMeasure]"
    verdict: "Verdict | None" = None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        from robustvit.measurement import MEASURES

        lines = [f"{self.model} on {counted(len(self.photos), 'photo')} of {self.images}"]
        for name, found in self.measures.items():
            compared = self.verdict.of(name) if self.verdict else None
            row = f"  {MEASURES[name]:<58}{_percent(found)}"
            if compared is not None:
                change = compared.difference
                row += f"   baseline {100 * compared.before.mean:.1f}, change {100 * change.mean:+.1f} "
                row += f"[{100 * change.low:+.1f}, {100 * change.high:+.1f}]"
                if compared.mcnemar_p is not None:
                    row += f", {compared.helped} helped, {compared.harmed} harmed, McNemar p {compared.mcnemar_p:.2g}"
            lines.append(row)
        return "\n".join(lines + ([self.verdict.sentence] if self.verdict else []))


def evaluate(
    *,
    model: str,
    images: str | None = None,
    masks: str | None = None,
    on: list[str] | str | None = None,
    root: str | None = None,
    stream: bool = False,
    protocol: Protocol = "standard",
    records: str = "records",
    seen: str | None = None,
    baseline: str | None = None,
    checkpoint: str | None = None,
    num_classes: int | None = None,
    normalization: Normalization = "model",
    class_names: ClassNames | None = None,
    mask_format: MaskFormat = "auto",
    skip_unmasked: bool = False,
    doubtful: bool = False,
    include_trained: bool = False,
    relevance: str = "gae",
    swaps: int = 2,
    max_drop: float = 2.0,
    batch_size: int = 32,
    precision: Precision = "no",
    device: Device = "auto",
    workers: int = 0,
    seed: int = 0,
    out: str | None = None,
) -> "Evaluation | Sets":
    """Measure a model on photos it was not trained on, or on the sets that robustness is reported on.

    With --images: accuracy and, with masks, reliance on the background. The objects are put on other photos'
    backgrounds (mixed-same, mixed-other), and the relevance map of the predicted class is held against the mask. With a
    baseline the differences are paired photo by photo, and the verdict says which one to keep. Photos without classes
    (a flat folder with masks) show the place of the relevance only. Photos that the model's run was trained on, or
    copies of them, are left out and counted.

    With --on: imagenet-val, imagenet-a, imagenet-r, imagenet-sketch, imagenet-v2, objectnet, si-score, imagenet-9,
    waterbirds, cue-conflict, imagenet-segmentation, or segmentation for --images and --masks of your own. Results are
    recorded; what was recorded is not run again, and a killed call goes on in the middle of a set.

    Args:
        model: run folder, timm name, transformers:OWNER/NAME, torchvision:NAME, open_clip:ARCHITECTURE/TAG,
            hf-hub:OWNER/NAME or local-dir:FOLDER.
        images: folder with one folder of photos per class, or a CSV file (image,mask,label).
        masks: folder of masks that mirrors images.
        on: sets to evaluate on, such as imagenet-a,si-score/location.
        root: folder that holds the sets.
        stream: take the sets from the Hugging Face hub, image by image, instead of from --root.
        protocol: of the sets: paper (what RobustViT's tables report) or standard (what everybody else does).
        records: folder that results on sets are written to.
        seen: run folder whose training classes are reported apart from the others; the model itself when left out.
        baseline: model to compare with: "original" for the one a run folder started from, or any source as for model.
        checkpoint: weights for the model: safetensors, .pth or .pth.tar.
        num_classes: classes of the model's head; read from the weights when left out.
        normalization: model (its own mean and std) or paper (0.5 for every model).
        class_names: classes that a zero-shot model chooses among (default ImageNet's), or names of a head without any:
            cat,dog, or a text file with one name a line.
        mask_format: auto, soft, ids (class ids, 255 void) or imagenet-s.
        skip_unmasked: leave photos without a mask out instead of refusing them.
        doubtful: use masks too that their manifest.csv calls doubtful; they are left out otherwise.
        include_trained: measure photos too that the model's run was trained on (the same files, or photos that look the
            same). They are left out otherwise, and with them no verdict accepts a model.
        relevance: method that tells where the relevance lies: gae, attnlrp, rollout or raw_attention for vision
            transformers, grad_cam or input_gradient for any classifier.
        swaps: swapped backgrounds per photo, of its own class and as many of other classes.
        max_drop: points of ordinary accuracy that the verdict lets a model lose against the baseline.
        batch_size: photos at a time.
        precision: no (float32), bf16 or fp16, on sets.
        device: auto (a GPU where there is one) or cpu.
        workers: processes that read photos.
        seed: fixes the swaps.
        out: JSON file to write everything to; must be new.

    Returns:
        The measures, or a record for each set; printing it gives a table.

    Raises:
        UserError: anything wrong with what was given; nothing is written then.

    Example:
        robustvit evaluate --model runs/mine --images photos/test --masks masks/test --baseline original
    """
    if on is not None:
        from robustvit.segmentation.recording import MaskedFolder
        from robustvit.set_evaluation.command import SetOptions, evaluate_on

        _refuse_out(out)
        expect_at_least(1, batch_size=batch_size)
        expect_at_least(0, workers=workers)
        options = SetOptions(root, stream, protocol, records, seen, precision, batch_size, workers, device)
        own = {"num_classes": num_classes, "normalization": normalization, "class_names": class_names}
        folder = MaskedFolder(images, masks, mask_format, skip_unmasked, doubtful, include_trained)
        return evaluate_on(on, model, baseline, options, own | {"checkpoint": checkpoint}, own=folder, method=relevance)
    if images is None:
        raise UserError("expected photos to measure the model on: name --images FOLDER, or sets with --on imagenet-a")
    from robustvit.data.pairs import expect_photos, find_photos

    _check_options(out, batch_size, workers, seed, swaps)
    expect_photos(images, masks)
    from robustvit.data.batches import MaskedPhotos
    from robustvit.data.gathering import check_photos
    from robustvit.data.labels import match_labels
    from robustvit.data.mask_filter import MaskFilter
    from robustvit.data.trained_photos import photos_behind
    from robustvit.devices import make_accelerator
    from robustvit.measurement import measure
    from robustvit.methods import check_method
    from robustvit.models import load_model
    from robustvit.progress import warn
    from robustvit.verdict import compare, decide

    classifier = load_model(
        model, num_classes=num_classes, checkpoint=checkpoint, normalization=normalization, class_names=class_names
    )
    check_method(relevance, classifier)
    keep = MaskFilter(images, masks, doubtful=doubtful)
    listed = find_photos(images, masks, labelled=masks is None, skip_unmasked=skip_unmasked, keep=keep)
    seen = photos_behind(model, baseline, checkpoint).among([photo.image for photo in listed])
    kept, notes = seen.left(listed, include_trained)
    notes = [*([keep.note] if keep.note else []), *notes]
    for note in notes:
        warn(note)
    photos = match_labels(kept, classifier.num_classes, classifier.class_names)
    check_photos(photos, mask_format)
    other = load_baseline(baseline, model, classifier, num_classes, normalization, class_names)
    if other is not None:
        check_method(relevance, other)
    accelerator = make_accelerator(device=device)
    place = accelerator.device

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
            accelerator=accelerator,
        )

    after = measured(classifier)
    verdict = None
    if other is not None:
        decided = decide(compare(measured(other), after), max_drop=max_drop, notes=notes)
        verdict = seen.judge(decided, include_trained)
    found = Evaluation(str(model), str(images), _summary(after), after, verdict, tuple(notes))
    if out is not None and accelerator.is_main_process:  # the others checked that it was new before they measured
        _write_record(
            found,
            Path(out),
            dict(
                relevance=relevance,
                swaps=swaps,
                seed=seed,
                normalization=normalization,
                baseline=str(baseline),
                include_trained=include_trained,
            ),
        )
    return found


def _refuse_out(out: str | None) -> None:
    if out is not None:
        raise UserError("expected no --out beside --on: results on sets go to the folder --records, a file for each")


def _check_options(out: str | None, batch_size: int, workers: int, seed: int, swaps: int) -> None:
    from robustvit.files import check_new_file

    if out is not None:
        check_new_file(out)
    expect_at_least(1, batch_size=batch_size)
    expect_at_least(0, workers=workers, seed=seed, swaps=swaps)


def load_baseline(
    baseline: str | None,
    model: str,
    classifier: "Classifier",
    num_classes: int | None = None,
    normalization: Normalization = "model",
    class_names: ClassNames | None = None,
) -> "Classifier | None":
    """The model to compare with, if one is named: a source, or "original" for the one that a run started from.

    Raises:
        UserError: it cannot be had, or has other classes than ``classifier``, which ``model`` names.
    """
    from robustvit.models import load_model, load_original

    if baseline is None:
        return None
    if baseline == "original":
        other = load_original(model)
    else:
        other = load_model(baseline, num_classes=num_classes, normalization=normalization, class_names=class_names)
    if other.num_classes != classifier.num_classes:
        raise UserError(
            f"expected a baseline of {classifier.num_classes} classes like the model, {baseline} has "
            f"{other.num_classes}: name the model it was finetuned from"
        )
    if other.class_names and classifier.class_names and other.class_names != classifier.class_names:
        raise UserError(f"expected a baseline with the model's classes in the same order, {baseline} has others")
    return other


def _summary(results: "Sequence[PhotoMeasure]") -> "dict[str, Interval]":
    from robustvit.measured_intervals import measure_interval
    from robustvit.measurement import MEASURES

    intervals = {name: measure_interval(results, name) for name in MEASURES}
    return {name: interval for name, interval in intervals.items() if interval is not None}


def _percent(found: "Interval") -> str:
    return f"{100 * found.mean:5.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def _write_record(found: Evaluation, path: Path, settings: dict[str, object]) -> None:
    from robustvit.files import write_json
    from robustvit.runs import versions

    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(asdict(found) | {"settings": settings, "versions": versions()}, path)
