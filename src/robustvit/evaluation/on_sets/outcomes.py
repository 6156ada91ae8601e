"""A model's answers to the images of a set, kept in files that a killed evaluation resumes from."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from robustvit.common.errors import UserError
from robustvit.common.files import new_file

_IDENTITY = "identity"


@dataclass(frozen=True)
class Outcomes:
    """Answers to N images, one row each.

    Attributes:
        names: of the images, unique in a set, ``(N,)`` text.
        class_names: see ``Sample``, also for ``groups`` and ``textures`` (-1 for none), ``(N,)``.
        right: answers that count as right, ``(N, R)``, padded with -1.
        answers: the model's answer, ``(N,)``.
        in_top5: whether a right answer is among the five best, ``(N,)`` bool.
        confidence: score of the model's answer, ``(N,)`` in [0, 1].
        scores: score of every possible answer, ``(N, A)`` in [0, 1]; None for more than ``MOST_SCORED`` answers, so
            that files do not grow with images times answers, and in files of older versions.
    """

    names: np.ndarray
    class_names: np.ndarray
    groups: np.ndarray
    textures: np.ndarray
    right: np.ndarray
    answers: np.ndarray
    in_top5: np.ndarray
    confidence: np.ndarray
    scores: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def correct(self) -> np.ndarray:
        """Whether the answer is right, ``(N,)`` bool."""
        return (self.right == self.answers[:, None]).any(axis=1)

    def at(self, rows: np.ndarray | Sequence[int]) -> Outcomes:
        """Return some of the rows, by index or as ``(N,)`` bool."""
        return Outcomes(**{name: column[rows] for name, column in self.columns.items()})

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The columns that are not None, by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: column for name, column in found.items() if column is not None}


def align_outcomes(before: Outcomes, after: Outcomes) -> tuple[Outcomes, Outcomes]:
    """Return the answers of two models to the images that both have seen, in the same order."""
    _, one, other = np.intersect1d(before.names, after.names, return_indices=True)
    return before.at(one), after.at(other)


def rows_by(names: np.ndarray) -> dict[str, np.ndarray]:
    """Return the rows of each name in a column ``(N,)``, sorted by name."""
    found, places, counts = np.unique(names, return_inverse=True, return_counts=True)
    parts = np.split(np.argsort(places, kind="stable"), np.cumsum(counts))
    return {str(name): part for name, part in zip(found, parts[:-1], strict=True)}


def join_outcomes(parts: Sequence[Outcomes]) -> Outcomes:
    """Join outcomes of several parts of a set, sorted by name; of two rows with the same name the first counts."""
    width = max(part.right.shape[1] for part in parts)
    filled = [np.pad(p.right, ((0, 0), (0, width - p.right.shape[1])), constant_values=-1) for p in parts]
    shared = [name for name in parts[0].columns if name != "right" and all(name in part.columns for part in parts)]
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in shared}
    joined = Outcomes(right=np.concatenate(filled), **columns)
    return joined.at(np.unique(joined.names, return_index=True)[1])


def write_outcomes(outcomes: Outcomes, path: Path, identity: str) -> None:
    """Write outcomes, whole or not at all, with the ``identity`` of their evaluation."""
    columns: Any = outcomes.columns
    with new_file(path) as file:
        np.savez_compressed(file, **(columns | {_IDENTITY: np.array(identity)}))


def read_outcomes(path: Path, identity: str) -> Outcomes | None:
    """Read what ``write_outcomes`` wrote; None if the file is missing or belongs to another evaluation."""
    try:
        with np.load(path, allow_pickle=False) as found:
            if str(found[_IDENTITY]) != identity:
                return None
            known = [field.name for field in fields(Outcomes) if field.name != "scores" or "scores" in found]
            return Outcomes(**{name: found[name] for name in known})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise UserError(f"cannot read {path}, it holds no outcomes that robustvit wrote: move it away") from error


class PartFolder:
    """The parts that the processes of an unfinished evaluation have written; deleted when it is finished.

    Parts of another evaluation, by its identity, are ignored; a process writes its rank in the names of its parts.
    """

    def __init__(self, path: Path, identity: str, rank: int = 0) -> None:
        self.path, self.identity, self.rank = path, identity, rank
        self._read: set[Path] = set()

    def add(self, outcomes: Outcomes) -> None:
        """Write a part."""
        self.path.mkdir(parents=True, exist_ok=True)
        name = f"{self.rank:03d}-{uuid.uuid4().hex}.npz"  # another evaluation may write here at the same time
        write_outcomes(outcomes, self.path / name, self.identity)

    def read(self) -> Iterator[Outcomes]:
        """Read the parts of all processes."""
        for path in sorted(self.path.glob("*.npz")):
            part = read_outcomes(path, self.identity)
            if part is not None:
                self._read.add(path)
                yield part

    def remove(self) -> None:
        """Delete the parts that were read, and those of other evaluations with the same name."""
        for path in self.path.glob("*.npz"):
            if path in self._read or read_outcomes(path, self.identity) is None:
                path.unlink(missing_ok=True)
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()
