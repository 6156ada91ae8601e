"""Evaluation on benchmark sets: each set is run once and recorded; a killed evaluation resumes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from robustvit.common.errors import UserError
from robustvit.common.options import Precision, Protocol
from robustvit.common.provenance import provenance
from robustvit.common.wording import pluralize
from robustvit.evaluation.on_sets.by_class import set_confusions, set_precisions
from robustvit.evaluation.on_sets.images import DiskImages, StreamedImages, name_of
from robustvit.evaluation.on_sets.loop import TOP, SetLoop, run_images
from robustvit.evaluation.on_sets.numbers import accuracies_by, compare_outcomes, set_numbers
from robustvit.evaluation.on_sets.outcomes import Outcomes, PartFolder, join_outcomes, read_outcomes, write_outcomes
from robustvit.evaluation.records.described import describe_model
from robustvit.evaluation.records.record import Record, check_record_place, read_record, record_path, write_record
from robustvit.evaluation.sets import Answers, Benchmark, Listing, check_head, stream
from robustvit.models.classifier import Classifier


@dataclass(frozen=True)
class SetModel:
    """A model to evaluate, with its identity.

    Attributes:
        classifier: on the device, in evaluation mode, with the protocol's preprocessing.
        about: see ``Record.model``.
        seen: classes it was finetuned on, as labels of its head.
    """

    classifier: Classifier
    about: dict[str, Any]
    seen: frozenset[int] = frozenset()

    @property
    def weights(self) -> str:
        """Hash of its weights."""
        return str(self.about["weights"])


@dataclass(frozen=True)
class SetSettings:
    """The source of the sets and the folder of the results.

    Attributes:
        root: folder that holds the sets; None to stream them from the hub.
        records: folder of the results.
        protocol: see ``Benchmark``.
        precision: of the model.
        loop: how to run a model on images.
    """

    root: Path | None
    records: Path
    protocol: Protocol
    precision: Precision
    loop: SetLoop


def recorded_preprocessing(model: SetModel, **further: Any) -> dict[str, Any]:
    """Return the preprocessing and everything else that results depend on, in the form of a record read from JSON."""
    return json.loads(json.dumps(asdict(model.classifier.preprocessing))) | further


def set_model(
    classifier: Classifier, source: str, seen: frozenset[int] = frozenset(), checkpoint: str | None = None
) -> SetModel:
    """Prepare a model for evaluation; hashing its weights takes a second."""
    return SetModel(classifier, describe_model(classifier, source, checkpoint=checkpoint), seen)


def outcomes_path(record: Path) -> Path:
    """Return the path of the answers to each image, beside their record."""
    return record.with_suffix(".npz")


def evaluate_set(
    benchmark: Benchmark, model: SetModel, place: SetSettings, baseline: SetModel | None = None
) -> tuple[Record, bool]:
    """Evaluate a model on a set and record it; earlier answers are used again.

    Returns:
        The record, and whether all answers were there already.
    """
    after, before = ask_set(benchmark, model, place, baseline)
    return record_set(benchmark, model, place, after, baseline, before), after.reused


@dataclass(frozen=True)
class SetAnswers:
    """A model's answers to a set.

    Attributes:
        outcomes: one row for each image.
        answers: the possible answers.
        problems: a line for everything that is missing or could not be read.
        expected: images that the whole set has.
        reused: whether all answers were there already.
    """

    outcomes: Outcomes
    answers: Answers
    problems: list[str]
    expected: int
    reused: bool


def ask_set(
    benchmark: Benchmark, model: SetModel, place: SetSettings, baseline: SetModel | None = None
) -> tuple[SetAnswers, SetAnswers | None]:
    """Collect all answers of a model, and of a baseline, to a set; only the answers are written."""
    models = [one for one in (model, baseline) if one is not None]
    for one in models:
        check_head(benchmark, one.classifier.num_classes)
    listing = None if place.root is None else benchmark.read(place.root, place.protocol)
    for one in models:
        complete = listing is None or listing.complete
        check_record_place(place.records, benchmark.name, place.protocol, one.weights, complete=complete)
    before = None if baseline is None else _answer_set(benchmark, baseline, place, listing)
    return _answer_set(benchmark, model, place, listing), before


def record_set(
    benchmark: Benchmark,
    model: SetModel,
    place: SetSettings,
    after: SetAnswers,
    baseline: SetModel | None = None,
    before: SetAnswers | None = None,
) -> Record:
    """Record the answers of ``ask_set``, of the baseline too, and compare the two models."""
    record = _record(benchmark, model, place, after)
    if baseline is not None and before is not None:
        record.compared.update(compare_outcomes(before.outcomes, after.outcomes) | {"baseline": baseline.about})
    if place.loop.accelerator.is_main_process:
        if baseline is not None and before is not None:
            _write(_record(benchmark, baseline, place, before), place, before.reused)
        _write(record, place, after.reused)  # last: the two may be the same weights
    return record


def _write(record: Record, place: SetSettings, reused: bool) -> None:
    """Write a record; an older comparison of the same answers is kept if there is no new one."""
    path = record_path(place.records, record.set, record.protocol, str(record.model["weights"]))
    if reused and not record.compared and path.is_file():
        record.compared.update(read_record(path).compared)
    write_record(record, place.records)


def _answer_set(benchmark: Benchmark, model: SetModel, place: SetSettings, listing: Listing | None) -> SetAnswers:
    """Collect all answers of a model to a set: those of earlier calls, and the remaining ones now."""
    accelerator = place.loop.accelerator
    path = outcomes_path(record_path(place.records, benchmark.name, place.protocol, model.weights))
    identity = _identity(benchmark, model, place, listing)
    parts = PartFolder(path.with_name(f".{path.stem}.parts"), identity, accelerator.process_index)
    whole = read_outcomes(path, identity)
    known = [*([] if whole is None else [whole]), *parts.read()]
    done = {str(name) for part in known for name in part.names}
    accelerator.wait_for_everyone()  # every process must see what is done before one continues
    share = (accelerator.process_index, accelerator.num_processes)
    lines: list[str] = []
    if listing is None:
        images, answers = stream(benchmark, place.protocol)
        if len(done) < benchmark.images:
            streamed = StreamedImages(images, done, share, benchmark, place.protocol, model.classifier.preprocessing)
            lines = run_images(model.classifier, answers, streamed, parts, place.loop, None)
    else:
        answers, root = listing.answers, Path(str(place.root))
        todo = [sample for sample in listing.samples if name_of(sample, root) not in done]
        if todo:
            mine = DiskImages(
                todo[share[0] :: share[1]], root, benchmark, place.protocol, model.classifier.preprocessing
            )
            lines = run_images(model.classifier, answers, mine, parts, place.loop, len(mine))
    accelerator.wait_for_everyone()
    fresh = list(parts.read())
    whole = read_outcomes(path, identity)  # again: another call may have finished meanwhile
    if not fresh and whole is None:
        raise UserError(f"no image of {benchmark.title} could be read: {lines[0] if lines else 'the set is empty'}")
    outcomes = join_outcomes([*fresh, *([] if whole is None else [whole])])
    if listing is not None and (lacking := len(listing.samples) - len(outcomes) - len(lines)) > 0:
        lines.append(f"no answer on {pluralize(lacking, 'image')}: another call may be running; call again")
    accelerator.wait_for_everyone()
    if accelerator.is_main_process and fresh:
        write_outcomes(outcomes, path, identity)
        parts.remove()
    problems = [*([] if listing is None else listing.problems), *lines]
    return SetAnswers(outcomes, answers, problems, benchmark.images, not fresh)


def _identity(benchmark: Benchmark, model: SetModel, place: SetSettings, listing: Listing | None) -> str:
    """Hash everything that answers depend on."""
    samples = [] if listing is None else [
        [name_of(s, Path(str(place.root))), s.right, s.class_name, s.group] for s in listing.samples
    ]  # fmt: skip
    said = [benchmark.name, place.protocol, model.weights, _preprocessing(model, place), place.root is None, samples]
    return hashlib.sha256(json.dumps(said).encode("utf-8", "surrogateescape")).hexdigest()


def _preprocessing(model: SetModel, place: SetSettings) -> dict[str, Any]:
    return recorded_preprocessing(model, precision=place.precision)


def _record(benchmark: Benchmark, model: SetModel, place: SetSettings, asked: SetAnswers) -> Record:
    outcomes = asked.outcomes
    has_groups = bool((outcomes.groups != "").any())
    return Record(
        set=benchmark.name,
        protocol=place.protocol,
        model=model.about,
        preprocessing=_preprocessing(model, place),
        samples=len(outcomes),
        expected=asked.expected,
        complete=len(outcomes) == asked.expected,
        problems=asked.problems,
        numbers=set_numbers(
            outcomes,
            benchmark.summary[place.protocol],
            asked.answers.places(model.seen),
            top5=len(asked.answers.names) > TOP,
        ),
        classes=accuracies_by(outcomes, "class_names"),
        precisions=set_precisions(outcomes),
        confusions=set_confusions(outcomes, asked.answers.names),
        groups=accuracies_by(outcomes, "groups") if has_groups else {},
        compared={},
        **provenance(),
    )
