"""Evaluation on benchmark sets: each set is run once and recorded; a killed evaluation resumes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from robustvit.common.errors import UserError
from robustvit.common.provenance import provenance
from robustvit.common.wording import pluralize
from robustvit.evaluation.on_sets.images import DiskImages, Preparation, StreamedImages, name_of
from robustvit.evaluation.on_sets.loop import TOP, SetSettings, run_images
from robustvit.evaluation.on_sets.numbers import (
    accuracies_by,
    compare_outcomes,
    set_confusions,
    set_numbers,
    set_precisions,
)
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


def describe_preprocessing(model: SetModel, **further: Any) -> dict[str, Any]:
    """Return the preprocessing and everything else that results depend on, in the form of a record read from JSON."""
    return json.loads(json.dumps(asdict(model.classifier.preprocessing))) | further


def make_set_model(
    classifier: Classifier, source: str, seen: frozenset[int] = frozenset(), checkpoint: str | None = None
) -> SetModel:
    """Describe a model for evaluation; hashing its weights takes a second."""
    return SetModel(classifier, describe_model(classifier, source, checkpoint=checkpoint), seen)


def evaluate_set(
    benchmark: Benchmark, model: SetModel, setup: SetSettings, baseline: SetModel | None = None
) -> tuple[Record, bool]:
    """Evaluate a model on a set; return its record, and whether all answers had been recorded already."""
    after, before = ask_set(benchmark, model, setup, baseline)
    return record_set(benchmark, model, setup, after, baseline, before), after.reused


@dataclass(frozen=True)
class SetAnswers:
    """A model's answers to a set.

    Attributes:
        outcomes: one row for each image.
        answers: the possible answers.
        problems: a line for everything that is missing or could not be read.
        expected: images that the whole set has.
        reused: whether all answers had been recorded already.
    """

    outcomes: Outcomes
    answers: Answers
    problems: list[str]
    expected: int
    reused: bool


def ask_set(
    benchmark: Benchmark, model: SetModel, setup: SetSettings, baseline: SetModel | None = None
) -> tuple[SetAnswers, SetAnswers | None]:
    """Collect all answers of a model, and of a baseline, to a set; only the answers are written."""
    models = [one for one in (model, baseline) if one is not None]
    for one in models:
        check_head(benchmark, one.classifier.num_classes)
    listing = None if setup.root is None else benchmark.read(setup.root, setup.protocol)
    for one in models:
        complete = listing is None or listing.complete
        check_record_place(setup.records, benchmark.name, setup.protocol, one.weights, complete=complete)
    before = None if baseline is None else _answer_set(benchmark, baseline, setup, listing)
    return _answer_set(benchmark, model, setup, listing), before


def record_set(
    benchmark: Benchmark,
    model: SetModel,
    setup: SetSettings,
    after: SetAnswers,
    baseline: SetModel | None = None,
    before: SetAnswers | None = None,
) -> Record:
    """Record the answers of ``ask_set``, of the baseline too, and compare the two models."""
    record = _make_record(benchmark, model, setup, after)
    if baseline is not None and before is not None:
        record.compared.update(compare_outcomes(before.outcomes, after.outcomes) | {"baseline": baseline.about})
    if setup.accelerator.is_main_process:
        if baseline is not None and before is not None:
            _write_record(_make_record(benchmark, baseline, setup, before), setup, before.reused)
        _write_record(record, setup, after.reused)  # last: the two may be the same weights
    return record


def _write_record(record: Record, setup: SetSettings, reused: bool) -> None:
    """Write a record; an older comparison of the same answers is kept if there is no new one."""
    path = record_path(setup.records, record.set, record.protocol, str(record.model["weights"]))
    if reused and not record.compared and path.is_file():
        record.compared.update(read_record(path).compared)
    write_record(record, setup.records)


def _answer_set(benchmark: Benchmark, model: SetModel, setup: SetSettings, listing: Listing | None) -> SetAnswers:
    """Collect all answers of a model to a set: those of earlier calls, and the remaining ones now."""
    accelerator = setup.accelerator
    path = record_path(setup.records, benchmark.name, setup.protocol, model.weights).with_suffix(".npz")
    identity = _hash_identity(benchmark, model, setup, listing)
    parts = PartFolder(path.with_name(f".{path.stem}.parts"), identity, accelerator.process_index)
    done = {str(name) for part in (*_read_whole(path, identity), *parts.read()) for name in part.names}
    accelerator.wait_for_everyone()  # every process must see what is done before one continues
    answers, lines = _answer_rest(benchmark, model, setup, listing, done, parts)
    accelerator.wait_for_everyone()
    fresh = list(parts.read())
    known = [*fresh, *_read_whole(path, identity)]  # read again: another call may have finished meanwhile
    if not known:
        raise UserError(f"no image of {benchmark.title} could be read: {lines[0] if lines else 'the set is empty'}")
    outcomes = join_outcomes(known)
    if listing is not None and (lacking := len(listing.samples) - len(outcomes) - len(lines)) > 0:
        lines.append(f"no answer on {pluralize(lacking, 'image')}: another command may be running; run this one again")
    accelerator.wait_for_everyone()
    if accelerator.is_main_process and fresh:
        write_outcomes(outcomes, path, identity)
        parts.remove()
    if listing is None:
        return SetAnswers(outcomes, answers, lines, benchmark.images, not fresh)
    return SetAnswers(outcomes, answers, [*listing.problems, *lines], listing.expected, not fresh)


def _read_whole(path: Path, identity: str) -> list[Outcomes]:
    """Return the answers that a finished call wrote; empty if there are none."""
    found = read_outcomes(path, identity)
    return [] if found is None else [found]


def _answer_rest(
    benchmark: Benchmark,
    model: SetModel,
    setup: SetSettings,
    listing: Listing | None,
    done: Collection[str],
    parts: PartFolder,
) -> tuple[Answers, list[str]]:
    """Answer this process's share of the images that are not done; return the possible answers, and problems."""
    rank, processes = setup.accelerator.process_index, setup.accelerator.num_processes
    prepare = Preparation(benchmark, setup.protocol, model.classifier.preprocessing)
    if listing is None:
        images, answers = stream(benchmark, setup.protocol)
        if len(done) >= benchmark.images:
            return answers, []
        streamed = StreamedImages(images, done, (rank, processes), prepare)
        return answers, run_images(model.classifier, answers, streamed, parts, setup, None)
    root = Path(str(setup.root))
    todo = [sample for sample in listing.samples if name_of(sample, root) not in done]
    if not todo:
        return listing.answers, []
    mine = DiskImages(todo[rank::processes], root, prepare)
    return listing.answers, run_images(model.classifier, listing.answers, mine, parts, setup, len(mine))


def _hash_identity(benchmark: Benchmark, model: SetModel, setup: SetSettings, listing: Listing | None) -> str:
    """Hash everything that answers depend on."""
    samples = [] if listing is None else [
        [name_of(s, Path(str(setup.root))), s.right, s.class_name, s.group] for s in listing.samples
    ]  # fmt: skip
    preprocessing = describe_preprocessing(model, precision=setup.precision)
    said = [benchmark.name, setup.protocol, model.weights, preprocessing, setup.root is None, samples]
    return hashlib.sha256(json.dumps(said).encode("utf-8", "surrogateescape")).hexdigest()


def _make_record(benchmark: Benchmark, model: SetModel, setup: SetSettings, asked: SetAnswers) -> Record:
    outcomes, summary, seen = asked.outcomes, benchmark.summary[setup.protocol], asked.answers.places(model.seen)
    return Record(
        set=benchmark.name,
        protocol=setup.protocol,
        model=model.about,
        preprocessing=describe_preprocessing(model, precision=setup.precision),
        samples=len(outcomes),
        expected=asked.expected,
        complete=len(outcomes) == asked.expected,
        problems=asked.problems,
        numbers=set_numbers(outcomes, summary, seen, top5=len(asked.answers.names) > TOP),
        classes=accuracies_by(outcomes, "class_names"),
        precisions=set_precisions(outcomes),
        confusions=set_confusions(outcomes, asked.answers.names),
        groups=accuracies_by(outcomes, "groups") if (outcomes.groups != "").any() else {},
        compared={},
        **provenance(),
    )
