"""Items shown image by image: relevance before and after (figures 1, 2, 3 and 6), subsets, and classes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from robustvit.common.files import read_json, write_json, write_text
from robustvit.common.pictures import figure_of_rows, overlay
from robustvit.common.progress import warn
from robustvit.data.read_photos import read_photo
from robustvit.evaluation.classes.changes import compare_classes
from robustvit.evaluation.classes.compared import Compared
from robustvit.evaluation.classes.page import render_classes
from robustvit.evaluation.classes.pictures import choose_turned_panels, draw_turned
from robustvit.evaluation.classes.record import class_record
from robustvit.evaluation.on_sets.images import Preparation, name_of
from robustvit.evaluation.on_sets.outcomes import Outcomes
from robustvit.evaluation.on_sets.recording import SetModel, ask_set
from robustvit.evaluation.sets import BENCHMARKS
from robustvit.experiments.paper.evaluating import PROTOCOL, Evaluator
from robustvit.experiments.paper.plan import Run
from robustvit.explanation.maps import relevance

_HELPED = 20  # classes per chart
_SAMPLES, _CLASSES = 3, 2  # the paper's Fig. 15
_METHOD = "gae"  # of its relevance maps


def choose_images(before: Outcomes, after: Outcomes, outcome: str, count: int, skip: int = 0) -> list[int]:
    """Choose the rows of images of an outcome by rule: the first of each class in the order of the set.

    Args:
        before: predictions of the original.
        after: predictions of the finetuned model, for the same images.
        outcome: ``same`` (both right), ``corrected``, ``broken``, or ``wrong`` (most confident errors of the original).
        count: number of images.
        skip: number of images to skip first.
    """
    old, new = before.correct, after.correct
    fits = {"same": old & new, "corrected": ~old & new, "broken": old & ~new, "wrong": ~old}[outcome]
    rows = np.flatnonzero(fits)
    if outcome == "wrong":
        rows = rows[np.argsort(-before.confidence[rows], kind="stable")]
    firsts = {str(before.class_names[row]): int(row) for row in rows[::-1]}
    return sorted(firsts.values(), key=rows.tolist().index)[skip : skip + count]


def show_panels(evaluator: Evaluator, target: Path) -> list[Path]:
    """Write a picture for each model with rows of image, relevance of the original, and of the finetuned model."""
    target.mkdir(parents=True, exist_ok=True)
    paths, said = [], []
    originals = [run for run in evaluator.plan.runs if not run.trained]
    for original in originals:
        guided = next((run for run in evaluator.plan.runs if run.trained and run.card == original.card), None)
        rows, path = [], target / f"{original.card}.png"
        for shown, pictures in _list_rows(evaluator, original, guided):
            rows.append(pictures)
            said.append({"model": original.card, **shown, "answers": [title for title, _ in pictures[1:]]})
        if rows:
            paths.append(path)
            figure_of_rows(rows, path)
        else:
            path.unlink(missing_ok=True)
            warn(f"no image for {evaluator.plan.what} of {original.card}: no prediction changed that way")
    listed, drawn = target / "images.json", {original.card for original in originals}
    earlier = read_json(listed) if listed.is_file() else []
    said += [one for one in earlier if one["model"] not in drawn]
    write_json(sorted(said, key=lambda one: evaluator.plan.row["cards"].index(one["model"])), listed)
    return [*paths, listed]


def _list_rows(
    evaluator: Evaluator, original: Run, guided: Run | None
) -> Iterator[tuple[dict[str, str], list[tuple[str, np.ndarray]]]]:
    """Return the images to show, each with titled pictures of it and of the relevance of each model."""
    row = evaluator.plan.row
    models = [evaluator.model(run) for run in (original, guided) if run is not None]
    for name in evaluator.plan.sets:
        asked = [ask_set(BENCHMARKS[name], model, evaluator.sets)[0] for model in models]
        before, after = asked[0].outcomes, asked[-1].outcomes
        for outcome in row["outcomes"]:
            for at in choose_images(before, after, outcome, row["count"], row.get("skip", 0)):
                image, class_name = str(before.names[at]), str(before.class_names[at])
                photo = read_photo(evaluator.workspace.data / image)
                pictures = [_show_input(name, photo, models[0], class_name)]
                pictures += [_explain(name, photo, model) for model in models]
                yield {"set": name, "image": image, "class": class_name, "outcome": outcome}, pictures


def _show_input(name: str, photo: Image.Image, model: SetModel, class_name: str) -> tuple[str, np.ndarray]:
    image = Preparation(BENCHMARKS[name], PROTOCOL, model.classifier.preprocessing)(photo)
    return f"{name}\n{class_name}", image.permute(1, 2, 0).numpy()


def _explain(name: str, photo: Image.Image, model: SetModel) -> tuple[str, np.ndarray]:
    """Overlay the relevance of the predicted class on the image."""
    classifier = model.classifier
    image = Preparation(BENCHMARKS[name], PROTOCOL, classifier.preprocessing)(photo).as_subclass(Tensor)
    inputs = image[None].to(classifier.mean.device)
    with torch.no_grad():
        probabilities = classifier(inputs).softmax(dim=1)[0]
        found = relevance(classifier, inputs, method=_METHOD)[0]
    best = int(probabilities.argmax())
    which = "original" if model.about["method"] == "original" else "ours"
    return f"{which}: {classifier.name_of(best)}\n{100 * float(probabilities[best]):.0f} %", overlay(image, found)


def show_classes(evaluator: Evaluator, target: Path) -> list[Path]:
    """Write a page for each model and set about classes that gained and lost, as ``robustvit classes`` does."""
    target.mkdir(parents=True, exist_ok=True)
    paths = []
    for run in (one for one in evaluator.plan.runs if one.trained):
        for name in evaluator.plan.sets:
            compared = _compare(evaluator, run, name)
            panels = choose_turned_panels(compared, _CLASSES, _SAMPLES)
            settings = {"model": compared.model.about["source"], "on": name, "protocol": PROTOCOL, "relevance": _METHOD}
            record = class_record(compared, panels, _HELPED, settings)
            page = target / f"{run.card}-{name.replace('/', '-')}.html"
            write_json(record, page.with_suffix(".json"))
            pictures = draw_turned(compared, panels, _METHOD)
            write_text(render_classes(record, pictures, page.with_suffix(".json").name), page)
            paths += [page, page.with_suffix(".json")]
    return paths


def _compare(evaluator: Evaluator, run: Run, name: str) -> Compared:
    model, baseline = evaluator.model(run), evaluator.model(evaluator.plan.original(run))
    after, before = ask_set(BENCHMARKS[name], model, evaluator.sets, baseline)
    assert before is not None  # a baseline was named
    changes = compare_classes(before.outcomes, after.outcomes, after.answers.places(model.seen))
    return Compared(model, baseline, BENCHMARKS[name], evaluator.sets, after, before, changes, {})


def show_subsets(evaluator: Evaluator, target: Path) -> list[Path]:
    """Show sufficient input subsets of random validation images, for the predicted and the forced classes."""
    from robustvit.explanation.subsets.subset import subset

    workspace, row = evaluator.workspace, evaluator.plan.row
    samples = BENCHMARKS[row["images"][0]].read(workspace.data, PROTOCOL).samples
    names = sorted(name_of(sample, workspace.data) for sample in samples)
    drawn = random.Random(0).sample(names, min(row["count"], len(names)))
    photos = [str(workspace.data / name) for name in drawn]
    paths = []
    for run in evaluator.plan.runs:
        picture = target.with_name(f"{target.name}-{run.card}.png")
        files = [picture, picture.with_suffix(".json")]
        paths += files
        options = {"class_": [str(index) for index in workspace.scale.forced], "remove": workspace.scale.remove}
        options |= workspace.loading(run.card)
        if _is_current(files, photos, evaluator.model(run), options):  # hours on a CPU
            continue
        for old in files:
            old.unlink(missing_ok=True)
        subset(photos, model=workspace.source(run.card), out=str(picture), device=workspace.device, **options)
    return paths


def _is_current(files: list[Path], photos: list[str], model: SetModel, options: dict[str, Any]) -> bool:
    """Whether picture and record exist for these photos, weights and options."""
    if not all(path.is_file() for path in files):
        return False
    record = read_json(files[-1])
    wanted = {name.rstrip("_"): value for name, value in options.items()}
    same = list(record["photos"]) == photos and record.get("weights") == model.weights
    return same and wanted.items() <= record["settings"].items()
