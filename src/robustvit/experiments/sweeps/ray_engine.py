"""Run trials with Ray Tune: several at once, on this machine or a cluster with a shared file system."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustvit.common.errors import UserError
from robustvit.common.run_folder import RunFolder
from robustvit.common.signals import Stopped, StopSignals
from robustvit.experiments.sweeps.experiment_grid import Experiment
from robustvit.experiments.trials import Done, Trial, run_trial, state_of

if TYPE_CHECKING:
    from ray.tune.experiment import Trial as RayTrial
    from ray.tune.search.optuna import OptunaSearch

Values = dict[str, Any]
_RECORDS = "ray"  # Ray's files, next to the trials
_ERROR, _VALUE = "went_wrong", "objective"


@dataclass(frozen=True)
class RayEngine:
    """Runs trials with Ray Tune, which schedules them.

    Attributes:
        at_once: maximum number of concurrent trials; None for as many as the resources allow.
        cpus: CPUs per trial.
        gpus: GPUs per trial; a fraction shares a GPU.
        address: cluster to join; None starts Ray on this machine only, and stops it at the end.
    """

    at_once: int | None
    cpus: float
    gpus: float
    address: str | None

    def run(self, trials: Iterable[Trial], folder: Path, done: Done) -> None:
        """Run trials that are not finished."""
        by_key = {trial.key: trial for trial in trials}
        left = []
        for key, trial in by_key.items():
            if state_of(folder / key) == "finished":
                done(trial, "")
            else:
                left.append(key)
        if not left:
            return
        with self._start_ray():
            from ray import tune

            space = {"key": tune.grid_search(left)}
            self._tune(lambda config: by_key[config["key"]], folder, done, param_space=space)

    def search(self, experiment: Experiment, folder: Path, done: Done) -> None:
        """Run trials proposed by Optuna; runs of an earlier call count, and unfinished ones are resumed first.

        Unless trials run one at a time, the proposals depend on which finish first.
        """
        known = _find_earlier(experiment, folder)
        finished = [trial for trial in known if state_of(folder / trial.key) == "finished"]
        for trial in finished[: experiment.trials]:
            done(trial, "")
        if len(finished) >= experiment.trials:
            return
        begun = [trial.labels for trial in known if trial not in finished]
        with self._start_ray():
            searcher = _make_searcher(experiment, folder, finished, begun)
            settings = {"search_alg": searcher, "num_samples": experiment.trials - len(finished)}
            self._tune(experiment.propose, folder, done, experiment.value_of, tune_config=settings)

    @contextmanager
    def _start_ray(self) -> Iterator[None]:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
        os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"  # paths are relative to the working directory of the command
        os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
        os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # otherwise Ctrl-C would return as if all trials had ended
        import ray

        if ray.is_initialized():
            with _raise_stopped():
                yield  # whoever started Ray stops it
            return
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            if self.address is None:
                ray.init(include_dashboard=False, num_cpus=os.cpu_count(), _node_ip_address="127.0.0.1", **quiet)
            else:
                ray.init(address=self.address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            where = "on this machine" if self.address is None else f"at {self.address}"
            raise UserError(f"Ray cannot be reached {where}: {' '.join(str(error).split())}") from error
        try:
            self._check_room(ray.cluster_resources())
            with _raise_stopped():
                yield
        finally:
            ray.shutdown()

    def _check_room(self, there: dict[str, float]) -> None:
        """Raise if no machine has enough resources: the trial would wait forever."""
        for option, name, wanted in (("cpus", "CPU", self.cpus), ("gpus", "GPU", self.gpus)):
            if wanted > there.get(name, 0):
                raise UserError(f"expected --{option} of at most {there.get(name, 0):g} (all of them), got {wanted:g}")

    def _tune(
        self,
        propose: Callable[[Values], Trial],
        folder: Path,
        done: Done,
        value_of: Callable[[Trial, Path], float | None] | None = None,
        *,
        param_space: Values | None = None,
        tune_config: Values | None = None,
    ) -> None:
        """Run the trials that ``propose`` makes of Ray's values; a search maximises their ``value_of``."""
        from ray import tune
        from ray.tune.logger import JsonLoggerCallback

        class Report(tune.Callback):
            """Reports each trial when it ends."""

            def on_trial_complete(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **_: object) -> None:
                done(propose(trial.config), trial.last_result.get(_ERROR, ""))

            def on_trial_error(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **_: object) -> None:
                done(propose(trial.config), "its process died, perhaps out of memory; run the sweep again")

        records, work = str(folder.absolute() / _RECORDS), _make_work(propose, folder, value_of)
        tune.Tuner(
            tune.with_resources(work, {"cpu": self.cpus, "gpu": self.gpus}),
            param_space=param_space or {},
            tune_config=tune.TuneConfig(max_concurrent_trials=self.at_once, **(tune_config or {})),
            run_config=tune.RunConfig(storage_path=records, verbose=0, callbacks=[Report(), JsonLoggerCallback()]),
        ).fit()


def _make_work(
    propose: Callable[[Values], Trial], folder: Path, value_of: Callable[[Trial, Path], float | None] | None
) -> Callable[[Values], None]:
    """Return what a Ray worker does with its values: run the trial, and report its error and value."""
    parent, start = folder.absolute(), Path.cwd()

    def work(config: Values) -> None:
        from ray import tune

        os.chdir(start)
        trial = propose(config)
        result: Values = {_ERROR: run_trial(trial.options, parent / trial.key)}
        if value_of is not None:
            value = None if result[_ERROR] else value_of(trial, parent)
            result[_VALUE] = float("nan") if value is None else value
        tune.report(result)

    return work


@contextmanager
def _raise_stopped() -> Iterator[None]:
    """Raise Stopped with the signal: Ray exits with another code at SIGTERM, and does not pass the signal on."""
    stop = StopSignals()
    try:
        with stop.hold(), stop.at_once():
            yield
    except KeyboardInterrupt:
        raise Stopped(stop.asked or signal.SIGINT) from None


def _make_searcher(
    experiment: Experiment, folder: Path, finished: list[Trial], begun: list[dict[str, Any]]
) -> OptunaSearch:
    """Make Optuna's search of Ray, which knows the finished trials and resumes those that were begun."""
    import optuna
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    searcher = OptunaSearch(
        experiment.distributions(),
        metric=_VALUE,
        mode="max",
        points_to_evaluate=begun or None,
        seed=experiment.first_trial().options["seed"] + len(finished),
    )
    for trial in finished:
        value = experiment.value_of(trial, folder)
        if value is not None:
            searcher.add_evaluated_point(trial.labels, value)
    return searcher


def _find_earlier(experiment: Experiment, folder: Path) -> list[Trial]:
    """Return the trials of this search from earlier calls, oldest first."""
    earlier: dict[str, Trial] = {}
    runs = [path for path in folder.iterdir() if state_of(path) != "new"]
    for run in sorted(runs, key=lambda run: (run / "config.yaml").stat().st_mtime):
        config = RunFolder(run).config()
        trial = experiment.propose({name: config.get(name) for name in experiment.space})
        if trial.key == run.name:
            earlier[trial.key] = trial
    return list(earlier.values())
