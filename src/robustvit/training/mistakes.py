"""Just Train Twice: the mistakes of a first model are the group that a second model sees more often."""

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
    """Return which training photos, not augmented, a first model gets wrong that is trained with cross-entropy.

    It is trained at the rate of the schedule for ``jtt_epochs``; the classifier ends with the weights that it came
    with. The mistakes are written to ``mistakes.json``, which a resumed run reads.
    """
    record = folder.path / "mistakes.json"
    if not record.is_file():
        first = RunFolder(folder.path / "first-model")
        if accelerator.is_main_process:
            first.path.mkdir(exist_ok=True)
        accelerator.wait_for_everyone()
        wrong = _train_first(classifier, training, validation, schedule, accelerator, first)
        if accelerator.is_main_process:
            named = [str(training.photos[index].image) for index in wrong]
            write_json({"epochs": schedule.jtt_epochs, "of": len(training), "photos": wrong, "files": named}, record)
            shutil.rmtree(first.path)
        accelerator.wait_for_everyone()
    found = read_json(record)
    try:
        return [int(index) for index in found["photos"] if 0 <= int(index) < len(training)]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{record} was not written by robustvit: remove it, and resume the run") from error


def _train_first(
    classifier: Classifier,
    training: MaskedPhotos,
    validation: MaskedPhotos,
    schedule: Schedule,
    accelerator: Accelerator,
    folder: RunFolder,
) -> list[int]:
    """Train the first model and return the photos that it gets wrong; the classifier's weights are put back."""
    began = {name: weight.detach().cpu().clone() for name, weight in classifier.network.state_dict().items()}
    plan = replace(schedule, epochs=schedule.jtt_epochs, select="last", group_method=None, weight_interpolation=1.0)
    console.print(f"first model: {pluralize(plan.epochs, 'epoch')} of cross-entropy", soft_wrap=True)
    train(
        classifier, training, validation, guidance=CrossEntropy(), schedule=plan, accelerator=accelerator,
        folder=folder, robust_score=dict,
    )  # fmt: skip
    plain = MaskedPhotos(training.photos, classifier.preprocessing, mask_format=training.mask_format)
    settings = MeasureSettings(swaps=0, maps=False, batch_size=4 * schedule.batch_size, workers=schedule.workers)
    found = measure(classifier, plain, settings, device=accelerator.device, accelerator=accelerator)
    classifier.network.load_state_dict(began)
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
