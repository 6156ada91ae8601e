"""Masks for a folder of photos: found by a model, or read from another tool's annotations."""

# Annotations stay real objects here (no __future__ import): the command line resolves them without importing torch.
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robustvit.errors import UserError, expect_at_least
from robustvit.options import AnnotationFormat, Device, Feature, LabelFrom, MaskMethod, Side

if TYPE_CHECKING:
    from robustvit.data.manifest import MaskRecord
    from robustvit.mask_folder import MaskFolder
    from robustvit.mask_sources import MaskOptions

__all__ = ["MadeMasks", "make_masks"]

_SHOWN = 10


@dataclass(frozen=True)
class MadeMasks:
    """What ``make_masks`` came to.

    Attributes:
        folder: of the masks.
        manifest: CSV file with a row for each photo, which ``finetune`` takes as ``--images`` too.
        records: the same rows.
        problems: one line for each photo or annotation that was left out.
        made: how many photos this call worked on.
        seconds: how long it took.
        review: the review page, if one was asked for.
    """

    folder: Path
    manifest: Path
    records: "list[MaskRecord]"
    problems: list[str]
    made: int
    seconds: float
    review: Path | None = None

    def __str__(self) -> str:
        counts = {name: sum(r.verdict == name for r in self.records) for name in ("good", "doubtful", "none")}
        lines = [
            f"{counts['good'] + counts['doubtful']} masks in {self.folder}: {counts['good']} good, "
            f"{counts['doubtful']} doubtful (left out of training); {counts['none']} photos without an object",
            f"{self.made} photos done now, {self.made / max(self.seconds, 1e-9):.1f} images/s; {self.manifest}",
        ]
        if self.problems:
            lines.append(f"{len(self.problems)} left out (all in {self.folder / 'problems.txt'}):")
            lines += [f"  {line}" for line in self.problems[:_SHOWN]]
        return "\n".join(lines + ([f"review: {self.review}"] if self.review else []))


def make_masks(
    source: str,
    *,
    out: str,
    method: MaskMethod = "tokencut",
    model: str | None = None,
    checkpoint: str | None = None,
    feature: Feature = "keys",
    block: int | None = None,
    centre: bool = False,
    threshold: float = 0.2,
    size: int = 480,
    side: Side = "corners",
    objects: int = 1,
    refine: bool = True,
    relevance: str = "gae",
    prompts: str | None = None,
    from_: AnnotationFormat | None = None,
    images: str | None = None,
    categories: list[str] | None = None,
    label_from: LabelFrom = "largest",
    review: str | None = None,
    batch_size: int = 8,
    workers: int = 0,
    device: Device = "auto",
) -> MadeMasks:
    """Make foreground masks for a folder of photos, ready for finetune.

    Without --from, a model finds them, and says of each whether it is good, doubtful or none at all; with --from, they
    are read from annotations. Writes grey PNGs that mirror the photos, and manifest.csv with a confidence and a verdict
    for each. A second call does only what is missing.

    Args:
        source: folder of photos, or of class folders with photos; with --from, the annotation file or folder.
        out: folder for the masks.
        method: tokencut (no supervision), rembg, sam2 (needs --prompts), relevance (the model's own map).
        model: backbone for tokencut (default vit_small_patch16_224.dino), rembg's or SAM 2's name, or the classifier
            for relevance; sources as for finetune.
        checkpoint: weights for the model: safetensors, .pth or .pth.tar.
        feature: what tokencut compares: keys, queries, values or tokens.
        block: of the backbone, counted from 1; the last when left out.
        centre: subtract the mean over patches from the features; DINOv2-like backbones need it.
        threshold: cosine above which two patches are alike.
        size: longer side in pixels at which the backbone sees a photo.
        side: which part is the object. seed: the one with the most extreme patch (TokenCut's rule); corners: the same,
            but a part that holds three or four corners of the frame is the background if the other holds one at most.
        objects: how many objects to look for in a photo.
        refine: draw masks to the photo's edges with the bilateral solver.
        relevance: method of the map for --method relevance.
        prompts: CSV file for sam2: image,x0,y0,x1,y1 (boxes) or image,x,y (points).
        from_: read masks from annotations instead: coco, yolo, labelme, voc, imagenet-s, binary, grey or soft.
        images: folder of the photos that the annotations are about.
        categories: the only ones to take from annotations.
        label_from: of a photo with several categories, take the largest, or all (a mask for each).
        review: HTML file to write, a gallery to look the masks over; finetune obeys the review.csv it saves.
        batch_size: photos at a time.
        workers: processes that cut and refine beside this one, which runs the model.
        device: auto (a GPU where there is one) or cpu.

    Returns:
        Masks, counts and problems; printing it gives a summary.

    Raises:
        UserError: anything wrong with what was given; single photos that cannot be used are listed instead.

    Example:
        robustvit masks photos/train --out masks/train --review review.html
    """
    import time

    from robustvit.mask_review import check_review, write_review
    from robustvit.mask_sources import MaskOptions

    expect_at_least(1, objects=objects, batch_size=batch_size)
    expect_at_least(0, workers=workers)
    if not -1 <= threshold < 1:
        raise UserError(f"expected --threshold from -1 to below 1, a cosine, got {threshold}")
    if review is not None:
        check_review(review)
    start = time.monotonic()
    options = MaskOptions(
        method, model, checkpoint, feature, block, centre, threshold, size, side, objects, refine, relevance, prompts
    )
    if from_ is not None:
        folder, problems, made = _imported(source, out, from_, images, categories or [], label_from)
    elif images is not None or categories:
        raise UserError("--images and --categories belong to annotations: name their format with --from")
    else:
        folder, problems, made = _found(source, out, options, batch_size, workers, device)
    records = folder.finish(problems) if folder.rank == 0 else []
    if folder.rank == 0 and not any(record.mask for record in records):
        raise UserError(f"no mask could be made: {problems[0] if problems else 'nothing stands out in any photo'}")
    page = write_review(records, review) if review is not None and folder.rank == 0 else None
    return MadeMasks(folder.path, folder.manifest, records, problems, made, time.monotonic() - start, page)


def _imported(
    source: str, out: str, form: str, images: str | None, categories: list[str], label_from: LabelFrom
) -> "tuple[MaskFolder, list[str], int]":
    """Masks from annotations."""
    from robustvit.annotations import read_annotations
    from robustvit.mask_folder import MaskFolder
    from robustvit.mask_import import check_categories, import_masks
    from robustvit.progress import track

    found = read_annotations(form, source, images)
    if not found.photos:
        raise UserError(f"no photo with an annotation: {found.problems[0] if found.problems else source}")
    check_categories(found, categories)
    settings = {"from": form, "categories": categories, "label_from": label_from}
    folder = MaskFolder(out, settings)
    folder.start()
    todo = folder.missing(found.photos)
    lines = import_masks(
        track(todo, "reading annotations"),
        found.categories,
        folder,
        images=None if images is None else Path(images),
        categories=categories,
        label_from=label_from,
        source=form,
    )
    return folder, [*found.problems, *lines], len(todo)


def _found(
    source: str, out: str, options: "MaskOptions", batch_size: int, workers: int, device: Device
) -> "tuple[MaskFolder, list[str], int]":
    """Masks from a model; each of several processes takes its share of the photos."""
    from dataclasses import asdict

    from accelerate.utils import gather_object

    from robustvit.data.photo_tree import photo_tree
    from robustvit.devices import make_accelerator
    from robustvit.mask_folder import MaskFolder
    from robustvit.mask_run import mask_photos
    from robustvit.mask_sources import make_source

    photos, problems = photo_tree(source, leave_out=out)
    accelerator = make_accelerator(device=device)
    rank, processes = accelerator.process_index, accelerator.num_processes
    folder = MaskFolder(out, asdict(options), rank)
    maker = make_source(options, accelerator.device)
    accelerator.wait_for_everyone()  # every process must have found the folder fit before one writes to it
    if accelerator.is_main_process:
        folder.start()
    todo = folder.missing(photos)
    accelerator.wait_for_everyone()
    mine = todo[rank::processes]
    lines = mask_photos(maker, mine, folder, batch_size, workers)
    problems += gather_object(lines)
    accelerator.wait_for_everyone()
    return folder, problems, len(todo)
