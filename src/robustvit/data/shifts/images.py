"""Making shifted copies, each with its mask, in this process or in others."""

from __future__ import annotations

import io
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from contextlib import contextmanager
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from robustvit.common.files import new_file
from robustvit.common.options import MaskFormat
from robustvit.common.progress import bar
from robustvit.common.workers import worker_pool
from robustvit.data.datasets import read_pair
from robustvit.data.mask_pixels import sign
from robustvit.data.mask_values import FAINT
from robustvit.data.read_photos import read_photo
from robustvit.data.shifts.cutouts import Placement, cut_out, place, square_background
from robustvit.data.shifts.folder import ShiftFolder
from robustvit.data.shifts.kinds import Shift, ShiftOptions, ShiftPlan
from robustvit.data.shifts.survey import crop_square
from robustvit.data.swaps import boxed_background, no_foreground, only_foreground, paste, tiled_background

if TYPE_CHECKING:
    from robustvit.data.photo import Photo

Spread = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[tuple[int, Any]]]
SUFFIXES = {"png": ".png", "jpeg": ".jpg"}
_PER_JOB = 64
_ALONE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "original": lambda image, mask: image,
    "only-fg": only_foreground,
    "no-fg": no_foreground,
    "only-bg-b": boxed_background,
    "only-bg-t": tiled_background,
}


def _group_jobs(shifts: Sequence[Shift]) -> list[list[Shift]]:
    """Group images of the same photo into lists of at most 64."""
    together: dict[str, list[Shift]] = {}
    for shift in shifts:
        together.setdefault(shift.job, []).append(shift)
    return [some[start : start + _PER_JOB] for some in together.values() for start in range(0, len(some), _PER_JOB)]


def _make_images(shifts: Sequence[Shift], folder: Path, suffix: str, mask_format: MaskFormat) -> dict[str, str]:
    """Make images of one photo, each with its mask if it has one; return why some were not made, by id."""
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(1)  # the processes share the cores already
    photo = _OpenedPhoto(shifts[0].photo, mask_format)
    square = cache(partial(_square_background, mask_format=mask_format))
    left_out: dict[str, str] = {}
    for shift in shifts:
        if shift.placement is None:
            image, mask = _vary(shift, photo, mask_format)
        else:
            image, mask = _place(shift.placement, photo.cutout, square(shift.background, shift.size))
        if reason := _explain_unfit(mask) if shift.has_mask and not photo.empty else "":
            left_out[shift.id] = reason
            continue
        if shift.has_mask:
            _save(Image.fromarray(mask), folder / shift.mask, pnginfo=sign())
        _save(image, folder / shift.file(suffix))  # last: an image that exists is done
    return left_out


class _OpenedPhoto:
    """A photo and its mask, read once for all of its images."""

    def __init__(self, photo: Photo, mask_format: MaskFormat) -> None:
        self.image, self.mask = read_pair(photo, mask_format)
        self.empty = not bool(self.mask.any())
        self.frame = cache(partial(crop_square, self.image, self.mask))

    @cached_property
    def cutout(self) -> Image.Image:
        return cut_out(self.image, self.mask[0].numpy())


def _vary(shift: Shift, photo: _OpenedPhoto, mask_format: MaskFormat) -> tuple[Image.Image, np.ndarray]:
    """Return an image of a kind that does not move the object, and its mask."""
    image, mask = photo.frame(shift.size)
    if shift.background is None:
        changed = _ALONE[shift.kind](image, mask)
    else:
        lender, hidden = crop_square(*read_pair(cast("Photo", shift.background), mask_format), shift.size)
        changed = paste(image, mask, tiled_background(lender, hidden))
    grey = (255 * mask[0].numpy()).round().astype(np.uint8)
    return TF.to_pil_image((255 * changed).round().to(torch.uint8)), _remove_faint(grey)


def _square_background(source: Photo | Path | None, size: int, mask_format: MaskFormat) -> Image.Image:
    if isinstance(source, Path):
        return square_background(read_photo(source), size)
    image, mask = read_pair(cast("Photo", source), mask_format)
    return square_background(TF.to_pil_image(tiled_background(TF.pil_to_tensor(image), mask)), size)


def _place(placement: Placement, cutout: Image.Image, background: Image.Image) -> tuple[Image.Image, np.ndarray]:
    """Return the object on the background, and its mask: the same outline in white on black."""
    image, _ = place(cutout, background, placement)
    white = Image.new("RGBA", cutout.size, "white")
    white.putalpha(cutout.getchannel("A"))
    mask, _ = place(white, Image.new("RGB", background.size), placement)
    return image, _remove_faint(np.array(mask.getchannel("R")))


def _remove_faint(grey: np.ndarray) -> np.ndarray:
    # Few and low grey values would be taken for class ids on reading.
    return np.where(grey < FAINT, 0, grey).astype(np.uint8)


def _explain_unfit(mask: np.ndarray) -> str:
    if mask.max() <= 127:
        return "nothing of the object is to be seen"
    return "the object covers the whole image" if mask.min() == 255 else ""


def _save(image: Image.Image, path: Path, pnginfo: PngInfo | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()  # Pillow's own errors of files do not say that the disk is full
    if path.suffix == ".png":
        image.save(content, format="PNG", compress_level=3, pnginfo=pnginfo)
    else:
        image.save(content, format="JPEG", quality=95, subsampling=0)
    with new_file(path, flush=False) as file:
        file.write(content.getbuffer())


@contextmanager
def spread_work(workers: int) -> Iterator[Spread]:
    """Share work among processes, or do it in this one.

    Yields:
        ``spread(function, items)``, which calls a function on every item and yields the item's number and its result,
        in any order. It raises the errors of the function, and ``UserError`` if a process died.
    """
    if not workers:
        yield lambda function, items: ((number, function(item)) for number, item in enumerate(items))
        return

    def spread(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        waiting = {executor.submit(function, item): number for number, item in enumerate(items)}
        for future in as_completed(waiting):
            yield waiting[future], future.result()

    with worker_pool(workers) as executor:
        yield spread


def make_shifts(
    plan: ShiftPlan, folder: ShiftFolder, options: ShiftOptions, spread: Spread
) -> tuple[dict[str, str], int]:
    """Make the missing images of a plan; return why some could not be made, by id, and how many were made."""
    folder.start()
    before = folder.left_out()
    left_out = {shift.id: before[shift.id] for shift in plan.shifts if shift.id in before}
    missing = [shift for shift in plan.shifts if shift.id not in left_out and not folder.is_done(shift)]
    jobs = _group_jobs(missing)
    make = partial(_make_images, folder=folder.path, suffix=folder.suffix, mask_format=options.mask_format)
    made = 0
    with bar(speed=True) as progress:
        task = progress.add_task("shifted copies", total=len(missing))
        for number, unfit in spread(make, jobs):
            left_out |= unfit
            made += len(jobs[number]) - len(unfit)
            progress.advance(task, len(jobs[number]))
    return left_out, made
