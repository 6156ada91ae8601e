"""Where trials run: one after the other in this process, or through Ray Tune on one machine or a cluster."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from robustvit.common.errors import UserError, expect_at_least, expect_one_of, printable
from robustvit.common.option_groups import EngineOptions
from robustvit.common.progress import console
from robustvit.experiments.sweeps.experiment import Experiment
from robustvit.experiments.trials import Done, Trial, objective, run_trial, state_of


class TrialEngine(Protocol):
    """Something that runs trials in folders named by their keys, leaving finished ones alone."""

    def run(self, trials: Iterable[Trial], folder: Path, done: Done) -> None:
        """Run these trials."""

    def search(self, experiment: Experiment, folder: Path, done: Done) -> None:
        """Run trials that a search proposes, the best next."""


class LocalEngine:
    """One trial after the other, in this process."""

    def run(self, trials: Iterable[Trial], folder: Path, done: Done) -> None:
        """Run these trials."""
        for trial in trials:
            self._one(trial, folder, done)

    def search(self, experiment: Experiment, folder: Path, done: Done) -> None:
        """Run trials that Optuna proposes from the outcomes so far.

        The proposals follow from the seed and the outcomes alone, so a search that is called again proposes the same
        trials, finds them finished, and goes on where it ended.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        seed = experiment.proposed({name: one.samples[0] for name, one in experiment.space.items()}).options["seed"]
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        for _ in range(experiment.trials):
            asked = study.ask({name: one.distribution() for name, one in experiment.space.items()})
            trial = experiment.proposed(asked.params)
            error = self._one(trial, folder, done)
            value = None if error else objective(experiment.maximise, trial.options["max_drop"], folder / trial.key)
            if value is None:
                study.tell(asked, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(asked, value)

    def _one(self, trial: Trial, folder: Path, done: Done) -> str:
        verb = {"new": "running", "begun": "continuing", "finished": "found finished"}[state_of(folder / trial.key)]
        console.print(printable(f"{verb} {trial}"), markup=False, soft_wrap=True)
        error = run_trial(trial.options, folder / trial.key)
        done(trial, error)
        return error


def make_engine(options: EngineOptions) -> TrialEngine:
    """The engine that is asked for, with its resources."""
    if options.engine == "local":
        for name, value in vars(options).items():
            if name != "engine" and value is not None:
                option = name.replace("_", "-")
                raise UserError(f"--{option} is for --engine ray: in this process trials run one after the other")
        return LocalEngine()
    expect_one_of("--engine", options.engine, ("local", "ray"))
    check_installed("ray", "--engine ray")
    cpus, gpus = 1 if options.cpus is None else options.cpus, 0 if options.gpus is None else options.gpus
    expect_at_least(0, cpus=cpus, gpus=gpus)
    if options.trials_at_once is not None:
        expect_at_least(1, trials_at_once=options.trials_at_once)
    return _ray_engine(options.trials_at_once, cpus, gpus, options.ray_address)


def _ray_engine(*settings: Any) -> TrialEngine:
    from robustvit.experiments.sweeps.ray_engine import RayEngine

    return RayEngine(*settings)


def check_installed(library: str, need: str) -> None:
    """Refuse what needs a library that is not there."""
    if find_spec(library) is None:
        raise UserError(f"{need} needs {library}, which is not installed: pip install 'robustvit[sweep]'")
