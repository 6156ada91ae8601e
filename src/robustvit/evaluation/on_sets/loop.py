"""The loop over a set's images: split among processes, written in parts that a killed run resumes from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from robustvit.common.errors import UserError
from robustvit.common.progress import bar
from robustvit.evaluation.metrics import MOST_SCORED
from robustvit.evaluation.on_sets.images import Batch, batch_of
from robustvit.evaluation.on_sets.outcomes import Outcomes, PartFolder, join_outcomes
from robustvit.evaluation.sets import Answers, Sample
from robustvit.models.classifier import Classifier

TOP = 5
_SECONDS_A_PART = 20.0


@dataclass(frozen=True)
class SetLoop:
    """How to run a model on images.

    Attributes:
        accelerator: device, precision and processes.
        batch_size: images at a time.
        workers: processes that read images.
    """

    accelerator: Accelerator
    batch_size: int = 32
    workers: int = 0


def run_images(
    model: Classifier, answers: Answers, images: Dataset, parts: PartFolder, loop: SetLoop, total: int | None
) -> list[str]:
    """Run a model on images and write its answers in parts.

    Args:
        model: in evaluation mode, on the accelerator's device.
        answers: turns its logits into answers.
        images: this process's share.
        parts: receives the answers.
        loop: how to run them.
        total: images of the share, if known.

    Returns:
        A line for each image that could not be read, from all processes.
    """
    workers = 0 if isinstance(images, IterableDataset) else loop.workers
    loader = DataLoader(images, batch_size=loop.batch_size, num_workers=workers, collate_fn=batch_of)
    problems: list[str] = []
    waiting: list[Outcomes] = []
    written = time.monotonic()
    with bar(speed=True) as progress, torch.inference_mode():
        task = progress.add_task("images", total=total)
        for batch in loader:
            problems += batch.problems
            if batch.images is not None:
                waiting.append(_answer_batch(model, answers, batch, batch.images, loop.accelerator))
            if waiting and time.monotonic() - written > _SECONDS_A_PART:
                written = _write(waiting, parts)
            progress.advance(task, len(batch.names) + len(batch.problems))
    if waiting:
        _write(waiting, parts)
    return gather_object(problems)


def _write(waiting: list[Outcomes], parts: PartFolder) -> float:
    parts.add(join_outcomes(waiting))
    waiting.clear()
    return time.monotonic()


def _answer_batch(
    model: Callable[[Tensor], Tensor], answers: Answers, batch: Batch, images: Tensor, accelerator: Accelerator
) -> Outcomes:
    with accelerator.autocast():
        logits = model(images.to(accelerator.device, non_blocking=True))
    finite = torch.isfinite(logits).all(dim=1)
    if not finite.all():
        name = batch.names[int((~finite).nonzero()[0])]
        raise UserError(
            f"the model's logits for {name} are not finite: its weights are broken, or --precision is too low; nothing "
            "was recorded for this set"
        )
    scores = answers(logits.float())
    best = scores.topk(min(TOP, scores.shape[1]), dim=1)
    found = _outcomes(batch, best.indices.cpu().numpy(), best.values[:, 0].float().cpu().numpy(), scores.shape[1])
    return replace(found, scores=scores.float().cpu().numpy()) if scores.shape[1] <= MOST_SCORED else found


def _outcomes(batch: Batch, best: np.ndarray, confidence: np.ndarray, count: int) -> Outcomes:
    """Return the rows of a batch; ``best`` holds the best answers of each image, ``(B, 5)``, out of ``count``."""
    right = _pad([sample.right for sample in batch.samples])
    in_top = (best[:, :, None] == right[:, None, :]).any(axis=(1, 2))
    return Outcomes(
        names=np.array(batch.names),
        class_names=np.array([sample.class_name for sample in batch.samples]),
        groups=np.array([sample.group for sample in batch.samples]),
        textures=np.array([_texture(sample) for sample in batch.samples]),
        right=right,
        answers=best[:, 0].astype(np.int64),
        in_top5=in_top & (count > TOP),
        confidence=confidence,
    )


def _texture(sample: Sample) -> int:
    return -1 if sample.texture is None else sample.texture


def _pad(rows: Sequence[Iterable[int]]) -> np.ndarray:
    listed = [list(row) for row in rows]
    width = max(map(len, listed))
    return np.array([row + [-1] * (width - len(row)) for row in listed], dtype=np.int64)
