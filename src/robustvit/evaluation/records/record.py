"""A result as a file: a model on a set under a protocol, with everything needed to reproduce it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from robustvit.common.errors import UserError
from robustvit.common.files import write_json
from robustvit.common.intervals import Interval
from robustvit.common.output_paths import check_writable
from robustvit.common.progress import warn

_MARK = "robustvit_record"  # the key that marks records, with the version of the layout
_LAYOUT = 1
_INTERVAL = {"mean", "low", "high", "count"}
MEASURE_TITLES: dict[str, str] = {
    "top1": "top-1",
    "top5": "top-5",
    "ece": "calibration error",
    "worst_class": "worst class",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "group_mean": "mean over groups",
    "worst_group": "worst group",
    "headline": "headline",
    "seen_top1": "top-1, classes seen",
    "unseen_top1": "top-1, other classes",
    "seen_top5": "top-5, classes seen",
    "unseen_top5": "top-5, other classes",
    "pixel_accuracy": "pixel accuracy",
    "miou": "mIoU",
    "map": "mAP",
}


class ForeignFile(UserError):
    """JSON that is not a record."""


@dataclass(frozen=True)
class Record:
    """A result: a model on a set under a protocol.

    Attributes:
        set: the set's name.
        protocol: ``paper`` or ``standard``.
        model: ``source``, ``weights`` (see ``weights_hash``), ``card`` of the paper or None, ``method``, ``classes``.
        preprocessing: from images to inputs.
        samples: number of images evaluated.
        expected: number of images of the whole set.
        complete: whether all of them were evaluated.
        problems: one line each.
        numbers: by measure, shares in [0, 1] with 95 % CIs.
        classes: accuracy of each class.
        groups: accuracy of each group.
        compared: the comparison with a baseline; empty without one.
        versions: of Python, the machine and the libraries.
        command: the command line.
        date: of the result, ISO 8601.
        precisions: share of right answers among the answers of each class; empty in older records, and where classes
            share answers.
        confusions: the most frequent wrong answers, ``class``, ``answer`` and number of ``images``; likewise.
    """

    set: str
    protocol: str
    model: dict[str, Any]
    preprocessing: dict[str, Any]
    samples: int
    expected: int
    complete: bool
    problems: list[str]
    numbers: dict[str, Interval]
    classes: dict[str, Interval]
    groups: dict[str, Interval]
    compared: dict[str, Any]
    versions: dict[str, str]
    command: list[str]
    date: str
    precisions: dict[str, Interval] = field(default_factory=dict)
    confusions: list[dict[str, Any]] = field(default_factory=list)


def record_path(folder: str | Path, set: str, protocol: str, weights: str) -> Path:
    """Return the path of a record: ``SET--PROTOCOL--WEIGHTS.json``, with ``/`` written as ``--``."""
    for kind, name in (("set", set), ("protocol", protocol)):
        if not re.fullmatch(r"[A-Za-z0-9][\w. +/-]*", name) or ".." in name:
            raise UserError(f"expected a {kind} named in letters, digits, '-', '.', '_' and '/', got {name!r}")
    if not re.fullmatch(r"[0-9a-f]{12,}", weights):
        raise UserError(f"expected the hash of the model's weights in hexadecimal, 12 digits or more, got {weights!r}")
    return Path(folder) / f"{set.replace('/', '--')}--{protocol}--{weights[:12]}.json"


def check_record_place(folder: str | Path, set: str, protocol: str, weights: str, *, complete: bool = True) -> Path:
    """Check that a result can be recorded, before work is spent on it; return the record's file.

    An older record of the same model, set and protocol is replaced, but not a complete record by an incomplete one.
    """
    path = record_path(folder, set, protocol, weights)
    check_writable(path)
    if path.exists() and read_record(path).complete and not complete:
        raise UserError(
            f"{path} holds the result on the whole set, this one is on a part of it: name another --records"
        )
    return path


def write_record(record: Record, folder: str | Path) -> Path:
    """Write a record to a folder, which is created, whole or not at all; return the file, see ``record_path``."""
    weights = str(record.model.get("weights"))
    path = check_record_place(folder, record.set, record.protocol, weights, complete=record.complete)
    content = asdict(record)
    if wrong := _find_fault(content):
        raise UserError(f"refused to record the result on {record.set}: {wrong}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json({_MARK: _LAYOUT, **content}, path)
    return path


def read_record(path: str | Path) -> Record:
    """Read one record."""
    way = "remove it, or name another folder of records"
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read record {path}, it is broken or cut off ({error}): {way}") from error
    if not isinstance(content, dict) or _MARK not in content:
        raise ForeignFile(f"expected a record that robustvit evaluate wrote, {path} is another file: {way}")
    layout = content.pop(_MARK)
    if layout != _LAYOUT:
        raise UserError(
            f"{path} has layout {layout!r} of records, this version reads {_LAYOUT}: use the version that wrote it"
        )
    content.setdefault("precisions", {})  # missing in older records, as is the next
    content.setdefault("confusions", [])
    if wrong := _find_fault(content):
        raise UserError(f"record {path} is broken, {wrong}: {way}")
    return Record(**{name: _read_intervals(value) for name, value in content.items()})


def read_records(folder: str | Path) -> list[Record]:
    """Read all records of a folder, sorted by file name.

    Files that do not end in ``.json`` are ignored; JSON files that are not records are ignored with a warning.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"expected a folder of records, found none at {folder}: name one that robustvit evaluate wrote")
    records = []
    for path in sorted(folder.glob("*.json")):
        if path.is_file() and path.name[0] != ".":
            try:
                records.append(read_record(path))
            except ForeignFile:
                warn(f"{path} is ignored: it holds no result that robustvit evaluate wrote")
    return records


def _find_fault(content: dict[str, Any]) -> str:
    """Describe the first fault in the content of a record; empty if there is none."""
    kinds = get_type_hints(Record)
    names = set(kinds)
    if lacking := sorted(names - set(content)):
        return f"it lacks {', '.join(lacking)}"
    if foreign := sorted(set(content) - names):
        return f"it has {', '.join(foreign)}, which records do not"
    for name, hint in kinds.items():
        kind = get_origin(hint) or hint
        if type(content[name]) is not kind:
            return f"expected {name} to be {kind.__name__}, got {content[name]!r:.60}"
    if not isinstance(content["model"].get("weights"), str):
        return "its model has no hash of weights"
    for name in ("numbers", "classes", "groups", "precisions"):
        for key, value in content[name].items():
            if not _is_share(value):
                return f"expected {name} as shares in [0, 1] with intervals, got {key} = {value!r:.80}"
    return ""


def _is_share(value: object) -> bool:
    if not isinstance(value, dict) or set(value) != _INTERVAL or type(value["count"]) is not int:
        return False
    numbers = [value["mean"], value["low"], value["high"]]
    return all(isinstance(x, (int, float)) and -1e-9 <= x <= 1 + 1e-9 for x in numbers)  # false of NaN


def _read_intervals(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == _INTERVAL:
            return Interval(**value)
        return {key: _read_intervals(inner) for key, inner in value.items()}
    return [_read_intervals(inner) for inner in value] if isinstance(value, list) else value
