"""The output folder of masks: the masks, their manifest, and the settings they were made with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from robustvit.common.errors import UserError
from robustvit.common.files import new_file, read_settings, write_json, write_text
from robustvit.common.locks import LOCKS, lock_folder
from robustvit.common.output_paths import check_own_folder
from robustvit.common.wording import pluralize
from robustvit.data.manifest import MANIFEST, SETTINGS, MaskRecord, append_record, read_manifest, write_manifest
from robustvit.data.mask_pixels import is_signed, sign
from robustvit.data.mask_values import FAINT
from robustvit.data.review import resolve_folder
from robustvit.masks.confidence import rate_together

_PROBLEMS = "problems.txt"


def digest_inputs(image: Path, *others: str) -> str:
    """Return a short digest of a photo's content and of texts that its mask depends on too."""
    found = hashlib.sha256("\0".join(others).encode("utf-8", "surrogateescape"))
    try:
        with image.open("rb") as file:
            hashlib.file_digest(file, lambda: found)
    except OSError as error:
        raise UserError(f"cannot read {image}: {error.strerror}; check its permissions") from error
    return found.hexdigest()[:16]


def _lost(record: MaskRecord) -> bool:
    return record.mask is not None and not record.mask.is_file()


def expect_mask_folder(path: str | Path) -> dict[str, Any] | None:
    """Return the settings of a folder that masks were written to; None if it is new. Refuse a folder of others."""
    old = read_settings(Path(path) / SETTINGS)
    return old if check_own_folder(path, old is not None, command="masks", ignore=LOCKS) else None


class MaskingRun(NamedTuple):
    """A run that made masks for photos.

    Attributes:
        folder: of the masks.
        problems: one line for each photo that could not be used, or only partly.
        left_out: number of photos without a row in the manifest.
        made: number of photos processed now.
        root: the folder of photos that masks mirror, if there is one.
        notes: what was made of boxes, and which objects were left out.
    """

    folder: MaskFolder
    problems: list[str]
    left_out: int
    made: int
    root: Path | None
    notes: tuple[str, ...] = ()


class MaskFolder:
    """Masks that mirror a folder of photos, with ``manifest.csv``, ``settings.json`` and ``problems.txt``.

    A mask is written before its row of the manifest, so killing a run loses at most one photo. Every process writes
    rows to its own part, and ``finish`` joins them.

    Args:
        path: the folder.
        settings: all settings that the masks depend on.
        rank: number of this process.
        earlier: settings that folders of earlier versions do not have, and what they were then.
    """

    def __init__(
        self, path: str | Path, settings: dict[str, Any], rank: int = 0, *, earlier: Mapping[str, Any] | None = None
    ) -> None:
        self.path, self.rank, self.settings, self.earlier = Path(path), rank, settings, dict(earlier or {})
        self.manifest = self.path / MANIFEST
        self._owners: dict[Path, tuple[Path, str | None]] | None = None
        self._empty = False  # made with other options, which gave no mask
        self._check()

    def _check(self) -> None:
        old = expect_mask_folder(self.path)
        if old is None:
            return
        if "method" in old:  # folders of versions before there were two protocols
            old = {"protocol": "standard"} | old
        if "bit_depth" in old:  # what range was called
            old = {"range": str(old["bit_depth"])} | {key: value for key, value in old.items() if key != "bit_depth"}
        if "from" in old and "orientation" not in old and old.get("label_from") == "largest":  # it was the default
            old = old | {"label_from": self.settings.get("label_from")}
        if "from" in old:
            old = self.earlier | old
        other = [name for name in sorted({*old, *self.settings}) if old.get(name) != self.settings.get(name)]
        self._empty = bool(other) and not any(record.mask for record in self._listed())
        if other and not self._empty:
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
        if self._empty:
            for old in (self.manifest, *self._parts(), self.path / SETTINGS):
                old.unlink(missing_ok=True)
        if self._parts():
            self._join()
        if not (self.path / SETTINGS).exists():
            write_json(self.settings, self.path / SETTINGS)

    def forget_changed(
        self, photos: Sequence[Any], inputs: Callable[[Any], str], *, unknown: bool
    ) -> tuple[int, list[str]]:
        """Drop the masks of photos that changed since, or whose annotation or model did, so that they are made again.

        A mask that a person edited is kept.

        Args:
            photos: each with an ``image``.
            inputs: returns the digest of what the mask of a photo is made from.
            unknown: drop masks of earlier versions too, which have no digest.

        Returns:
            How many masks without a digest were kept, and a line for each edited mask whose inputs changed.
        """
        listed = {resolve_folder(photo.image): photo for photo in photos}
        digests: dict[Path, str] = {}
        kept: list[MaskRecord] = []
        dropped: list[MaskRecord] = []
        lines, undated = [], 0
        for record in self.records().values():
            place = resolve_folder(record.image)
            if place in listed and place not in digests and (record.inputs or unknown):
                digests[place] = inputs(listed[place])
            changed = place in digests and record.inputs != digests[place]
            edited = record.mask is not None and not is_signed(record.mask)
            undated += place in listed and not record.inputs and not changed
            if changed and edited and record.inputs:
                lines.append(f"{record.image}: it or its annotation changed, but its mask was edited: it is kept")
            (dropped if changed and not edited else kept).append(record)
        if dropped:
            self._write(kept)
            for record in dropped:
                if record.mask is not None:
                    record.mask.unlink(missing_ok=True)
        return undated, lines

    def report_others(self, photos: Sequence[Any], source: str) -> list[str]:
        """Return a line on masks of photos that a source does not list; they may come from an older version of it."""
        listed = {resolve_folder(photo.image) for photo in photos}
        others = [one for one in self.records().values() if resolve_folder(one.image) not in listed]
        if not others:
            return []
        return [
            f"{pluralize(len(others), 'mask')} in {self.path} of photos that {source} does not list, the first is "
            f"{others[0].image}: move them elsewhere if they are of an older version of it"
        ]

    def missing(self, photos: Sequence[Any]) -> list[Any]:
        """Return the photos, each with an ``image``, that have no finished record."""
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
            grey[grey < FAINT] = 0
            with new_file(record.mask, flush=False) as file:
                Image.fromarray(grey).save(file, format="PNG", pnginfo=sign())
        append_record(record, self.path / f".manifest-{self.rank}.csv")

    def _claim(self, record: MaskRecord) -> None:
        try:
            f"{record.image}{record.mask}{record.label}".encode()
        except UnicodeEncodeError as error:
            raise UserError(f"{record.image}: its name is not UTF-8, as CSV files need; rename it") from error
        if self._owners is None:
            self._owners = {
                resolve_folder(one.mask): own for own, one in self.records().items() if one.mask is not None
            }
        if record.mask is None:
            return
        own, place = (resolve_folder(record.image), record.label), resolve_folder(record.mask)
        if place not in self._owners and record.mask.is_file() and not is_signed(record.mask):
            raise UserError(
                f"{record.image}: its mask would replace {record.mask}, which was not made here; move that file away"
            )
        owner = self._owners.setdefault(place, own)
        if owner != own:
            raise UserError(
                f"{record.image}: its mask would replace that of {owner[0]}; rename one, or use another --out"
            )

    def finish(self, problems: list[str]) -> list[MaskRecord]:
        """Join the parts of the manifest; write the problems, to which doubts about all masks together are added."""
        records, doubts = rate_together(self._join())
        if doubts:
            write_manifest(records, self.manifest)
            problems += doubts
        if problems:
            write_text("\n".join(problems) + "\n", self.path / _PROBLEMS)
        else:
            (self.path / _PROBLEMS).unlink(missing_ok=True)
        return records

    def _join(self) -> list[MaskRecord]:
        return self._write(list(self.records().values()))

    def _write(self, records: list[MaskRecord]) -> list[MaskRecord]:
        records = sorted(records, key=lambda record: (record.image.as_posix(), record.label or ""))
        write_manifest(records, self.manifest)
        for part in self._parts():
            part.unlink()
        return records
