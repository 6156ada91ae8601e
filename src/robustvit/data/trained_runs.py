"""The runs that a model comes from, and what their verdicts and groups say of their photos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.common.run_folder import RunFolder
from robustvit.common.verdict import read_verdict


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
    """Return the number of photos of each group that the runs of a model could train on; empty if it is not known."""
    found: dict[str, int] = {}
    for run in runs_behind(source):
        counts = run.by_group().get("training", {})
        if not isinstance(counts, dict) or not all(isinstance(count, int) for count in counts.values()):
            raise UserError(f"{run.groups} was not written by robustvit: repeat the run, or remove the file")
        found = found or counts  # of the last run
    return found
