"""Engines that run trials: one after another in this process, or Ray Tune on a machine or cluster."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from robustvit.common.errors import UserError, expect_at_least, expect_one_of, option_name, printable
from robustvit.common.option_groups import EngineOptions
from robustvit.common.progress import console
from robustvit.experiments.sweeps.experiment_grid import Experiment
from robustvit.experiments.trials import Done, Trial, run_trial, state_of

if TYPE_CHECKING:
    from robustvit.experiments.sweeps.ray_engine import RayEngine


class LocalEngine:
    """Runs one trial after another in this process, in folders named by their keys, and skips finished ones."""

    def run(self, trials: Iterable[Trial], folder: Path, done: Done) -> None:
        """Run trials."""
        for trial in trials:
            self._run_trial(trial, folder, done)

    def search(self, experiment: Experiment, folder: Path, done: Done) -> None:
        """Run trials proposed by Optuna from the outcomes so far.

        Proposals depend only on the seed and the outcomes, so a repeated search proposes the same trials, skips the
        finished ones and continues from there.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        seed = experiment.first_trial().options["seed"]
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        for _ in range(experiment.trials):
            asked = study.ask(experiment.distributions())
            trial = experiment.propose(asked.params)
            error = self._run_trial(trial, folder, done)
            value = None if error else experiment.value_of(trial, folder)
            study.tell(asked, value, state=optuna.trial.TrialState.FAIL if value is None else None)

    def _run_trial(self, trial: Trial, folder: Path, done: Done) -> str:
        verb = {"new": "running", "begun": "continuing", "finished": "already finished:"}[state_of(folder / trial.key)]
        console.print(printable(f"{verb} {trial}"), markup=False, soft_wrap=True)
        error = run_trial(trial.options, folder / trial.key)
        done(trial, error)
        return error


def make_engine(options: EngineOptions) -> LocalEngine | RayEngine:
    """Make the requested engine with its resources."""
    if options.engine == "local":
        for name, value in vars(options).items():
            if name != "engine" and value is not None:
                raise UserError(f"{option_name(name)} needs --engine ray: --engine local runs one trial after another")
        return LocalEngine()
    expect_one_of("--engine", options.engine, ("local", "ray"))
    check_installed("ray", "--engine ray")
    cpus, gpus = 1 if options.cpus is None else options.cpus, 0 if options.gpus is None else options.gpus
    expect_at_least(0, cpus=cpus, gpus=gpus)
    if options.trials_at_once is not None:
        expect_at_least(1, trials_at_once=options.trials_at_once)
    from robustvit.experiments.sweeps.ray_engine import RayEngine

    return RayEngine(options.trials_at_once, cpus, gpus, options.ray_address)


def check_installed(library: str, need: str) -> None:
    """Raise if a library is not installed."""
    if find_spec(library) is None:
        raise UserError(f"{need} needs {library}, which is not installed: pip install 'robustvit[sweep]'")
