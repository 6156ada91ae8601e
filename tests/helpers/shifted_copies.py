"""Calls of ``robustvit shifts`` and what they write."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
from PIL import Image

from robustvit.cli import main as cli


def write_backgrounds(folder: Path) -> Path:
    """Write photos without objects, of several sizes, in two inner folders."""
    rng = np.random.default_rng(5)
    for number, (width, height) in enumerate([(80, 60), (50, 90), (64, 64), (40, 30)]):
        (folder / f"of {number % 2}").mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"of {number % 2}" / f"{number}.png")
    return folder


def run(capsys, *arguments):
    """Call the command; the first paths are photos and masks."""
    words = list(map(str, arguments))
    places = list(itertools.takewhile(lambda word: not word.startswith("--"), words))
    named = [word for pair in zip(("--images", "--masks"), places, strict=False) for word in pair]
    code = cli.main(["shifts", *named, *words[len(places) :]])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys, *arguments):
    code, stdout, stderr = run(capsys, *arguments)
    assert code == 2
    assert stdout == ""
    assert stderr.startswith("robustvit shifts: ")
    assert len(stderr.splitlines()) == 1, stderr
    return stderr


def rows_of(folder, kind=None):
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if kind in (None, row["kind"])]


def skips_of(folder):
    with (folder / "skipped.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def files_in(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
