"""Whether a model was trained on the photos that judge it: by content, whatever the files are called."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.common.run_folder import RunFolder
from robustvit.common.verdict import Verdict
from robustvit.common.wording import pluralize
from robustvit.data.duplicates import Copies, Fingerprint, find_copies, fingerprint, fingerprints
from robustvit.data.notes import name_pairs, short_place
from robustvit.data.photo import Photo, lost_classes
from robustvit.data.trained_runs import find_run, runs_behind

_INCLUDE = "--include-trained"
SAYS_LITTLE = "its answers to these say little about photos it has not seen"


@dataclass(frozen=True)
class TrainedPhotos:
    """Photos that runs were trained on, and photos that chose their epochs.

    Attributes:
        name: of the runs, for sentences; empty if there is none.
        files: the photos trained on.
        prints: their fingerprints.
        chose: fingerprints of the photos that chose the epoch.
        notes: what could not be checked.
    """

    name: str = ""
    files: list[Path] = field(default_factory=list)
    prints: list[Fingerprint] = field(default_factory=list)
    chose: list[Fingerprint] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def among(self, photos: Sequence[Path]) -> SeenPhotos:
        """Find photos that were trained on; nothing is read if no run is known; each counts once."""
        photos = list(dict.fromkeys(photos))
        if not self.prints:
            return SeenPhotos(self, list(photos), Copies({}, {}), 0)
        own = fingerprints(photos)
        trained, chose = find_copies(own, self.prints), find_copies(own, self.chose).either
        return SeenPhotos(self, list(photos), trained, len(chose.keys() - trained.either.keys()))


UNKNOWN = TrainedPhotos()


def photos_behind(*sources: object) -> TrainedPhotos:
    """Return the photos that models were trained on, if their runs are known; ``sources`` as in ``runs_behind``.

    Runs record the hashes of their photos. For a run of an older version the files at the recorded paths are hashed;
    missing files are counted in the notes.
    """
    runs = runs_behind(*sources)
    found = TrainedPhotos(" or ".join(short_place(run.path) for run in runs))
    for source in sources:
        place = Path(str(source).removeprefix("local-dir:"))
        if isinstance(source, (str, Path)) and (place / "verdict.json").is_file() and find_run(source) is None:
            found.notes.append(
                f"{short_place(place)} does not say which photos it was trained on, and its run folder is not known: "
                "whether they are among these photos was not checked."
            )
    for run in runs:
        _add_run(run, found)
    return found


def notes_on_photos(photos: Sequence[Path], *sources: object) -> tuple[str, ...]:
    """Return notes on photos to explain that the model was trained on; ``sources`` as in ``runs_behind``."""
    return tuple(photos_behind(*sources).among(photos).notes(SAYS_LITTLE))


def _add_run(run: RunFolder, found: TrainedPhotos) -> None:
    try:
        rows = [row for row in run.photos.rows() if row["split"] in ("train", "validation")]
    except UserError:
        found.notes.append(
            f"The selection.csv of {short_place(run.path)} is missing or broken: whether it was trained on these "
            "photos was not checked."
        )
        return
    old = [Path(row["image"]) for row in rows if not row.get("sha256")]
    known = _hash_readable(old)
    for row in rows:
        path = Path(row["image"])
        own = Fingerprint(row["sha256"], row.get("phash") or "") if row.get("sha256") else known.get(path)
        if own is None:
            continue
        if row["split"] == "train":
            found.files.append(path)
            found.prints.append(own)
        else:
            found.chose.append(own)
    gone = sum(row["split"] == "train" and not row.get("sha256") and Path(row["image"]) not in known for row in rows)
    if gone:
        found.notes.append(
            f"{pluralize(gone, 'photo')} that {short_place(run.path)} was trained on cannot be compared with these: an "
            "older version recorded no hashes, and the files are missing."
        )


def _hash_readable(paths: Sequence[Path]) -> dict[Path, Fingerprint]:
    """Return fingerprints of the photos that still exist."""
    found = {}
    for path in paths:
        with suppress(UserError):
            found[path] = fingerprint(path)
    return found


@dataclass(frozen=True)
class SeenPhotos:
    """Which of the photos that judge a model it has seen.

    Attributes:
        trained: photos that its runs were trained on.
        files: the photos.
        copies: those that were trained on, as the same file or a photo that looks the same.
        chose: number of other photos that chose the epoch.
    """

    trained: TrainedPhotos
    files: list[Path]
    copies: Copies
    chose: int

    @property
    def count(self) -> int:
        """Number of photos that were trained on, including copies that look the same."""
        return len(self.copies.either)

    @property
    def sentence(self) -> str:
        """The number of photos that were trained on in words, without a full stop; empty if there are none."""
        same, near = self.copies.same, self.copies.near
        of = f"{self.trained.name} was trained on"
        here = pluralize(len(self.files), "photo")
        alike = name_pairs({self.files[index]: self.trained.files[other] for index, other in near.items()})
        if same and near:
            return f"{of} {len(same)} of {here} here, and on photos that look like {len(near)} more ({alike})"
        if near:
            return f"{of} photos that look like {len(near)} of {here} here ({alike})"
        return f"{of} {len(same)} of {here} here" if same else ""

    def notes(self, then: str) -> list[str]:
        """Return notes for readers of the numbers; ``then`` ends the line on photos trained on."""
        lines = [f"{self.sentence}: {then}."] if self.count else []
        if self.chose:
            lines.append(
                f"{self.chose} of the photos also chose the epoch of {self.trained.name}, so accuracy on them is a "
                "little optimistic."
            )
        return lines + self.trained.notes

    def left(self, photos: Sequence[Photo], include: bool) -> tuple[list[Photo], list[str]]:
        """Return which photos given to ``TrainedPhotos.among`` to measure, and notes; ``include`` keeps all of them."""
        if include:
            return list(photos), self.notes("the numbers rest on training photos")
        seen = {self.files[index] for index in self.copies.either}
        kept = [photo for photo in photos if photo.image not in seen]
        if not kept:
            raise UserError(
                f"expected photos that the model has not seen, but {self.sentence}: name others, or measure these all "
                f"the same with {_INCLUDE}"
            )
        lost = ", ".join(sorted(lost_classes(photos, kept)))
        gone = f", and with them every photo of class {lost}" if lost else ""
        return kept, self.notes(f"left out{gone} ({_INCLUDE} measures them too)")

    def judge(self, verdict: Verdict, include: bool) -> Verdict:
        """Return the verdict, but accept no model for its answers to photos that it was trained on."""
        if not (include and self.count) or verdict.accepted is False:
            return verdict
        sentence = f"Not accepted: it rests on {pluralize(self.count, 'photo')} of the training. {verdict.sentence}"
        return replace(verdict, accepted=None, outcome=None, sentence=sentence)
