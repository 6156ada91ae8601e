"""Copies among photos: the same file under another name, or the same picture in another size, quality or format."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image

from robustvit.common.progress import bar
from robustvit.data.pixels import ANY
from robustvit.data.read_photos import read_photo

BITS = 256
NEAR = 38  # bits that may differ; benchmarks/study/copies.py measures hits and false alarms
_DECODED = 128  # least side in pixels that a JPEG is decoded to; the hash needs 64
_DETAIL = 2.0  # below this standard deviation of grey levels a photo is blank, and its hash matches any other
_PAIRS = 2**18  # compared at a time: a block fits into the CPU cache
_READERS = 4
_START = 2**14  # bytes that are compared before whole files are


@dataclass(frozen=True)
class Fingerprint:
    """Hashes that identify a photo.

    Attributes:
        content: SHA-256 of the file's bytes, in hexadecimal.
        look: perceptual hash of 256 bits (pHash, the signs of the lowest 16 x 16 frequencies), in hexadecimal; empty
            for a blank photo.
    """

    content: str
    look: str


@dataclass(frozen=True)
class Copies:
    """Photos that are copies of known photos, by their indices.

    Attributes:
        same: photos with the same bytes, and the first of the known photos with them.
        near: photos that look the same, and the most similar of the known photos.
    """

    same: dict[int, int]
    near: dict[int, int]

    @property
    def either(self) -> dict[int, int]:
        """Copies of both kinds."""
        return self.same | self.near


def fingerprint(path: str | Path) -> Fingerprint:
    """Hash the bytes and the look of a photo; large JPEGs are decoded at a fraction of their size."""
    grey = read_photo(path, at_least=_DECODED, pixels=ANY).convert("L")
    content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    if np.asarray(grey.resize((64, 64), Image.Resampling.LANCZOS)).std() < _DETAIL:
        return Fingerprint(content, "")
    return Fingerprint(content, str(imagehash.phash(grey, hash_size=16)))


def fingerprints(paths: Sequence[Path]) -> list[Fingerprint]:
    """Return the fingerprint of every photo, reading several at a time."""
    with ThreadPoolExecutor(_READERS) as pool, bar() as progress:  # Pillow decodes without the GIL
        found = pool.map(fingerprint, paths)
        return list(progress.track(found, total=len(paths), description="hashing photos"))


def find_copies(photos: Sequence[Fingerprint], known: Sequence[Fingerprint], *, earlier: bool = False) -> Copies:
    """Find photos that are copies of known photos; with ``earlier``, of the photos before each in the same list.

    Two photos look the same if at most ``NEAR`` of the ``BITS`` bits of their perceptual hashes differ. That holds for
    resized, recompressed and converted copies, and mostly for crops of 1 % per side; not for mirrored, rotated or
    tightly cropped copies.
    """
    first: dict[str, int] = {}
    for index, photo in enumerate(known):
        first.setdefault(photo.content, index)
    same = {i: first[photo.content] for i, photo in enumerate(photos) if photo.content in first}
    if earlier:
        same = {i: other for i, other in same.items() if other < i}
    return Copies(same, {i: other for i, other in _find_nearest(photos, known, earlier) if i not in same})


def same_files(paths: Sequence[Path]) -> dict[int, int]:
    """Find files with the bytes of an earlier file: index to index of the first; only files of one length are read.

    A file that is listed twice is not a copy of itself.
    """
    sizes: dict[int, list[int]] = {}
    for index, path in enumerate(paths):
        with suppress(OSError):  # it is refused where it is read
            sizes.setdefault(path.stat().st_size, []).append(index)
    found: dict[int, int] = {}
    for group in sizes.values():
        for alike in _group(group, lambda index: _digest(paths[index], _START)):
            for same in _group(alike, lambda index: _digest(paths[index])):
                found |= {i: same[0] for i in same[1:] if paths[i].resolve() != paths[same[0]].resolve()}
    return found


def _group(indices: Sequence[int], key: Callable[[int], bytes]) -> list[list[int]]:
    """Group indices by a key, without groups of one; the key of a single index is not computed."""
    groups: dict[bytes, list[int]] = {}
    for index in indices if len(indices) > 1 else ():
        groups.setdefault(key(index), []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def _digest(path: Path, length: int = -1) -> bytes:
    with path.open("rb") as file:
        return hashlib.sha256(file.read(length)).digest()


def same_pixels(one: Path, other: Path) -> bool:
    """Whether two photos have the same pixels, however they are stored."""
    ours, theirs = read_photo(one, pixels=ANY), read_photo(other, pixels=ANY)
    return ours.size == theirs.size and ours.tobytes() == theirs.tobytes()


def _find_nearest(
    photos: Sequence[Fingerprint], known: Sequence[Fingerprint], earlier: bool
) -> Iterator[tuple[int, int]]:
    """Yield photos that look like a known photo, with the most similar: all pairs are compared, in blocks."""
    rows = np.array([i for i, one in enumerate(photos) if one.look], dtype=np.intp)
    columns = np.array([i for i, one in enumerate(known) if one.look], dtype=np.intp)
    if not len(rows) or not len(columns):
        return
    ours, theirs = (_to_words([side[i] for i in kept]) for side, kept in ((photos, rows), (known, columns)))
    step = max(1, _PAIRS // len(columns))
    for start in range(0, len(rows), step):
        block = slice(start, start + step)
        apart = np.zeros((len(rows[block]), len(columns)), dtype=np.uint16)
        for word in range(ours.shape[1]):
            apart += np.bitwise_count(ours[block, word, None] ^ theirs[None, :, word])
        if earlier:
            apart[columns[None] >= rows[block, None]] = BITS
        best = apart.argmin(axis=1)
        for row in np.flatnonzero(apart[np.arange(len(best)), best] <= NEAR):
            yield int(rows[start + row]), int(columns[best[row]])


def _to_words(found: Sequence[Fingerprint]) -> np.ndarray:
    """Convert perceptual hashes to ``(N, 4)`` words of 64 bits."""
    return np.frombuffer(bytes.fromhex("".join(one.look for one in found)), dtype=np.uint64).reshape(len(found), -1)
