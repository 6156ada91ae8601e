"""The output folder of masks: the masks, their manifest, and the settings they were made with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from robustvit.common.errors import UserError
from robustvit.common.files import check_own_folder, new_file, read_settings, write_json, write_text
from robustvit.common.locks import LOCKS, lock_folder
from robustvit.data.manifest import MANIFEST, SETTINGS, MaskRecord, append_record, read_manifest, write_manifest
from robustvit.data.mask_files import FAINTEST
from robustvit.data.read_photos import open_header
from robustvit.data.review import resolve_folder

_PROBLEMS = "problems.txt"
_SIGNATURE = ("Software", "robustvit masks")


def _lost(record: MaskRecord) -> bool:
    return record.mask is not None and not record.mask.is_file()


def _signed() -> PngInfo:
    info = PngInfo()
    info.add_text(*_SIGNATURE)
    return info


def _is_ours(mask: Path) -> bool:
    """Whether a mask was written by a run that was killed before it reached the manifest."""
    try:
        with open_header(mask) as image:
            return image.info.get(_SIGNATURE[0]) == _SIGNATURE[1]
    except UserError:
        return False


def _refuse_unwritable(record: MaskRecord) -> None:
    for name in (str(record.image), str(record.mask), record.label or ""):
        try:
            name.encode("utf-8")
        except UnicodeEncodeError as error:
            raise UserError(f"{record.image}: its name is not UTF-8, as CSV files need; rename it") from error


class MaskFolder:
    """Masks that mirror a folder of photos, with ``manifest.csv``, ``settings.json`` and ``problems.txt``.

    A mask is written before its row of the manifest, so killing a run loses at most one photo. Every process writes
    rows to its own part, and ``finish`` joins them.

    Args:
        path: the folder.
        settings: all settings that the masks depend on.
        rank: number of this process.
    """

    def __init__(self, path: str | Path, settings: dict[str, Any], rank: int = 0) -> None:
        self.path, self.rank, self.settings = Path(path), rank, settings
        self.manifest = self.path / MANIFEST
        self._owners: dict[Path, tuple[Path, str | None]] | None = None
        self._check()

    def _check(self) -> None:
        old = read_settings(self.path / SETTINGS)
        if not check_own_folder(self.path, old is not None, command="masks", ignore=LOCKS) or old is None:
            return
        if "method" in old:  # folders of versions before there were two protocols
            old = {"protocol": "standard"} | old
        other = [name for name in sorted({*old, *self.settings}) if old.get(name) != self.settings.get(name)]
        if other:
            name = other[0]
            raise UserError(
                f"{self.path} holds masks made with {name} {old.get(name)}, not {self.settings.get(name)}: give the "
                "same options to continue, or another --out"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder and lock it against other commands, in a ``with`` block around ``start`` and ``finish``."""
        with lock_folder(self.path, who="another masks command"):
            self._check()  # another one may have begun, and ended, since the first look
            yield

    def start(self) -> None:
        """Create the folder, or join the parts that a killed run left in it."""
        self.path.mkdir(parents=True, exist_ok=True)
        if self._parts():
            self._join()
        if not (self.path / SETTINGS).exists():
            write_json(self.settings, self.path / SETTINGS)

    def missing(self, photos: Sequence[Any]) -> list[Any]:
        """Return those photos, each with an ``image``, that are not done."""
        listed = [(resolve_folder(record.image), _lost(record)) for record in self._listed()]
        done = {place for place, _ in listed} - {place for place, lost in listed if lost}
        return [photo for photo in photos if resolve_folder(photo.image) not in done]

    def records(self) -> dict[tuple[Path, str | None], MaskRecord]:
        """Return the finished records by photo and class; a removed mask counts as not done."""
        return {(resolve_folder(one.image), one.label): one for one in self._listed() if not _lost(one)}

    def _listed(self) -> Iterator[MaskRecord]:
        for part in [self.manifest, *self._parts()]:
            yield from read_manifest(part) if part.is_file() else []

    def _parts(self) -> list[Path]:
        return sorted(self.path.glob(".manifest-*.csv"))

    def add(self, record: MaskRecord, mask: np.ndarray | None = None) -> None:
        """Write a mask, ``(H, W)`` in [0, 1], where its record says, and then the record."""
        self._claim(record)
        if record.mask is not None and mask is not None:
            record.mask.parent.mkdir(parents=True, exist_ok=True)
            grey = (255 * mask.clip(0, 1)).round().astype(np.uint8)
            grey[grey < FAINTEST] = 0
            with new_file(record.mask, flush=False) as file:
                Image.fromarray(grey).save(file, format="PNG", pnginfo=_signed())
        append_record(record, self.path / f".manifest-{self.rank}.csv")

    def _claim(self, record: MaskRecord) -> None:
        _refuse_unwritable(record)
        if self._owners is None:
            self._owners = {
                resolve_folder(one.mask): own for own, one in self.records().items() if one.mask is not None
            }
        if record.mask is None:
            return
        own, place = (resolve_folder(record.image), record.label), resolve_folder(record.mask)
        if place not in self._owners and record.mask.is_file() and not _is_ours(record.mask):
            raise UserError(
                f"{record.image}: its mask would replace {record.mask}, which was not made here; move that file away"
            )
        owner = self._owners.setdefault(place, own)
        if owner != own:
            raise UserError(
                f"{record.image}: its mask would replace that of {owner[0]}; rename one, or use another --out"
            )

    def finish(self, problems: list[str]) -> list[MaskRecord]:
        """Join the parts of the manifest, sorted by photo, and write the list of problems."""
        records = self._join()
        if problems:
            write_text("\n".join(problems) + "\n", self.path / _PROBLEMS)
        else:
            (self.path / _PROBLEMS).unlink(missing_ok=True)
        return records

    def _join(self) -> list[MaskRecord]:
        records = sorted(self.records().values(), key=lambda record: (record.image.as_posix(), record.label or ""))
        write_manifest(records, self.manifest)
        for part in self._parts():
            part.unlink()
        return records
