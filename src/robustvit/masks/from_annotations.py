"""Masks from another tool's annotations, written into a folder of masks."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from robustvit.common.errors import UserError
from robustvit.common.option_groups import RunningOptions
from robustvit.common.options import Categories
from robustvit.common.photo_options import PixelOptions
from robustvit.common.wording import list_names
from robustvit.masks.options import AnnotationOptions, MaskOptions

if TYPE_CHECKING:
    from pathlib import Path

    from robustvit.masks.annotations.annotated import AnnotatedPhoto, Annotations
    from robustvit.masks.annotations.box_reading import BoxReading
    from robustvit.masks.folder import MaskFolder, MaskingRun


def _list_categories(categories: Categories | None) -> list[str]:
    """Return categories as a list of names; ``cat,dog`` is two."""
    from robustvit.data.matching import compose

    given = categories if categories is None or isinstance(categories, (str, list)) else [categories]
    return list(map(compose, list_names(given)))


def read_boxes(
    annotated: AnnotationOptions, finding: MaskOptions, pixels: PixelOptions, running: RunningOptions
) -> BoxReading:
    """Return how boxes become masks."""
    from robustvit.masks.annotations.box_reading import FEATHER, BoxReading

    chosen: dict[str, Any] = {
        "units": annotated.box_units,
        "min_confidence": annotated.min_confidence,
        "asked": annotated.boxes is not None,
    }
    if annotated.boxes != "sam":
        feather = FEATHER if annotated.feather is None else annotated.feather
        return BoxReading(shape=annotated.boxes or "ellipse", feather=feather, **chosen)
    from robustvit.common.devices import make_accelerator
    from robustvit.data.pixels import Pixels
    from robustvit.masks.sources.box_prompts import SamBoxes
    from robustvit.masks.sources.sam2 import SAM

    device = make_accelerator(device=running.device).device
    return SamBoxes(model=finding.model or SAM, device=device, pixels=Pixels.of(pixels), **chosen)


def import_annotated(
    source: str, out: str, options: AnnotationOptions, boxes: BoxReading, held: ExitStack
) -> MaskingRun:
    """Make masks from annotations; of several processes only the first reads them."""
    from robustvit.common.devices import make_accelerator
    from robustvit.common.progress import track
    from robustvit.masks.annotations import read_annotations, resolve_format
    from robustvit.masks.annotations.class_folders import class_folders
    from robustvit.masks.annotations.to_masks import MaskImport, check_categories
    from robustvit.masks.folder import MaskingRun

    categories = _list_categories(options.categories)
    form = resolve_format(str(options.from_), source)
    found = read_annotations(form, source, options.images, options.orientation, options.which, boxes=boxes)
    if not found.photos:
        raise UserError(f"no photo with an annotation: {found.problems[0] if found.problems else source}")
    check_categories(found, categories)
    images = [photo.image for photo in found]
    folders, lines = class_folders(images, found.root, found.categories, options.label_from)
    accelerator = make_accelerator(device="cpu")
    folder = _open_folder(out, form, options, boxes, accelerator.process_index)
    accelerator.wait_for_everyone()  # all processes must have checked the folder before one writes to it
    todo: list[AnnotatedPhoto] = []
    if accelerator.is_main_process:
        boxes.load()
        held.enter_context(folder.locked())
        todo, edited = _start_folder(folder, found, folders, boxes)
        advice = found.advice if form in ("voc", "imagenet-s") else ""
        masks = MaskImport(folder, boxes, found.root, categories, options.label_from, advice)
        lines += [*edited, *folder.report_others(found.photos, source)]
        lines += masks.write(track(todo, "reading annotations"), folders)
    accelerator.wait_for_everyone()
    left_out = len(folder.missing(found.photos))
    notes = tuple(boxes.summary())
    return MaskingRun(folder, [*found.problems, *lines], left_out, len(todo), found.root, notes)


def _open_folder(out: str, form: str, options: AnnotationOptions, boxes: BoxReading, rank: int) -> MaskFolder:
    """Return the folder of masks with all settings that they depend on."""
    from robustvit.masks.annotations.box_reading import BoxReading
    from robustvit.masks.folder import MaskFolder

    settings: dict[str, Any] = {"from": form, "categories": _list_categories(options.categories)}
    settings |= {"label_from": options.label_from, "orientation": options.orientation}
    settings |= {} if options.which is None else {"which": options.which}
    return MaskFolder(out, settings | boxes.settings, rank, earlier=BoxReading().settings)


def _start_folder(
    folder: MaskFolder, found: Annotations, folders: dict[Path, str | None], boxes: BoxReading
) -> tuple[list[AnnotatedPhoto], list[str]]:
    """Drop masks of annotations that changed; return what is missing, and a line for each mask that is kept."""
    from robustvit.masks.annotations.to_masks import digest_annotation

    folder.start()
    _, edited = folder.forget_changed(
        found.photos, lambda photo: digest_annotation(photo, folders[photo.image], boxes), unknown=True
    )
    return folder.missing(found.photos), edited
