"""Tasks of Label Studio's exports, JSON and JSON-MIN, in one form: a photo and its annotations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from robustvit.common.wording import pluralize, shown
from robustvit.data.matching import Name
from robustvit.masks.annotations.objects import BrokenEntry
from robustvit.masks.annotations.values import as_dict, as_list, dicts_in, holds

NEWEST = "newest"
_LOOKED_AT = 100
_UPLOADED = re.compile(r"^/?data/upload/(\d+/)?")  # a folder of Label Studio's, not of the photos
_QUERY = re.compile(r"\?(?!d=).*$", re.DOTALL)


@dataclass(frozen=True)
class Result:
    """A shape that a person marked.

    Attributes:
        kind: Label Studio's name for it, such as ``polygonlabels``.
        value: the shape, in per cent of the photo.
        labels: its classes.
        size: height and width of the photo, as the export has them.
        rotation: degrees by which the photo was turned in the editor.
    """

    kind: str
    value: dict
    labels: tuple[str, ...]
    size: tuple[object, object]
    rotation: object = 0


@dataclass
class Task:
    """A photo and its annotations, each a list of raw entries.

    Attributes:
        data: the task's fields; one of them names the photo.
        annotations: of all people, without cancelled ones; each has ``results``, and may have ``when`` and ``truth``.
        cancelled: number of those left out.
        predictions: number of a model's, which are not used.
    """

    data: dict
    annotations: list[dict] = field(default_factory=list)
    cancelled: int = 0
    predictions: int = 0


def is_label_studio(content: object) -> bool:
    """Whether a JSON value is an export of Label Studio, JSON or JSON-MIN."""
    return any(_is_full(one) or any(_small_results(one)) for one in dicts_in(as_list(content)[:_LOOKED_AT]))


def _is_full(task: dict) -> bool:
    return holds(task, data=dict) and ("annotations" in task or "completions" in task)


def _small_results(task: dict) -> Iterator[dict]:
    for value in task.values():
        yield from (entry for entry in dicts_in(value) if "original_width" in entry)


def read_tasks(content: list, problems: list[str]) -> dict[str, Task]:
    """Return the tasks by their names in messages; the rows of JSON-MIN, one for each annotation, are put together."""
    tasks: dict[str, Task] = {}
    for number, entry in enumerate(content):
        if not isinstance(entry, dict):
            problems.append(f"task number {number}: expected a task, found {shown(entry)}; left out")
            continue
        where = f"task {shown(entry['id'])}" if "id" in entry else f"task number {number}"
        if not _is_full(entry):
            task = tasks.setdefault(where, Task(entry))
            results = [{"value": one, **one} for one in _small_results(entry)]
            task.annotations.append({"results": results, "when": _time(entry)})
        elif where in tasks:
            problems.append(f"{where} is listed twice: the first is used")
        else:
            tasks[where] = _full_task(entry)
    return tasks


def _full_task(entry: dict) -> Task:
    task = Task({"file_upload": entry.get("file_upload"), **entry["data"]})
    task.predictions = len(as_list(entry.get("predictions")))
    for one in dicts_in(entry.get("annotations", entry.get("completions"))):
        if one.get("was_cancelled"):
            task.cancelled += 1
        else:
            results, truth = dicts_in(one.get("result")), one.get("ground_truth") is True
            task.annotations.append({"results": results, "when": _time(one), "truth": truth})
    return task


def _time(entry: dict) -> str:
    return str(entry.get("updated_at") or entry.get("created_at") or "")


def choose_annotation(task: Task, which: str | None) -> list[dict]:
    """Return the entries of the annotation that counts: the ground truth, the only one, or the newest if asked for."""
    truths = [one for one in task.annotations if one.get("truth")]
    found = truths or task.annotations
    if not found:
        return []
    if len(found) > 1 and which != NEWEST:
        raise BrokenEntry(f"{len(found)} annotations of one photo: --which newest takes the newest of them")
    return max(found, key=lambda one: one["when"])["results"]


def photo_name(task: Task) -> str:
    """Return the name of a task's photo, without the address of the server."""
    texts = {key: _QUERY.sub("", value) for key, value in task.data.items() if isinstance(value, str)}
    names = {key: text for key, text in texts.items() if Name.of(text).ending}
    uploaded = names.pop("file_upload", None)
    if "image" in names or len(names) == 1:
        return _UPLOADED.sub("", names.get("image") or next(iter(names.values())))
    several = max((_count_photos(value) for value in task.data.values()), default=0)
    if several and not names:
        raise BrokenEntry(f"it shows {pluralize(several, 'photo')} in a list: export a task for each photo")
    if uploaded and not names:
        return uploaded
    found = f"several: {', '.join(map(shown, sorted(names)))}" if names else "none"
    raise BrokenEntry(f"expected one field with the name of a photo, found {found}")


def _count_photos(value: object) -> int:
    return sum(isinstance(one, str) and bool(Name.of(_QUERY.sub("", one)).ending) for one in as_list(value))


def read_results(entries: list[dict]) -> list[Result]:
    """Return the shapes that were marked; labels in separate entries are added to their shapes."""
    shared: dict[object, list[str]] = {}
    for entry in entries:
        identity = entry.get("id")
        if isinstance(identity, str) and entry.get("type") == "labels":
            shared.setdefault(identity, []).extend(_labels(entry))
    results = []
    for entry in entries:
        value = entry.get("value")
        kind = str(entry.get("type") or next((key for key in entry if key.endswith("labels")), "?"))
        identity = entry.get("id")
        labels = _labels(entry) or (shared.get(identity, []) if isinstance(identity, str) else [])
        if isinstance(value, dict) and not (kind == "labels" and set(value) <= {"labels"}):
            size = entry.get("original_height"), entry.get("original_width")
            results.append(Result(kind, value, tuple(dict.fromkeys(labels)), size, entry.get("image_rotation", 0)))
    return results


def _labels(entry: dict) -> list[str]:
    lists = [as_list(names) for key, names in as_dict(entry.get("value")).items() if key.endswith("labels")]
    return [name for names in lists for name in names if isinstance(name, str) and name]
