"""Whether a model was trained on the photos that judge it, by their content, and the runs that it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.common.run_folder import RunFolder
from robustvit.common.verdict_files import Verdict, read_verdict
from robustvit.common.wording import pluralize
from robustvit.data.duplicates import Copies, Fingerprint, find_copies, fingerprint, fingerprints
from robustvit.data.notes import name_pairs, short_place
from robustvit.data.photo import Photo, count_lost_classes

_INCLUDE = "--include-trained"
SAYS_LITTLE = "its answers to these say little about photos it has not seen"


@dataclass(frozen=True)
class TrainedPhotos:
    """Photos that runs were trained on, and photos that chose their epochs.

    Attributes:
        name: name of the runs, for sentences; empty if there are none.
        files: the photos trained on.
        prints: their fingerprints.
        chose: fingerprints of the photos that chose the epoch.
        notes: on checks that were not possible.
    """

    name: str = ""
    files: list[Path] = field(default_factory=list)
    prints: list[Fingerprint] = field(default_factory=list)
    chose: list[Fingerprint] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def among(self, photos: Sequence[Path]) -> SeenPhotos:
        """Find photos that were trained on, each once; nothing is read if no run is known."""
        files = list(dict.fromkeys(photos))
        own = fingerprints(files) if self.prints else []
        trained, chose = find_copies(own, self.prints), find_copies(own, self.chose).either
        return SeenPhotos(self, files, trained, len(chose.keys() - trained.either.keys()))


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
    gone = 0
    for row in rows:
        path = Path(row["image"])
        own = Fingerprint(row["sha256"], row.get("phash") or "") if row.get("sha256") else _hash_if_readable(path)
        if own is None:
            gone += row["split"] == "train"
        elif row["split"] == "train":
            found.files.append(path)
            found.prints.append(own)
        else:
            found.chose.append(own)
    if gone:
        found.notes.append(
            f"{pluralize(gone, 'photo')} that {short_place(run.path)} was trained on cannot be compared with these: an "
            "older version recorded no hashes, and the files are missing."
        )


def _hash_if_readable(path: Path) -> Fingerprint | None:
    with suppress(UserError):
        return fingerprint(path)
    return None


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
        """How many photos were trained on, without a full stop; empty if none were."""
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
        """Return which of the photos given to ``TrainedPhotos.among`` to measure, and notes; all with ``include``."""
        if include:
            return list(photos), self.notes("the numbers rest on training photos")
        seen = {self.files[index] for index in self.copies.either}
        kept = [photo for photo in photos if photo.image not in seen]
        if not kept:
            raise UserError(
                f"expected photos that the model has not seen, but {self.sentence}: name others, or measure these all "
                f"the same with {_INCLUDE}"
            )
        lost = ", ".join(sorted(count_lost_classes(photos, kept)))
        gone = f", and with them every photo of class {lost}" if lost else ""
        return kept, self.notes(f"left out{gone} ({_INCLUDE} measures them too)")

    def judge(self, verdict: Verdict, include: bool) -> Verdict:
        """Return the verdict, but without accepting a model for its answers to photos that it was trained on."""
        if not (include and self.count) or verdict.accepted is False:
            return verdict
        sentence = f"Not accepted: it rests on {pluralize(self.count, 'photo')} of the training. {verdict.sentence}"
        return replace(verdict, accepted=None, outcome=None, sentence=sentence)


def runs_behind(*sources: object) -> list[RunFolder]:
    """Return the run folders that models come from, and the runs that those started from.

    ``sources`` are models and checkpoints as a user names them: a run folder, its ``best`` or ``last``, or a file in
    them; anything else is ignored.
    """
    found: dict[Path, RunFolder] = {}
    waiting = list(sources)
    while waiting:
        source = waiting.pop(0)
        run = find_run(source) if isinstance(source, (str, Path)) else None
        if run is not None and run.path.resolve() not in found:
            found[run.path.resolve()] = run
            config = run.config() if run.is_run else {}
            waiting += [config.get("model"), config.get("checkpoint")]
    return list(found.values())


def find_run(source: str | Path) -> RunFolder | None:
    """Return the run folder that a model or checkpoint lies in."""
    for place in filter(Path.exists, _split_prefixes(str(source))):
        folder = place if place.is_dir() else place.parent
        for run in map(RunFolder, (folder, folder.absolute().parent)):
            if run.is_run or run.selection.is_file():
                return run
    return None


def _split_prefixes(source: str) -> Iterator[Path]:
    """Yield the path that a source names, with and without prefixes such as ``local-dir:``."""
    while source:
        yield Path(source)
        source = source.partition(":")[2]


def trained_shifts(source: object) -> tuple[str, ...]:
    """Return the measures whose kind of photo a model was trained on, as the verdicts of its runs say."""
    places = [run.best for run in runs_behind(source)]
    if isinstance(source, (str, Path)):
        places += _split_prefixes(str(source))  # a model folder that was moved out of its run
    verdicts = [read_verdict(place / "verdict.json") for place in places if (place / "verdict.json").is_file()]
    return tuple(dict.fromkeys(name for verdict in verdicts for name in verdict.trained_on))


def trained_groups(source: object) -> dict[str, int]:
    """Return the number of photos of each group that the runs of a model could train on; empty if unknown."""
    found: dict[str, int] = {}
    for run in runs_behind(source):
        counts = run.read(run.groups).get("training", {})
        if not isinstance(counts, dict) or not all(isinstance(count, int) for count in counts.values()):
            raise UserError(f"{run.groups} was not written by robustvit: repeat the run, or remove the file")
        found = found or counts  # of the last run
    return found
