"""Just Train Twice: the mistakes of a first model are the group that a second one sees more often."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace

from accelerate import Accelerator

from robustvit.common.errors import UserError
from robustvit.common.files import read_json, write_json
from robustvit.common.progress import console
from robustvit.common.run_folder import RunFolder
from robustvit.common.wording import pluralize
from robustvit.data.datasets import MaskedPhotos
from robustvit.data.photo import Photo
from robustvit.evaluation.measure import measure
from robustvit.evaluation.measuring import MeasureSettings
from robustvit.guidance.cross_entropy import CrossEntropy
from robustvit.models.classifier import Classifier
from robustvit.training.loop import train
from robustvit.training.schedule import Schedule


def find_mistakes(
    classifier: Classifier,
    training: MaskedPhotos,
    validation: MaskedPhotos,
    schedule: Schedule,
    accelerator: Accelerator,
    folder: RunFolder,
) -> list[int]:
    """Train a first model with cross-entropy, and return which training photos it gets wrong, not augmented.

    The classifier ends with the weights that it came with. What was found is written to ``mistakes.json``, which a
    resumed run reads.

    Args:
        classifier: the model to start from.
        training: photos to train on, augmented.
        validation: photos held out.
        schedule: of the run; the first model is trained at its rate for ``jtt_epochs``.
        accelerator: of the run.
        folder: of the run.
    """
    record = folder.path / "mistakes.json"
    if not record.is_file():
        first = RunFolder(folder.path / "first-model")
        if accelerator.is_main_process:
            first.path.mkdir(exist_ok=True)
        accelerator.wait_for_everyone()
        began = {name: weight.detach().cpu().clone() for name, weight in classifier.network.state_dict().items()}
        plan = replace(schedule, epochs=schedule.jtt_epochs, select="last", group_method=None, weight_interpolation=1.0)
        console.print(f"first model: {pluralize(plan.epochs, 'epoch')} of cross-entropy", soft_wrap=True)
        train(
            classifier, training, validation, guidance=CrossEntropy(), schedule=plan, accelerator=accelerator,
            folder=first, robust_score=dict,
        )  # fmt: skip
        wrong = _wrong_answers(classifier, training, schedule, accelerator)
        classifier.network.load_state_dict(began)
        if accelerator.is_main_process:
            named = [str(training.photos[index].image) for index in wrong]
            write_json({"epochs": plan.epochs, "of": len(training), "photos": wrong, "files": named}, record)
            shutil.rmtree(first.path)
        accelerator.wait_for_everyone()
    found = read_json(record)
    try:
        return [int(index) for index in found["photos"] if 0 <= int(index) < len(training)]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{record} was not written by robustvit: remove it, and resume the run") from error


def _wrong_answers(
    classifier: Classifier, training: MaskedPhotos, schedule: Schedule, accelerator: Accelerator
) -> list[int]:
    plain = MaskedPhotos(training.photos, classifier.preprocessing, mask_format=training.mask_format)
    settings = MeasureSettings(swaps=0, maps=False, batch_size=4 * schedule.batch_size, workers=schedule.workers)
    found = measure(classifier, plain, settings, device=accelerator.device, accelerator=accelerator)
    return [index for index, one in enumerate(found) if one.predicted != one.label]


def repeat_mistakes(photos: Sequence[Photo], wrong: Sequence[int], times: int) -> list[Photo]:
    """Return the photos of an epoch: all of them, and the mistakes ``times`` in all (Liu et al., ICML 2021)."""
    return [*photos, *[photos[index] for _ in range(times - 1) for index in wrong]]


def describe_mistakes(photos: Sequence[Photo], wrong: Sequence[int], schedule: Schedule) -> str:
    """Return a note for the verdict."""
    text = (
        f"Just Train Twice: after {pluralize(schedule.jtt_epochs, 'epoch')} a first model got "
        f"{pluralize(len(wrong), 'photo')} of {len(photos)} to train on wrong; "
    )
    if not wrong:
        return text + "without mistakes, the second model was trained on all photos alike."
    return text + f"the second model saw {'it' if len(wrong) == 1 else 'them'} {schedule.jtt_times} times in an epoch."
