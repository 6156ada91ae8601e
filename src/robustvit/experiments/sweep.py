"""Sweeps: finetune with every combination of some options, or with those proposed by a search."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustvit.common.command_options import command
from robustvit.common.errors import UserError
from robustvit.common.frames import FrameRow, Tabular
from robustvit.common.option_groups import EngineOptions
from robustvit.common.wording import pluralize

if TYPE_CHECKING:
    from robustvit.experiments.sweeps.engines import LocalEngine
    from robustvit.experiments.sweeps.experiment_grid import Experiment
    from robustvit.experiments.sweeps.ray_engine import RayEngine
    from robustvit.experiments.trials import Trial


@dataclass(frozen=True)
class Swept(Tabular):
    """The outcome of a sweep.

    Attributes:
        folder: folder with a run folder per trial, and results.csv.
        rows: a row per trial, as in results.csv; empty in a dry run.
        plan: a line per trial that would be run, in a dry run.
        best: sentence about the best trial of a search.
    """

    folder: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    plan: list[str] = field(default_factory=list)
    best: str = ""

    @property
    def exit_code(self) -> int:
        """1 if a trial failed, else 0."""
        return int(any(row["outcome"] == "failed" for row in self.rows))

    def frame_rows(self) -> Iterator[FrameRow]:
        """A row for each trial, as in results.csv."""
        yield from self.rows

    def __str__(self) -> str:
        if self.plan:
            return "\n".join(self.plan)
        from robustvit.experiments.sweeps.results import format_rows

        return "\n".join(filter(None, [format_rows(self.rows), self.best, f"results: {self.folder / 'results.csv'}"]))


@command()
def sweep(
    experiment: str,
    *,
    out: str,
    base: str | None = None,
    engines: EngineOptions,
    dry_run: bool = False,
) -> Swept:
    """Finetune with every combination of some options, or with those proposed by a search, and compare the outcomes.

    Every trial is a run folder in out, named by a hash of its options; run the same command again to resume. If a trial
    fails, its error is recorded, the other trials continue, and the exit code is 1. Writes results.csv (a row per
    trial), summary.csv (means over seeds, if seed varies) and plots, if a number varies.

    Args:
        experiment: YAML file with base (options of finetune for all trials) and either grid (by option, a list of
            values or of named bundles of options) or search (ranges by option, with trials: N); or an experiment of
            the package: sensitivity, seeds.
        out: output folder; new, or that of an earlier sweep.
        base: YAML file of finetune options for all trials; they override the base of the experiment.
        dry_run: show which trials would run, without writing anything.

    Returns:
        The rows; printing it gives a table.

    Raises:
        UserError: the experiment is invalid, photos are missing for every trial, or the engine is not installed.
            Nothing is written then.

    Example:
        robustvit sweep experiment.yaml --out runs/sweep
    """
    from robustvit.common.yaml_files import read_mapping
    from robustvit.experiments.sweeps.engines import check_installed, make_engine
    from robustvit.experiments.sweeps.experiment_grid import read_experiment
    from robustvit.experiments.trials import check_sweep_folder, start_sweep_folder

    folder = Path(out)
    asked = read_experiment(experiment, {} if base is None else read_mapping(base))
    runner = make_engine(engines)
    if asked.space:
        check_installed("optuna", "a search")
    check_sweep_folder(folder)
    trials: dict[str, Trial] = {}
    for trial in [] if asked.space else asked.grid():
        trials.setdefault(trial.key, trial)  # of combinations that give the same run, the first counts
    if dry_run:
        return Swept(folder, plan=_describe_plan(asked, trials, folder))
    _expect_photos_of_one(asked, trials, folder)
    start_sweep_folder(folder, {"experiment": str(experiment), "base": asked.base, "varies": _list_ranges(asked)})
    return _run(asked, runner, _Table(folder, trials), experiment)


def _run(asked: Experiment, runner: LocalEngine | RayEngine, table: _Table, name: str) -> Swept:
    """Run the trials, and return what the table says of them."""
    folder = table.folder
    if asked.space:
        runner.search(asked, folder, table.add)
    else:
        runner.run(list(table.trials.values()), folder, table.add)
    rows = table.write()
    if not rows:
        raise UserError(f"no trial was run: {name} proposed none")
    if asked.space:
        return Swept(folder, rows, best=_describe_best(asked, table.trials.values(), folder))
    _plot(folder)
    return Swept(folder, rows)


def _expect_photos_of_one(asked: Experiment, trials: dict[str, Trial], folder: Path) -> None:
    """Raise if photos are missing for every trial of a new sweep; otherwise the trial reports it."""
    from robustvit.data.photo import expect_photos_of
    from robustvit.experiments.trials import state_of

    if any(state_of(folder / key) == "finished" for key in trials):
        return
    errors = []
    for options in [asked.base] if asked.space else [trial.options for trial in trials.values()]:
        try:
            expect_photos_of(options)
        except UserError as error:
            errors.append(error)
        else:
            return
    if errors:
        raise errors[0]


def _describe_plan(asked: Experiment, trials: dict[str, Trial], folder: Path) -> list[str]:
    from robustvit.experiments.trials import state_of

    if asked.space:
        ranges = "; ".join(f"{name}: {text}" for name, text in _list_ranges(asked).items())
        proposed = f"{pluralize(asked.trials, 'trial')} proposed by a search"
        return [f"{proposed}, to maximise {asked.maximise}, from {ranges}"]
    words = {"new": "to run", "begun": "to continue", "finished": "finished"}
    states = {key: state_of(folder / key) for key in trials}
    left = sum(state != "finished" for state in states.values())
    lines = [f"{words[states[key]]:<12} {trial}" for key, trial in trials.items()]
    return [*lines, f"{pluralize(len(trials), 'trial')}, {left} of them to run"]


def _list_ranges(asked: Experiment) -> dict[str, Any]:
    """Return what varies, as YAML values."""
    if not asked.space:
        return {axis: [label for label, _ in values] for axis, values in asked.axes.items()}
    return {
        name: list(one.choices) or [one.low, one.high, *(["log"] if one.log else [])]
        for name, one in asked.space.items()
    }


class _Table:
    """Rewrites results.csv whenever a trial ends."""

    def __init__(self, folder: Path, trials: dict[str, Trial]) -> None:
        self.folder, self.trials, self.errors = folder, dict(trials), dict[str, str]()

    def add(self, trial: Trial, error: str) -> None:
        """Add a trial that ended."""
        from robustvit.common.progress import warn

        self.trials.setdefault(trial.key, trial)
        self.errors[trial.key] = error
        if error:
            warn(f"failed {trial}: {error}")
        self.write()

    def write(self) -> list[dict[str, Any]]:
        """Write and return a row per trial."""
        from robustvit.experiments.sweeps.results import SEED, average_seeds, result_row, varying, write_rows

        rows = [result_row(trial, self.folder, self.errors.get(key, "")) for key, trial in self.trials.items()]
        if rows:
            write_rows(rows, self.folder / "results.csv")
            if SEED in varying(rows):
                write_rows(average_seeds(rows), self.folder / "summary.csv")
        return rows


def _describe_best(asked: Experiment, trials: Iterable[Trial], folder: Path) -> str:
    from robustvit.common.outcomes import OUTCOMES, outcome_of
    from robustvit.experiments.trials import changes, state_of

    finished = [trial for trial in trials if state_of(folder / trial.key) == "finished"]
    values = {trial.key: value for trial in finished if (value := asked.value_of(trial, folder)) is not None}
    if not values:
        return f"Best: none; {asked.maximise} was not measured in any trial."
    trial = max((one for one in finished if one.key in values), key=lambda one: values[one.key])
    max_drop = trial.options["max_drop"]
    gained, ordinary = changes(asked.maximise, folder / trial.key)
    assert gained is not None  # the ranking needs it
    lost = 0.0 if ordinary is None else -100 * ordinary.mean
    if lost > max_drop + 1e-9:
        return f"Best: none; the top-ranked trial lost {lost:.1f} points of ordinary accuracy: {trial}."
    return (
        f"Best: {trial} ({asked.maximise} {100 * gained.mean:+.1f} points; "
        f"{OUTCOMES[outcome_of(gained, ordinary, max_drop)]}). It was chosen on these photos, so the result is "
        "optimistic: evaluate it on others."
    )


def _plot(folder: Path) -> None:
    """Plot accuracy against samples per class, or else against the first number that varies."""
    from robustvit.experiments.sweeps.plots import numeric_axes, plot_sensitivity
    from robustvit.experiments.sweeps.results import read_rows

    rows = read_rows(folder / "results.csv")
    axes = numeric_axes(rows)
    if not axes or not any(row["outcome"] == "finished" for row in rows):
        return
    x = "samples_per_class" if "samples_per_class" in axes else axes[0]
    try:
        plot_sensitivity(folder / "results.csv", folder / f"against_{x}", x)
    except UserError:
        return  # too many lines for a plot; results.csv has them all
