"""An audit: does a model look at the background? Nothing is trained; one page and one record are written."""

# Annotations stay real objects here (no __future__ import): the command line resolves them without importing torch.
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustvit.errors import UserError, expect_at_least
from robustvit.options import ClassNames, Device, Feature, MaskFormat, Normalization
from robustvit.wording import counted

if TYPE_CHECKING:
    from robustvit.audits.record import AuditData
    from robustvit.classifier import Classifier

__all__ = ["Audit", "audit"]


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        page: the HTML file.
        record: the JSON file beside it: every figure of the page, and what was measured on every photo.
        found: the same as objects.
    """

    page: Path
    record: Path
    found: "AuditData"

    @property
    def reliance(self) -> str:
        """The verdict on the model in a word: no sign, some, strong reliance or cannot tell."""
        return self.found.model.verdict.reliance

    def __str__(self) -> str:
        lines = [f"{self.found.model.source} on {counted(len(self.found.files), 'photo')} of {self.found.images}"]
        for side, one in self.found.sides.items():
            lines.append(f"{side}: {one.verdict.reliance}. {one.verdict.sentence}")
        return "\n".join([*lines, *self.found.notes, f"page: {self.page}", f"record: {self.record}"])


def audit(
    *,
    model: str,
    images: str,
    out: str,
    masks: str | None = None,
    baseline: str | None = None,
    backgrounds: str | None = None,
    checkpoint: str | None = None,
    num_classes: int | None = None,
    normalization: Normalization = "model",
    class_names: ClassNames | None = None,
    mask_format: MaskFormat = "auto",
    skip_unmasked: bool = False,
    doubtful: bool = False,
    masks_out: str | None = None,
    mask_model: str | None = None,
    mask_checkpoint: str | None = None,
    mask_feature: Feature = "keys",
    mask_centre: bool = False,
    mask_threshold: float = 0.2,
    mask_size: int = 480,
    relevance: str = "gae",
    swaps: int = 2,
    tries: int = 12,
    shifted: int = 60,
    groups: int = 0,
    group_model: str | None = None,
    group_checkpoint: str | None = None,
    group_feature: Feature = "keys",
    group_block: int | None = None,
    worst: int = 20,
    batch_size: int = 32,
    device: Device = "auto",
    workers: int = 0,
    seed: int = 0,
) -> Audit:
    """Find out whether a model looks at the background, without training anything, and write a page about it.

    Photos in class folders, which the model should not have been trained on, are shown to it as they are, on other
    backgrounds, without object, without background, and with the object elsewhere. With a baseline everything is
    measured on both models, with paired differences. Without masks, TokenCut finds them; doubtful ones are left out.

    Args:
        model: run folder, timm name, transformers:OWNER/NAME, torchvision:NAME, open_clip:ARCHITECTURE/TAG,
            hf-hub:OWNER/NAME or local-dir:FOLDER.
        images: folder with one folder of photos per class, or a CSV file (image,mask,label).
        out: HTML file to write, new or an older audit; the record goes beside it, under its name with .json.
        masks: folder of masks that mirrors images.
        baseline: model to compare with: "original" for the one a run folder started from, or any source as for model.
        backgrounds: folder of photos to place objects on for position, size and rotation; the photos' own tiled
            backgrounds of other classes when left out.
        checkpoint: weights for the model: safetensors, .pth or .pth.tar.
        num_classes: classes of the model's head; read from the weights when left out.
        normalization: model (its own mean and std) or paper (0.5 for every model).
        class_names: classes that a zero-shot model chooses among (default ImageNet's), or names of a head without any:
            cat,dog, or a text file with one name a line.
        mask_format: auto, soft, ids (class ids, 255 void) or imagenet-s.
        skip_unmasked: leave photos without a mask out instead of refusing them.
        doubtful: use masks too that their manifest.csv calls doubtful; they are left out otherwise.
        masks_out: folder for masks that are found; that of the page with -masks when left out.
        mask_model: backbone that finds masks (default vit_small_patch16_224.dino).
        mask_checkpoint: weights for it.
        mask_feature: what is compared to find them: keys, queries, values or tokens.
        mask_centre: subtract the mean over patches from the features; DINOv2-like backbones need it.
        mask_threshold: cosine above which two patches are alike.
        mask_size: longer side in pixels at which the backbone sees a photo.
        relevance: method that tells where the relevance lies: gae, attnlrp, rollout or raw_attention for vision
            transformers, grad_cam or input_gradient for any classifier.
        swaps: swapped backgrounds per photo, of its own class and as many of other classes.
        tries: backgrounds of other classes per photo, in search of one that takes the answer over.
        shifted: photos whose object is placed elsewhere.
        groups: kinds of background to find; 0 takes the number from 2 to 12 with the largest mean silhouette.
        group_model: backbone whose features tell backgrounds apart; the model itself when left out.
        group_checkpoint: weights for it.
        group_feature: keys, queries, values or tokens of it.
        group_block: of it, counted from 1; the last when left out.
        worst: how many of the worst photos to show.
        batch_size: images at a time.
        device: auto (a GPU where there is one) or cpu.
        workers: processes that read photos.
        seed: fixes every choice.

    Returns:
        Files and measures; printing it gives the verdict.

    Raises:
        UserError: anything wrong with what was given; no page is written then.

    Example:
        robustvit audit --model runs/mine --images photos/test --masks masks/test --out audit.html
    """
    settings = {name: value for name, value in locals().items() if name in inspect.signature(audit).parameters}
    from robustvit.data.pairs import expect_photos

    expect_photos(images, masks)
    page, record = _check_options(settings)
    from robustvit.audits.inputs import background_files, find_audit_photos, trained_on
    from robustvit.audits.run import AuditRun
    from robustvit.devices import make_accelerator
    from robustvit.evaluation import load_baseline
    from robustvit.methods import check_method
    from robustvit.models import load_model

    classifier = load_model(
        model, num_classes=num_classes, checkpoint=checkpoint, normalization=normalization, class_names=class_names
    )
    other = load_baseline(baseline, model, classifier, num_classes, normalization, class_names)
    models = [one for one in (classifier, other) if one is not None]
    for one in models:
        check_method(relevance, one)
    grouper = _group_backbone(settings, classifier)
    files = background_files(backgrounds)
    photos, notes = find_audit_photos(settings, classifier)
    notes += trained_on(photos, model, baseline, checkpoint)
    place = make_accelerator(device=device).device
    run = AuditRun(settings, [one.to(place) for one in models], grouper.to(place), photos, notes, files)
    found = run.measure()
    run.write(found, page, record)
    return Audit(page, record, found)


def _check_options(settings: dict[str, Any]) -> tuple[Path, Path]:
    """The files to write."""
    from robustvit.audits.record import KIND
    from robustvit.files import check_own_page

    page = Path(settings["out"])
    record = page.with_suffix(".json")
    if page.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"expected --out to end in .html, got {page}: the record goes beside it as .json")
    check_own_page(page, KIND, "an audit")
    check_own_page(record, KIND, "the record of an audit")
    expect_at_least(1, swaps=settings["swaps"], tries=settings["tries"], batch_size=settings["batch_size"])
    expect_at_least(0, **{name: settings[name] for name in ("shifted", "groups", "worst", "workers", "seed")})
    if settings["groups"] == 1:
        raise UserError("expected --groups of at least 2, or 0 to have the number found, got 1")
    own = [name for name in ("masks_out", "mask_model", "mask_checkpoint") if settings[name] is not None]
    if own and settings["masks"] is not None:
        option = "--" + own[0].replace("_", "-")
        raise UserError(f"{option} is about finding masks, but --masks names some: leave one of them out")
    return page, record


def _group_backbone(settings: dict[str, Any], classifier: "Classifier") -> "Classifier":
    from robustvit.models import load_model
    from robustvit.patch_features import check_features

    if settings["group_model"] is None:
        if settings["group_checkpoint"] is not None:
            raise UserError("--group-checkpoint needs --group-model: name the backbone that the weights are for")
        return classifier
    backbone = load_model(settings["group_model"], checkpoint=settings["group_checkpoint"], headless=True)
    check_features(backbone, settings["group_feature"], settings["group_block"])
    return backbone
