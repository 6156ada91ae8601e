"""Measures of the original model, shared by the trials of a sweep: it is measured once, not in every trial."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from robustvit.common.files import read_json, write_json
from robustvit.common.provenance import versions
from robustvit.data.backgrounds import SHIPPED
from robustvit.data.datasets import MaskedPhotos
from robustvit.data.duplicates import Fingerprint
from robustvit.evaluation.insertions import Insertion
from robustvit.evaluation.measuring import MeasureSettings
from robustvit.evaluation.photo_measures import PhotoMeasure, read_measures, write_measures
from robustvit.evaluation.traded_shortcuts import Ask
from robustvit.models.classifier import Classifier
from robustvit.models.weights import weights_hash


def measure_once(
    shared: Path | None,
    model: Classifier,
    photos: MaskedPhotos,
    settings: MeasureSettings,
    prints: Mapping[Path, Fingerprint],
    measure: Callable[[], list[PhotoMeasure]],
) -> list[PhotoMeasure]:
    """Return the measures of a model, from the folder that trials share if a trial has measured the same before.

    ``shared`` is None for a run by itself; ``prints`` are the fingerprints of the photos, by file.
    """
    if shared is None:
        return measure()
    file = shared / f"{_key(model, photos, settings, prints)}.json"
    if file.is_file():
        return read_measures(file)
    found = measure()
    write_measures(found, file)
    return found


def remember_insertions(
    shared: Path | None,
    model: Classifier,
    photos: MaskedPhotos,
    settings: MeasureSettings,
    prints: Mapping[Path, Fingerprint],
) -> Callable[[Ask], Ask]:
    """Return a function that makes a question on insertions remember its answers in the shared folder, photo by photo.

    Arguments as in ``measure_once``.
    """
    if shared is None:
        return lambda ask: ask
    file = shared / f"{_key(model, photos, settings, prints)}-inserted.json"

    def kept(ask: Ask) -> Ask:
        def answer(indices: Sequence[int], changes: Mapping[str, Insertion]) -> dict[str, list[int]]:
            known: dict[str, dict[str, int]] = read_json(file) if file.is_file() else {}
            asked = {*map(str, indices)}
            missing = {name: change for name, change in changes.items() if asked - {*known.get(name, ())}}
            for name, said in (ask(indices, missing) if missing else {}).items():
                known.setdefault(name, {}).update(zip(map(str, indices), said, strict=True))
            if missing:
                write_json(known, file)
            return {name: [known[name][str(index)] for index in indices] for name in changes}

        return answer

    return kept


def _key(model: Classifier, photos: MaskedPhotos, settings: MeasureSettings, prints: Mapping[Path, Fingerprint]) -> str:
    """Return a digest of everything that the measures depend on, down to the last bit of a probability."""
    listed = [
        (str(photo.image), prints[photo.image].content, _digest(photo.mask), photo.label, photo.no_object, photo.pixels)
        + (() if photo.labels is None else (photo.labels, [_digest(mask) for mask in photo.class_masks]))
        for photo in photos.photos
    ]
    backgrounds = settings.backgrounds
    others = []
    if backgrounds not in (None, SHIPPED):
        files = sorted(path for path in Path(str(backgrounds)).rglob("*") if path.is_file())
        others = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    chosen = {name: value for name, value in asdict(settings).items() if name not in ("scores", "workers", "asking")}
    text = json.dumps(
        [
            weights_hash(model),
            repr((model.preprocessing, model.mean.flatten().tolist(), model.std.flatten().tolist())),
            repr((listed, photos.mask_format, others, chosen)),
            str(model.mean.device),
            torch.get_num_threads(),
            versions(),
        ],
        sort_keys=True,
        default=str,
    )
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _digest(file: Path | None) -> str:
    return "" if file is None else hashlib.sha256(file.read_bytes()).hexdigest()
