"""What the normalised cut and the bilateral solver cost, against plain implementations, and FOUND beside TokenCut.

    python -m benchmarks.speed.mask_speed [--repeats 15] [--turns 3] [--out FOLDER]

The plain cut is one dense generalised ``scipy.linalg.eigh`` per image for the second eigenvector; the plain solver is
written with ``numpy.unique`` and sparse matrices throughout. Both are compared on the same input in one process, by
turns; the ratio is that of the medians. TokenCut and FOUND make masks of one photo, from pixels to the mask, by turns
too; their backbones have random weights, so that the masks mean nothing and the times do. Writes dated files.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import timm
import torch
from PIL import Image
from scipy import ndimage
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import cg

from benchmarks.dated import command_words, parser_of, time_by_turns, write_dated
from robustvit.common.provenance import versions
from robustvit.masks.sources.found import Found
from robustvit.masks.sources.source import MaskSource
from robustvit.masks.sources.tokencut import TokenCut
from robustvit.masks.tokencut.bilateral_solver import bilateral_solver
from robustvit.masks.tokencut.normalized_cut import second_eigenvectors, similar_patches
from robustvit.models.classifier import Classifier

GRIDS = ((14, 14), (28, 28), (37, 37))
PHOTO = (375, 500)


def features(rows: int, columns: int) -> np.ndarray:
    """Smooth random fields with noise, like the features of patches."""
    rng = np.random.default_rng(0)
    fields = [ndimage.gaussian_filter(rng.standard_normal((rows, columns)), 3) for _ in range(24)]
    stacked = np.stack(fields, axis=-1).reshape(-1, 24)
    return stacked / stacked.std(axis=0) + rng.standard_normal(stacked.shape)


def plain_cut(similar: np.ndarray) -> np.ndarray:
    """The second eigenvector from the definition."""
    weights = np.where(similar, 1.0, 1e-5)
    degrees = np.diag(weights.sum(axis=1))
    return scipy.linalg.eigh(degrees - weights, degrees, subset_by_index=[1, 2])[1][:, 0]


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A photo with as many cells as real ones of its size have, and a coarse mask of its object."""
    rng = np.random.default_rng(0)
    height, width = PHOTO
    ground = np.stack([ndimage.gaussian_filter(rng.standard_normal(PHOTO), 25) for _ in range(3)], axis=-1)
    image = 120 + 60 * ground / ground.std() + rng.normal(0, 4, (*PHOTO, 3))
    rows, columns = np.mgrid[:height, :width]
    disc = (rows - 180) ** 2 + (columns - 260) ** 2 < 90**2
    image[disc] += (60, -40, 30)
    coarse = np.zeros(PHOTO, bool)
    coarse[96:272, 176:352] = True
    return image.clip(0, 255).astype(np.uint8), coarse


def plain_solver(image: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The bilateral solver with a sparse splatting matrix and cells found by sorting."""
    red, green, blue = (image[..., i].astype(float) for i in range(3))
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    u = -0.168736 * red - 0.331264 * green + 0.5 * blue + 128
    v = 0.5 * red - 0.418688 * green - 0.081312 * blue + 128
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    axes = [columns / 16, rows / 16, y / 16, u / 8, v / 8]
    places = np.stack([axis.astype(np.int64).ravel() for axis in axes], axis=1)
    base = 256 ** np.arange(5)
    codes, cell = np.unique(places @ base, return_inverse=True)
    count, pixels = len(codes), len(cell)
    splat = csr_array((np.ones(pixels), (cell, np.arange(pixels))), shape=(count, pixels))
    blur = diags_array(np.full(count, 10.0)).tocsr()
    for step in [*base, *-base]:
        at = np.searchsorted(codes, codes + step)
        there = np.flatnonzero((at < count) & (codes[np.minimum(at, count - 1)] == codes + step))
        blur = blur + csr_array((np.ones(len(there)), (there, at[there])), shape=(count, count))
    mass = splat @ np.ones(pixels)
    scale = np.ones(count)
    for _ in range(10):
        scale = np.sqrt(scale * mass / (blur @ scale))
    smooth = diags_array(scale * (blur @ scale)) - diags_array(scale) @ blur @ diags_array(scale)
    confidence = np.full(pixels, 0.999)
    system = (256 * smooth + diags_array(splat @ confidence)).tocsr()
    wanted = splat @ (confidence * target.ravel())
    start = wanted / (splat @ confidence)
    precondition = diags_array(1 / np.maximum(system.diagonal(), 1e-5))
    solution, _ = cg(system, wanted, x0=start, rtol=1e-5, atol=0, maxiter=25, M=precondition)
    return (splat.T @ solution).reshape(target.shape)


def compared(name: str, ours: Callable[[], object], plain: Callable[[], object], repeats: int) -> dict[str, object]:
    """One row of the result."""
    fast, slow = (clock for clock, _ in time_by_turns([ours, plain], repeats))
    print(f"{name}: {1000 * fast:.1f} ms, plain {1000 * slow:.1f} ms, {slow / fast:.1f} times as fast", flush=True)
    return {"what": name, "milliseconds": 1000 * fast, "plain": 1000 * slow, "times_as_fast": slow / fast}


def backbone(patch: int) -> Classifier:
    """ViT-S with random weights, which takes photos of any size."""
    torch.manual_seed(0)
    name = f"vit_small_patch{patch}_224"
    return Classifier(timm.create_model(name, num_classes=0, dynamic_img_size=True).eval())


def sources() -> dict[str, MaskSource]:
    """TokenCut and FOUND by name, with and without the solver."""
    coarse, fine = backbone(16), backbone(8)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "found.pt"
        torch.save({"decoder": torch.nn.Conv2d(384, 1, 1).state_dict()}, weights)
        found = {refine: Found(fine, weights=str(weights), refine=refine) for refine in (True, False)}
    return {
        "TokenCut, ViT-S/16 (its default)": TokenCut(coarse),
        "TokenCut, ViT-S/8": TokenCut(fine),
        "FOUND, ViT-S/8": found[True],
        "FOUND, ViT-S/8, without the solver": found[False],
    }


def source_speeds(turns: int) -> list[dict[str, Any]]:
    """CPU seconds of every source for a photo, and those after the backbone: medians of turns after an untimed one."""
    photo, makers = Image.fromarray(scene()[0]), sources()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in makers}
    for turn in range(turns + 1):
        for name, maker in makers.items():
            start = time.process_time()
            (job,) = maker.prepare([photo], [Path("scene.png")])
            middle = time.process_time()
            maker.finish(job)
            if turn:
                end = time.process_time()
                times[name].append((end - start, end - middle))
    rows: list[dict[str, Any]] = []
    for name, taken in times.items():
        whole, after = (statistics.median(column) for column in zip(*taken, strict=True))
        rows.append({"what": name, "images_per_cpu_second": 1 / whole, "cpu_milliseconds_after_backbone": 1000 * after})
        print(
            f"{name}: {1 / whole:.2f} images per CPU second, {1000 * after:.0f} ms of it after the backbone", flush=True
        )
    return rows


def main() -> None:
    """Check that both give the same, time them, write the record."""
    parser = parser_of(__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    rows = []
    for grid in GRIDS:
        similar = similar_patches(features(*grid))
        ours, plain = second_eigenvectors(similar)[0][0], plain_cut(similar)
        if np.abs(np.sign(ours @ plain) * ours - plain).max() > 1e-4 * np.abs(plain).max():
            sys.exit("the eigenvectors differ: no use in comparing times")
        name = f"second eigenvector, {len(similar)} nodes"
        rows.append(
            compared(name, lambda s=similar: second_eigenvectors(s), lambda s=similar: plain_cut(s), args.repeats)
        )
    image, coarse = scene()
    if np.abs(bilateral_solver(image, coarse) - plain_solver(image, coarse)).max() > 1e-3:
        sys.exit("the solutions differ: no use in comparing times")
    solver = (lambda: bilateral_solver(image, coarse)), (lambda: plain_solver(image, coarse))
    rows.append(compared(f"bilateral solver, {PHOTO[1]} x {PHOTO[0]} pixels", *solver, args.repeats))
    machine = f"{platform.machine()}, {os.cpu_count()} processors, {torch.get_num_threads()} threads of PyTorch"
    record = {"date": str(date.today()), "command": command_words(), "machine": machine, "versions": versions()}
    record |= {"rows": rows, "sources": source_speeds(args.turns)}
    write_dated("mask_speed", record, as_markdown(record), args.out)


def as_markdown(record: dict[str, Any]) -> str:
    """Return the page of a record."""
    lines = [f"# Cost of making masks, {record['date']}", ""]
    lines += [f"`{' '.join(record['command'])}` on {record['machine']}", ""]
    lines += ["| what | milliseconds | plain | times as fast |", "|---|---|---|---|"]
    lines += [
        f"| {one['what']} | {one['milliseconds']:.1f} | {one['plain']:.1f} | {one['times_as_fast']:.1f} |"
        for one in record["rows"]
    ]
    lines += [
        "",
        f"Masks of one photo of {PHOTO[1]} x {PHOTO[0]} pixels, seen at 480, by the time of the processor, which other "
        "work on the machine does not change; backbones with random weights of the published architectures:",
        "",
        "| source | images per CPU second | against TokenCut's default | CPU milliseconds after the backbone |",
        "|---|---|---|---|",
    ]
    first = record["sources"][0]["images_per_cpu_second"]
    lines += [
        f"| {one['what']} | {one['images_per_cpu_second']:.2f} | {one['images_per_cpu_second'] / first:.2f} | "
        f"{one['cpu_milliseconds_after_backbone']:.0f} |"
        for one in record["sources"]
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
