"""The loop over a set's images: split among processes, written in parts that a killed run resumes from."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from robustvit.common.errors import UserError
from robustvit.common.options import Precision, Protocol
from robustvit.common.progress import bar
from robustvit.evaluation.metrics import MOST_SCORED
from robustvit.evaluation.on_sets.images import collate_items
from robustvit.evaluation.on_sets.outcomes import Outcomes, PartFolder, join_outcomes
from robustvit.evaluation.sets import Answers, Sample
from robustvit.models.classifier import Classifier

TOP = 5
_SECONDS_A_PART = 20.0


@dataclass(frozen=True)
class SetSettings:
    """The source of the sets, the folder of the results, and how to run a model.

    Attributes:
        root: folder that holds the sets; None to stream them from the hub.
        records: folder of the results.
        protocol: see ``Benchmark``.
        precision: of the model.
        accelerator: device, precision and processes.
        batch_size: images at a time.
        workers: processes that read images.
    """

    root: Path | None
    records: Path
    protocol: Protocol
    precision: Precision
    accelerator: Accelerator
    batch_size: int = 32
    workers: int = 0


def run_images(
    model: Classifier, answers: Answers, images: Dataset, parts: PartFolder, setup: SetSettings, total: int | None
) -> list[str]:
    """Run a model on this process's share of images, ``total`` if known, and write its answers in parts.

    The model is in evaluation mode, on the accelerator's device. Returns a line for each image that could not be read,
    from all processes.
    """
    workers = 0 if isinstance(images, IterableDataset) else setup.workers
    loader = DataLoader(images, batch_size=setup.batch_size, num_workers=workers, collate_fn=collate_items)
    problems: list[str] = []
    waiting: list[Outcomes] = []

    def write() -> float:
        if waiting:
            parts.add(join_outcomes(waiting))
            waiting.clear()
        return time.monotonic()

    written = write()
    with bar(speed=True) as progress, torch.inference_mode():
        task = progress.add_task("images", total=total)
        for batch, named, broken in loader:
            problems += broken
            if batch is not None:
                waiting.append(_answer_batch(model, answers, named, batch, setup.accelerator))
            if waiting and time.monotonic() - written > _SECONDS_A_PART:
                written = write()
            progress.advance(task, len(named) + len(broken))
    write()
    return gather_object(problems)


def _answer_batch(
    model: Classifier, answers: Answers, named: list[tuple[str, Sample]], images: Tensor, accelerator: Accelerator
) -> Outcomes:
    with accelerator.autocast():
        logits = model(images.to(accelerator.device, non_blocking=True))
    finite = torch.isfinite(logits).all(dim=1)
    if not finite.all():
        name, _ = named[int((~finite).nonzero()[0])]
        raise UserError(
            f"the model's logits for {name} are not finite: its weights are broken, or --precision is too low; nothing "
            "was recorded for this set"
        )
    scores = answers(logits.float())
    best = scores.topk(min(TOP, scores.shape[1]), dim=1)
    indices = best.indices.cpu().numpy()
    samples, right = [sample for _, sample in named], _pad([sample.right for _, sample in named])
    in_top = (indices[:, :, None] == right[:, None, :]).any(axis=(1, 2))
    return Outcomes(
        names=np.array([name for name, _ in named]),
        class_names=np.array([sample.class_name for sample in samples]),
        groups=np.array([sample.group for sample in samples]),
        textures=np.array([-1 if sample.texture is None else sample.texture for sample in samples]),
        right=right,
        answers=indices[:, 0].astype(np.int64),
        in_top5=in_top & (scores.shape[1] > TOP),
        confidence=best.values[:, 0].float().cpu().numpy(),
        scores=scores.float().cpu().numpy() if scores.shape[1] <= MOST_SCORED else None,
    )


def _pad(rows: Sequence[Iterable[int]]) -> np.ndarray:
    listed = [list(row) for row in rows]
    width = max(map(len, listed))
    return np.array([row + [-1] * (width - len(row)) for row in listed], dtype=np.int64)
