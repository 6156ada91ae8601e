"""How well copies of photos are recognised, how often different photos are confused, and what it costs.

    python -m benchmarks.study.copies PHOTOS [PHOTOS ...] [--photos 1000] [--copied 200] [--out FOLDER]

Of each folder (searched whole, folders of masks left out) up to ``--photos`` photos are hashed and all pairs compared:
these are different photos, unless the folder holds copies itself, so the closest pairs are listed by name. Of
``--copied`` of them, copies are made in other sizes and qualities and cropped at each side, and compared with the
original. Then 20,000 random hashes are compared with 20,000 others. Writes dated files.
"""

from __future__ import annotations

import os
import platform
import random
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.dated import parser_of, write_dated
from robustvit.common.provenance import versions
from robustvit.data.duplicates import BITS, NEAR, Fingerprint, find_copies, fingerprint, fingerprints
from robustvit.data.folder_files import files_below
from robustvit.data.read_photos import IMAGE_SUFFIXES, read_photo

THRESHOLDS = (13, 25, NEAR, 51, 64)
MANY = 20_000


def resized(share: float) -> Callable[[Image.Image, Path], None]:
    def write(photo: Image.Image, place: Path) -> None:
        size = (max(1, round(photo.width * share)), max(1, round(photo.height * share)))
        photo.resize(size, Image.Resampling.BICUBIC).save(place, "JPEG", quality=90)

    return write


def cropped(share: float) -> Callable[[Image.Image, Path], None]:
    def write(photo: Image.Image, place: Path) -> None:
        left, top = round(photo.width * share), round(photo.height * share)
        photo.crop((left, top, photo.width - left, photo.height - top)).save(place, "JPEG", quality=95)

    return write


COPIES: dict[str, Callable[[Image.Image, Path], None]] = {
    "half the size": resized(0.5),
    "a quarter of the size": resized(0.25),
    "squashed to 224 x 224": lambda photo, place: photo.resize((224, 224)).save(place, "JPEG", quality=90),
    "JPEG, quality 90": lambda photo, place: photo.save(place, "JPEG", quality=90),
    "JPEG, quality 50": lambda photo, place: photo.save(place, "JPEG", quality=50),
    "JPEG, quality 30": lambda photo, place: photo.save(place, "JPEG", quality=30),
    "PNG": lambda photo, place: photo.save(place, "PNG"),
    "1 % cropped at each side": cropped(0.01),
    "2 % cropped at each side": cropped(0.02),
    "5 % cropped at each side": cropped(0.05),
}


def apart(one: Fingerprint, other: Fingerprint) -> int:
    """Bits that differ; all of them where a photo is blank."""
    if not one.look or not other.look:
        return BITS
    return (int(one.look, 16) ^ int(other.look, 16)).bit_count()


def measure(folder: Path, count: int, copied: int) -> dict[str, object]:
    """Different photos and copies in one folder."""
    files = [path for name, path in sorted(files_below(folder, IMAGE_SUFFIXES).items()) if "mask" not in str(name)]
    random.Random(0).shuffle(files)
    files = files[:count]
    start = time.process_time()
    prints = fingerprints(files)
    seconds = time.process_time() - start
    pairs = sorted((apart(a, b), i, j) for i, a in enumerate(prints) for j, b in enumerate(prints[:i]))
    found: dict[str, list[int]] = {name: [] for name in COPIES}
    with tempfile.TemporaryDirectory() as place:
        for path, own in list(zip(files, prints, strict=True))[:copied]:
            photo = read_photo(path)
            for name, write in COPIES.items():
                write(photo, Path(place) / "copy")
                found[name].append(apart(own, fingerprint(Path(place) / "copy")))
    return {
        "folder": folder.name,
        "photos": len(files),
        "blank": sum(not one.look for one in prints),
        "processor milliseconds a photo": 1000 * seconds / len(files),
        "pairs": len(pairs),
        "alike": {str(at): sum(bits <= at for bits, _, _ in pairs) for at in THRESHOLDS},
        "closest": [[bits, files[i].name, files[j].name] for bits, i, j in pairs[:12]],
        "copied": min(copied, len(files)),
        "copies": {name: {str(at): sum(bits <= at for bits in bits_of) for at in THRESHOLDS}
                   for name, bits_of in found.items()},
    }  # fmt: skip


def time_matching() -> float:
    """Processor seconds to compare many random hashes with as many others."""
    rng = np.random.default_rng(0)
    sides = [[Fingerprint(f"{side}{i}", rng.bytes(BITS // 8).hex()) for i in range(MANY)] for side in "ab"]
    start = time.process_time()
    assert not find_copies(*sides).either
    return time.process_time() - start


def page(rows: list[dict], seconds: float, command: str, machine: str) -> str:
    heads = "".join(f" at most {at} |" for at in THRESHOLDS)
    lines = [
        f"# Copies of photos, {date.today()}",
        "",
        f"`{command}` on {machine}.",
        f"Perceptual hash of {BITS} bits; copies are pairs with at most **{NEAR}** bits apart.",
        f"Comparing {MANY:,} photos with {MANY:,} others takes {seconds:.1f} seconds of a processor.",
    ]
    for row in rows:
        lines += [
            "",
            f"## {row['folder']}: {row['photos']:,} photos",
            "",
            f"Hashing takes {row['processor milliseconds a photo']:.1f} ms of a processor a photo.",
            "",
            f"| pairs |{heads}",
            "|---|" + "---|" * len(THRESHOLDS),
            f"| {row['pairs']:,} pairs of files of the folder |" + "".join(f" {n} |" for n in row["alike"].values()),
        ]
        for name, hits in row["copies"].items():
            lines.append(f"| {name}, {row['copied']} copies |" + "".join(f" {n} |" for n in hits.values()))
        closest = ", ".join(f"{a} and {b} ({bits})" for bits, a, b in row["closest"][:6])
        lines += ["", f"Closest pairs, bits apart: {closest}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    parser = parser_of(__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--copied", type=int, default=200)
    given = parser.parse_args()
    rows = [measure(folder, given.photos, given.copied) for folder in given.folders]
    seconds = time_matching()
    names = " ".join(folder.name for folder in given.folders)
    command = f"python -m benchmarks.study.copies {names} --photos {given.photos} --copied {given.copied}"
    machine = f"{platform.machine()}, {os.cpu_count()} processors"
    record = {"date": str(date.today()), "command": command, "machine": machine, "versions": versions()}
    record |= {"bits": BITS, "near": NEAR, "seconds": seconds, "rows": rows}
    write_dated("copies", record, page(rows, seconds, command, machine), given.out)


if __name__ == "__main__":
    main()
