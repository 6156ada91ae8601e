"""Masks by a model: each process takes its share of the photos."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from robustvit.common.option_groups import RunningOptions
from robustvit.common.photo_options import ColumnOptions, PixelOptions
from robustvit.common.wording import pluralize
from robustvit.masks.options import MaskOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from accelerate import Accelerator

    from robustvit.data.placed_photos import PlacedPhoto
    from robustvit.masks.folder import MaskFolder, MaskingRun
    from robustvit.masks.sources import MaskSource


def find_masks(
    source: str,
    out: str,
    options: MaskOptions,
    reading: tuple[PixelOptions, ColumnOptions],
    running: RunningOptions,
    held: ExitStack,
) -> MaskingRun:
    """Make masks with a model; each process takes its share of the photos."""
    from robustvit.common.devices import make_accelerator
    from robustvit.data.no_object import check_no_object, is_named, split_names
    from robustvit.data.tables.source import places_in
    from robustvit.masks.choose_cut import choose_cut
    from robustvit.masks.folder import MaskFolder, MaskingRun
    from robustvit.masks.sources import make_source

    photos, problems, root, pixels = _list_photos(source, out, reading)
    clashing = len(problems)
    check_no_object(options.no_object, {photo.label for photo in photos})
    named = frozenset(split_names(options.no_object))
    accelerator = make_accelerator(device=running.device)
    shown = [photo for photo in photos if not is_named(photo.label, named)]
    if options.method == "tokencut":
        options = choose_cut(options, shown, out, accelerator.device)
    settings = {name: value for name, value in asdict(options).items() if name != "no_object"}  # of single photos
    folder = MaskFolder(out, settings | pixels.said, accelerator.process_index)
    maker = make_source(options, accelerator.device, {photo.image: photo.label for photo in shown})
    files = [photo.image for photo in photos]
    unmatched = maker.match_photos(dict(zip(places_in(files, root), files, strict=True)), root)
    accelerator.wait_for_everyone()  # all processes must have checked the folder before one writes to it
    if accelerator.is_main_process:
        held.enter_context(folder.locked())
        folder.start()
        problems += [*unmatched, *_forget_changed(folder, photos, maker, named)]
    accelerator.wait_for_everyone()  # changed photos must be forgotten before one lists what is missing
    todo = folder.missing(photos)
    accelerator.wait_for_everyone()
    problems += _make_share(todo, named, maker, folder, accelerator, running)
    return MaskingRun(folder, problems, len(folder.missing(photos)) + clashing, len(todo), root)


def _list_photos(
    source: str, out: str, reading: tuple[PixelOptions, ColumnOptions]
) -> tuple[list[PlacedPhoto], list[str], Path, PixelOptions]:
    """Return the photos, a line for each that cannot be used, their root, and how their pixels are read."""
    from robustvit.common.files import read_settings
    from robustvit.data.manifest import SETTINGS
    from robustvit.data.photo_scales import recorded_scale
    from robustvit.data.pixels import Pixels
    from robustvit.data.placed_photos import place_photos

    pixels, columns = reading
    old = read_settings(Path(out) / SETTINGS)
    pixels = pixels.or_else(PixelOptions(range=None if old is None else old.get("range")))
    photos, problems, root = place_photos(source, out, Pixels.of(pixels), columns)
    if old is None or "range" in old:  # folders of earlier versions do not note what was decided
        pixels = replace(pixels, range=recorded_scale(photo.pixels for photo in photos) or pixels.range)
    return photos, problems, root, pixels


def _make_share(
    todo: list[PlacedPhoto],
    named: frozenset[str],
    maker: MaskSource,
    folder: MaskFolder,
    accelerator: Accelerator,
    running: RunningOptions,
) -> list[str]:
    """Make this process's share of the masks; return the problems of all processes."""
    from accelerate.utils import gather_object

    from robustvit.data.no_object import is_named
    from robustvit.masks.loop import mask_photos, write_black_masks

    rank, processes = accelerator.process_index, accelerator.num_processes
    bare = [photo for photo in todo if is_named(photo.label, named)]
    mine = [photo for photo in todo if not is_named(photo.label, named)][rank::processes]
    lines = mask_photos(maker, mine, folder, running.batch_size, running.workers)
    lines += write_black_masks(bare[rank::processes], folder)
    problems: list[str] = gather_object(lines)
    accelerator.wait_for_everyone()
    return problems


def _forget_changed(
    folder: MaskFolder, photos: Sequence[PlacedPhoto], maker: MaskSource, named: frozenset[str]
) -> list[str]:
    """Drop masks of photos that changed since, or of other weights; return a line for each that is kept anyway."""
    from robustvit.common.progress import warn
    from robustvit.data.manifest import NO_OBJECT
    from robustvit.data.no_object import is_named
    from robustvit.masks.folder import digest_inputs

    def inputs(photo: PlacedPhoto) -> str:
        return digest_inputs(photo.image, NO_OBJECT if is_named(photo.label, named) else maker.content(photo.image))

    undated, edited = folder.forget_changed(photos, inputs, unknown=False)
    if undated:
        warn(
            f"{pluralize(undated, 'mask')} in {folder.path} of an earlier version, which did not note what they were "
            "made from: name another --out if photos or weights changed since"
        )
    return edited
