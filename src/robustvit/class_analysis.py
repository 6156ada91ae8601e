"""Class by class: which classes finetuning helped, which it harmed, and what of that is more than chance."""

# Annotations stay real objects here (no __future__ import): the command line resolves them without importing torch.
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustvit.errors import UserError, expect_at_least
from robustvit.options import ClassNames, Device, MaskFormat, Normalization, Precision, Protocol
from robustvit.wording import counted

if TYPE_CHECKING:
    from robustvit.per_class.answers import Compared
    from robustvit.per_class.changes import Changes, ClassChange

__all__ = ["ClassAnalysis", "classes"]

_PRINTED = 5


@dataclass(frozen=True)
class ClassAnalysis:
    """What a comparison class by class found.

    Attributes:
        page: the HTML file.
        record: the JSON file beside it, with every figure of the page.
        changes: the same as objects.
        title: of the set or the photos.
        sentence: what changed, in words.
    """

    page: Path
    record: Path
    changes: "Changes"
    title: str
    sentence: str

    def __str__(self) -> str:
        found = self.changes
        size = f"{counted(found.before.count, 'image')}, {counted(len(found.classes), 'class')}"
        lines = [f"{self.title}: {size}", self.sentence]
        for title, rows in (("helped", found.most_helped(_PRINTED)), ("harmed", found.most_harmed(_PRINTED))):
            if rows:
                lines.append(f"  {title + ' most':<32}{'images':>7}{'before':>8}{'after':>7}  {'change':<21}adjusted p")
                lines += [_line(row) for row in rows]
        return "\n".join([*lines, f"page: {self.page}", f"record: {self.record}"])


def classes(
    *,
    model: str,
    baseline: str,
    out: str,
    on: str | None = None,
    root: str | None = None,
    stream: bool = False,
    images: str | None = None,
    masks: str | None = None,
    protocol: Protocol = "standard",
    records: str = "records",
    seen: str | None = None,
    checkpoint: str | None = None,
    num_classes: int | None = None,
    normalization: Normalization = "model",
    class_names: ClassNames | None = None,
    mask_format: MaskFormat = "auto",
    skip_unmasked: bool = False,
    include_trained: bool = False,
    count: int = 20,
    samples: int = 3,
    classes_shown: int = 2,
    relevance: str = "gae",
    batch_size: int = 32,
    precision: Precision = "no",
    device: Device = "auto",
    workers: int = 0,
) -> ClassAnalysis:
    """Find the classes that finetuning helped and harmed most, and write a page about them.

    For every class: accuracy before and after, the paired difference with its 95 % interval, and McNemar's p, adjusted
    for the number of classes. Of the classes that changed most, the first images whose answer turned are shown with
    both models' relevance. Images come from a benchmark set (--on, as for evaluate; answers that are recorded are not
    asked again) or from class folders of your own (--images).

    Args:
        model: run folder, timm name, transformers:OWNER/NAME, torchvision:NAME, open_clip:ARCHITECTURE/TAG,
            hf-hub:OWNER/NAME or local-dir:FOLDER.
        baseline: model to compare with: "original" for the one a run folder started from, or any source as for model.
        out: HTML file to write, new or an older page of this kind; the record goes beside it, with .json.
        on: set to compare on, such as imagenet-a or imagenet-v2/matched-frequency; one of those that evaluate knows.
        root: folder that holds the sets.
        stream: take the set from the Hugging Face hub, image by image, instead of from --root; up to the last image
            that is shown, it is read once more.
        images: folder with one folder of photos per class, or a CSV file (image,mask,label), instead of a set.
        masks: folder of masks that mirrors images; their outlines are drawn into the photos that are shown.
        protocol: of the set: paper (what RobustViT's tables report) or standard (what everybody else does).
        records: folder that answers and results on sets are kept in.
        seen: run folder whose training classes are marked; the model itself when left out.
        checkpoint: weights for the model: safetensors, .pth or .pth.tar.
        num_classes: classes of the model's head; read from the weights when left out.
        normalization: model (its own mean and std) or paper (0.5 for every model).
        class_names: classes that a zero-shot model chooses among (default ImageNet's), or names of a head without any:
            cat,dog, or a text file with one name a line.
        mask_format: auto, soft, ids (class ids, 255 void) or imagenet-s.
        skip_unmasked: leave photos without a mask out instead of refusing them.
        include_trained: measure photos too that the model's run was trained on (the same files, or photos that look the
            same). They are left out otherwise, and with them no verdict accepts a model.
        count: classes in each chart, most helped and most harmed; one chart of all where there are no more than twice
            as many.
        samples: images shown of a class.
        classes_shown: classes that images are shown of, of those helped most and of those harmed most.
        relevance: method that tells where the relevance lies: gae, attnlrp, rollout or raw_attention for vision
            transformers, grad_cam or input_gradient for any classifier.
        batch_size: images at a time.
        precision: no (float32), bf16 or fp16.
        device: auto (a GPU where there is one) or cpu.
        workers: processes that read images.

    Returns:
        Files and changes; printing it gives a table.

    Raises:
        UserError: anything wrong with what was given; no page is written then.

    Example:
        robustvit classes --model runs/mine --baseline original --on imagenet-a --root DATA --out classes.html
    """
    settings = {name: value for name, value in locals().items() if name in inspect.signature(classes).parameters}
    page, record = _check_options(settings)
    compared = _compare(settings)
    return _write(compared, settings, page, record)


def _check_options(settings: dict[str, Any]) -> tuple[Path, Path]:
    """The files to write."""
    from robustvit.data.pairs import expect_photos

    _check_source(settings)
    page = Path(settings["out"])
    record = page.with_suffix(".json")
    if page.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"expected --out to end in .html, got {page}: the record goes beside it as .json")
    expect_at_least(1, count=settings["count"], batch_size=settings["batch_size"])
    expect_at_least(0, **{name: settings[name] for name in ("samples", "classes_shown", "workers")})
    expect_photos(settings["images"], settings["masks"])
    from robustvit.files import check_own_page
    from robustvit.per_class.record import KIND

    check_own_page(page, KIND, "a comparison of classes")
    check_own_page(record, KIND, "the record of a comparison of classes")
    return page, record


def _check_source(settings: dict[str, Any]) -> None:
    on, images = settings["on"], settings["images"]
    if (on is None) == (images is None):
        raise UserError("expected one of --on SET, such as --on imagenet-a --root DATA, and --images FOLDER")
    of_photos = [name for name in ("masks", "skip_unmasked", "include_trained") if settings[name]]
    if images is None and of_photos:
        raise UserError(f"expected no --{of_photos[0].replace('_', '-')} beside --on: it belongs to --images")
    if images is not None:
        of_sets = [name for name in ("root", "stream") if settings[name]]
        of_sets += ["protocol"] if settings["protocol"] != "standard" else []
        if of_sets:
            raise UserError(f"expected no --{of_sets[0]} beside --images: it belongs to --on")


def _compare(settings: dict[str, Any]) -> "Compared":
    from robustvit.methods import method_of
    from robustvit.per_class.answers import OwnPhotos, compare_on_photos, compare_on_set
    from robustvit.set_evaluation.command import SetOptions

    method_of(settings["relevance"])
    shared = ("root", "stream", "protocol", "records", "seen", "precision", "batch_size", "workers", "device")
    options = SetOptions(**{name: settings[name] for name in shared})
    loading = {name: settings[name] for name in ("checkpoint", "num_classes", "normalization", "class_names")}
    method = settings["relevance"] if _shows(settings) else None
    pair = settings["model"], settings["baseline"]
    if settings["on"] is not None:
        return compare_on_set(settings["on"], *pair, options, loading, method)
    photos = OwnPhotos(*(settings[name] for name in ("images", "masks", "skip_unmasked", "include_trained")))
    return compare_on_photos(photos, *pair, options, loading, method)


def _shows(settings: dict[str, Any]) -> bool:
    return settings["samples"] > 0 and settings["classes_shown"] > 0


def _write(compared: "Compared", settings: dict[str, Any], page: Path, record_file: Path) -> ClassAnalysis:
    from robustvit.files import write_json, write_text
    from robustvit.per_class.page import render_classes
    from robustvit.per_class.pictures import choose_panels, draw_turned
    from robustvit.per_class.record import class_record

    panels = choose_panels(compared, settings["classes_shown"], settings["samples"])
    record = class_record(compared, panels, settings["count"], settings)
    if compared.place.loop.accelerator.is_main_process:
        pictures = draw_turned(compared, panels, settings["relevance"], settings["mask_format"])
        text = render_classes(record, pictures, record_file.name)
        page.parent.mkdir(parents=True, exist_ok=True)
        write_json(record, record_file)
        write_text(text, page)
    return ClassAnalysis(page, record_file, compared.changes, record["data"]["title"], record["sentence"])


def _line(row: "ClassChange") -> str:
    from robustvit.errors import printable

    change = row.difference
    words = f"{100 * change.mean:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"
    return (
        f"  {printable(row.name)[:31]:<32}{change.count:>7}{100 * row.before.mean:>8.1f}{100 * row.after.mean:>7.1f}  "
        f"{words:<25}{row.adjusted_p:.2g}"
    )
