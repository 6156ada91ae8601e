"""Trials through Ray Tune: many at once, on this machine or on a cluster that shares its file system."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from robustvit.common.errors import UserError
from robustvit.common.signals import Stopped, StopSignals
from robustvit.experiments.sweeps.experiment import Experiment
from robustvit.experiments.trials import Done, Trial, objective, run_trial, state_of

_RECORDS = "ray"  # Ray's own files, beside the trials'
_ERROR, _VALUE = "went_wrong", "objective"


class RayEngine:
    """Trials as trials of Ray Tune; which run when and where is Ray's business.

    Args:
        at_once: trials that may run at the same time; as many as there is room for when left out.
        cpus: processors that each trial gets.
        gpus: GPUs that each trial gets; a fraction shares one.
        address: cluster to join; otherwise Ray is started on this machine, reachable from nowhere else, and ended.
    """

    def __init__(self, at_once: int | None, cpus: float, gpus: float, address: str | None) -> None:
        self.at_once, self.cpus, self.gpus, self.address = at_once, cpus, gpus, address

    def run(self, trials: Iterable[Trial], folder: Path, done: Done) -> None:
        """Run these trials, those left to run; Ray hears nothing of finished ones."""
        by_key = {trial.key: trial for trial in trials}
        for trial in by_key.values():
            if state_of(folder / trial.key) == "finished":
                done(trial, "")
        left = [key for key, trial in by_key.items() if state_of(folder / trial.key) != "finished"]
        if not left:
            return
        options = {key: by_key[key].options for key in left}
        place, start = folder.absolute(), Path.cwd()

        def work(config: dict[str, Any]) -> None:
            from ray import tune

            os.chdir(start)
            tune.report({_ERROR: run_trial(options[config["key"]], place / config["key"])})

        with self._started():
            from ray import tune

            space = {"key": tune.grid_search(left)}
            self._tune(work, space, folder, lambda config, error: done(by_key[config["key"]], error))

    def search(self, experiment: Experiment, folder: Path, done: Done) -> None:
        """Run trials that Optuna proposes; runs of an earlier call count, and what was begun is finished first.

        Which trials are proposed depends on which finish first, unless they run one at a time.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        known = _earlier(experiment, folder)
        finished = {key: trial for key, trial in known.items() if state_of(folder / key) == "finished"}
        for trial in list(finished.values())[: experiment.trials]:
            done(trial, "")
        if len(finished) >= experiment.trials:
            return
        with self._started():
            from ray.tune.search.optuna import OptunaSearch

            begun = [trial.labels for key, trial in known.items() if key not in finished]
            any_trial = experiment.proposed({name: one.samples[0] for name, one in experiment.space.items()})
            searcher = OptunaSearch(
                {name: one.distribution() for name, one in experiment.space.items()},
                metric=_VALUE,
                mode="max",
                points_to_evaluate=begun or None,
                seed=any_trial.options["seed"] + len(finished),
            )
            for key, trial in finished.items():
                value = objective(experiment.maximise, trial.options["max_drop"], folder / key)
                if value is not None:
                    searcher.add_evaluated_point(trial.labels, value)
            self._tune(
                _proposed(experiment, folder),
                {},
                folder,
                lambda config, error: done(experiment.proposed(config), error),
                search_alg=searcher,
                num_samples=experiment.trials - len(finished),
            )

    @contextmanager
    def _started(self) -> Iterator[None]:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
        os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"  # paths are meant from where the command was called
        os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
        os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # it would return after Ctrl-C as if all trials had ended
        import ray

        if ray.is_initialized():
            with _stopped_by_signals():
                yield  # whoever started it ends it
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
            with _stopped_by_signals():
                yield
        finally:
            ray.shutdown()

    def _check_room(self, there: dict[str, float]) -> None:
        """A trial that no machine has room for would wait for ever."""
        for option, name, wanted in (("cpus", "CPU", self.cpus), ("gpus", "GPU", self.gpus)):
            if wanted > there.get(name, 0):
                raise UserError(f"expected --{option} of at most the {there.get(name, 0):g} there are, got {wanted:g}")

    def _tune(
        self, work: Callable[[dict[str, Any]], None], space: dict[str, Any], folder: Path, done: Any, **settings: Any
    ) -> None:
        from ray import tune
        from ray.tune.logger import JsonLoggerCallback

        class Report(tune.Callback):
            """Hands each trial on as it ends."""

            def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
                done(trial.config, trial.last_result.get(_ERROR, ""))

            def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
                done(trial.config, "its process died: for lack of memory, or it was ended; run the sweep again")

        records = folder.absolute() / _RECORDS
        tune.Tuner(
            tune.with_resources(work, {"cpu": self.cpus, "gpu": self.gpus}),
            param_space=space,
            tune_config=tune.TuneConfig(max_concurrent_trials=self.at_once, **settings),
            run_config=tune.RunConfig(storage_path=str(records), verbose=0, callbacks=[Report(), JsonLoggerCallback()]),
        ).fit()


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Ray exits with a code of its own at SIGTERM, and forgets which signal came where it hands an exception on."""
    stop = StopSignals()
    try:
        with stop.kept(), stop.at_once():
            yield
    except KeyboardInterrupt:
        raise Stopped(stop.asked or signal.SIGINT) from None


def _proposed(experiment: Experiment, folder: Path) -> Callable[[dict[str, Any]], None]:
    """What a worker of Ray does for a trial that a search proposes."""
    place, start = folder.absolute(), Path.cwd()

    def work(config: dict[str, Any]) -> None:
        from ray import tune

        os.chdir(start)
        trial = experiment.proposed(config)
        error = run_trial(trial.options, place / trial.key)
        value = None if error else objective(experiment.maximise, trial.options["max_drop"], place / trial.key)
        tune.report({_ERROR: error, _VALUE: float("nan") if value is None else value})

    return work


def _earlier(experiment: Experiment, folder: Path) -> dict[str, Trial]:
    """Trials of this search that an earlier call ran or began, by key, oldest first."""
    from robustvit.common.run_folder import RunFolder

    found: dict[str, Trial] = {}
    places = [place for place in folder.iterdir() if state_of(place) != "new"]
    for place in sorted(places, key=lambda place: (place / "config.yaml").stat().st_mtime):
        config = RunFolder(place).config()
        trial = experiment.proposed({name: config.get(name) for name in experiment.space})
        if trial.key == place.name:
            found[trial.key] = trial
    return found
