"""The photos that a run trained on, chose the epoch by and was tested on: its ``selection.csv``."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path

from robustvit.common.csv_files import read_csv
from robustvit.common.errors import UserError
from robustvit.common.wording import pluralize


class RunSelection:
    """The photos of a run, as listed in the file ``selection.csv`` of its folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def check_same(self, text: str) -> None:
        """Refuse to resume with other photos than the run was started with."""
        if not self.path.is_file():
            return
        old, new = self.rows(), list(csv.DictReader(io.StringIO(text)))
        # Older versions wrote no hashes, and the perceptual hash may depend on the version of the decoder.
        columns = [name for name in old[0] if name != "phash"] if old else []
        if [[row[name] for name in columns] for row in old] != [[row.get(name) for name in columns] for row in new]:
            raise UserError(
                f"the photos are not those that {self.path.parent} was started with ({self.path}): restore them, or "
                "start a new run"
            )

    def rows(self) -> list[dict[str, str]]:
        """Return the rows of ``selection.csv``, one per photo; ``split`` is what the photo was used for."""
        try:
            rows = read_csv(self.path, own=True).rows
            if not any(row.get("split") == "train" for row in rows) or not all(
                row.get("split") and row.get("image") and "label" in row for row in rows
            ):
                raise ValueError("no row to train on, or one without split, label or image")
            return rows
        except ValueError as error:
            raise self._unknown() from error

    def by_use(self) -> dict[str, str]:
        """Return the numbers of training, validation and test photos in words, without numbers if none are recorded."""
        rows = self.rows() if self.path.is_file() else []
        counts = Counter(row["split"] for row in rows)
        names = {"train": "training photo", "validation": "validation photo", "verdict": "test photo"}
        return {use: pluralize(counts[use], name) if rows else f"{name}s" for use, name in names.items()}

    @property
    def records_content(self) -> bool:
        """Whether the selection has hashes of the photos, which older versions did not write."""
        return self.path.is_file() and any(row.get("sha256") for row in self.rows())

    @property
    def judged_by_all(self) -> bool:
        """Whether the same photos choose the epoch and judge, as in older versions without test photos."""
        if not self.path.is_file():
            return False
        rows = self.rows()
        chose, judged = ([row["image"] for row in rows if row["split"] == name] for name in ("validation", "verdict"))
        return bool(chose) and chose == judged

    def class_order(self) -> dict[str, int]:
        """Return the output of each class, by name; empty before photos were selected."""
        rows = self.rows() if self.path.is_file() else []
        try:
            return {row["class"]: int(row["label"]) for row in rows if row.get("class") and row["label"]}
        except ValueError as error:
            raise self._unknown() from error

    def trained_labels(self) -> frozenset[int]:
        """Return the outputs of the classes that were trained on."""
        try:
            return frozenset(int(row["label"]) for row in self.rows() if row["split"] == "train" and row["label"])
        except ValueError as error:
            raise self._unknown() from error

    def _unknown(self) -> UserError:
        return UserError(f"cannot tell what {self.path.parent} was trained on: {self.path} is missing or broken")
