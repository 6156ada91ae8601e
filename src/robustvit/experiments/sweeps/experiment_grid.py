"""Experiment files: shared options, and those that vary: a grid of values, or the ranges of a search."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.yaml_files import check_known, read_mapping
from robustvit.evaluation.photo_measures import MEASURES
from robustvit.experiments.sweeps.finetune_options import FINETUNE_OPTIONS, effective_options, takes_whole_numbers
from robustvit.experiments.trials import Trial, objective

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_FOLDER = files("robustvit.experiments.sweeps")
SHIPPED_EXPERIMENTS = tuple(
    sorted(entry.name.removesuffix(".yaml") for entry in _FOLDER.iterdir() if entry.name.endswith(".yaml"))
)
_PARTS = ("base", "grid", "search", "trials", "maximise")

AxisValue = tuple[Any, dict[str, Any]]  # its label in the table, and the options that it sets


@dataclass(frozen=True)
class Space:
    """The values that an option may take.

    Attributes:
        low: lower end of a range.
        high: upper end of a range.
        log: whether to sample a range on a logarithmic scale.
        whole: whether to sample whole numbers only.
        choices: values, if this is not a range.
    """

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    choices: tuple[Any, ...] = ()

    @property
    def samples(self) -> tuple[Any, ...]:
        """The choices, or both ends of the range."""
        return self.choices or (self.low, self.high)

    def distribution(self) -> BaseDistribution:
        """Return the distribution for Optuna."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)


@dataclass(frozen=True)
class Experiment:
    """The content of an experiment file.

    Attributes:
        base: options of finetune shared by all runs.
        axes: in a grid, the values of each axis, with a label and the options that they set.
        space: in a search, the range of each option; empty in a grid.
        trials: number of runs of a search.
        maximise: measure whose change a search maximises.
    """

    base: dict[str, Any]
    axes: dict[str, list[AxisValue]] = field(default_factory=dict)
    space: dict[str, Space] = field(default_factory=dict)
    trials: int = 0
    maximise: str = "mixed-other"

    def grid(self) -> list[Trial]:
        """Return every combination of values; the last axis varies fastest."""
        trials = []
        for combination in itertools.product(*self.axes.values()):
            labels = {axis: label for axis, (label, _) in zip(self.axes, combination, strict=True)}
            varied = {name: value for _, options in combination for name, value in options.items()}
            trials.append(self._make_trial(labels, varied))
        return trials

    def propose(self, values: Mapping[str, Any]) -> Trial:
        """Return the trial of a search with these values."""
        return self._make_trial(dict(values), dict(values))

    def _make_trial(self, labels: dict[str, Any], varied: dict[str, Any]) -> Trial:
        place = ", ".join(f"{name}={value}" for name, value in labels.items())
        return Trial(effective_options(self.base | varied, place), labels)

    def first_trial(self) -> Trial:
        """Return the trial of a search with the first value of each option."""
        return self.propose({name: one.samples[0] for name, one in self.space.items()})

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return the ranges of a search for Optuna."""
        return {name: one.distribution() for name, one in self.space.items()}

    def value_of(self, trial: Trial, folder: Path) -> float | None:
        """Return the value of a finished trial that a search maximises; None if the measure was not measured."""
        return objective(self.maximise, trial.options["max_drop"], folder / trial.key)


def read_experiment(path: str | Path, shared: Mapping[str, Any] | None = None) -> Experiment:
    """Read an experiment file, or one of ``SHIPPED_EXPERIMENTS``; ``shared`` overrides the options of all its runs."""
    place = str(path)
    name = place if Path(place).is_file() or place not in SHIPPED_EXPERIMENTS else str(_FOLDER / f"{place}.yaml")
    if name == place and not Path(place).exists() and not place.endswith((".yaml", ".yml")):
        raise UserError(f"no experiment at {place}: name a YAML file, or one of {', '.join(SHIPPED_EXPERIMENTS)}")
    raw = read_mapping(name)
    check_known(raw, _PARTS, place)
    base = _expect_mapping(raw.get("base"), f"{place}: base") | dict(shared or {})
    check_known(base, FINETUNE_OPTIONS, f"{place}: base")
    if ("grid" in raw) == ("search" in raw):
        raise UserError(f"{place}: expected either grid or search: give one of them")
    if "grid" in raw:
        for part in ("trials", "maximise"):
            if part in raw:
                raise UserError(f"{place}: {part} belongs to search, but this file has a grid: leave it out")
        return Experiment(base, _read_axes(_expect_mapping(raw["grid"], f"{place}: grid"), f"{place}: grid"))
    return _read_search(raw, base, place)


def _expect_mapping(raw: object, place: str) -> dict[str, Any]:
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise UserError(f"{place}: expected options, one `name: value` per line, got {raw!r}")
    return raw


def _read_axes(raw: dict[str, Any], place: str) -> dict[str, list[AxisValue]]:
    axes: dict[str, list[AxisValue]] = {}
    setters: dict[str, str] = {}
    for axis, values in raw.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"{place}: expected a list of values for {axis}, got {values!r}")
        axes[str(axis)] = [_read_option(str(axis), value, place) for value in values]
        for name in {name for _, options in axes[str(axis)] for name in options}:
            if name in setters:
                raise UserError(f"{place}: {name} is set by both {setters[name]} and {axis}: remove one of them")
            setters[name] = str(axis)
        labels = [label for label, _ in axes[str(axis)]]
        if len(set(map(str, labels))) < len(labels):
            raise UserError(f"{place}: {axis} has a duplicate value: remove one")
    if not axes:
        raise UserError(f"{place}: expected at least one option to vary, got none; e.g. seed: [0, 1, 2]")
    return axes


def _read_option(axis: str, value: object, place: str) -> AxisValue:
    """Read a value of an axis: a value of that option, or a named bundle of options."""
    if isinstance(value, dict):
        if not isinstance(value.get("name"), (str, int, float)):
            raise UserError(f"{place}: expected a name in each bundle of {axis}, got {value!r}; e.g. name: mine")
        bundle = {name: setting for name, setting in value.items() if name != "name"}
        check_known(bundle, FINETUNE_OPTIONS, f"{place}: {axis} {value['name']}")
        return value["name"], bundle
    check_known([axis], FINETUNE_OPTIONS, place)
    return (", ".join(map(str, value)) if isinstance(value, list) else value), {axis: value}


def _read_search(raw: dict[str, Any], base: dict[str, Any], place: str) -> Experiment:
    ranges = _expect_mapping(raw["search"], f"{place}: search")
    check_known(ranges, FINETUNE_OPTIONS, f"{place}: search")
    if not ranges:
        raise UserError(f"{place}: search: expected at least one option, got none; e.g. lr: [5e-7, 5e-6, log]")
    trials, maximise = raw.get("trials"), raw.get("maximise", "mixed-other")
    if isinstance(trials, bool) or not isinstance(trials, int) or not 1 <= trials < math.inf:
        raise UserError(f"{place}: expected trials, the number of runs to make, of at least 1, got {trials!r}")
    expect_one_of(f"maximise in {place}", maximise, MEASURES)
    space = {name: read_space(name, values, f"{place}: search") for name, values in ranges.items()}
    found = Experiment(base, space=space, trials=trials, maximise=maximise)
    first = found.first_trial().labels
    for name, one in space.items():
        for value in one.samples:  # find wrong values before the first run
            found.propose(first | {name: value})
    return found


def read_space(name: str, raw: object, place: str) -> Space:
    """Read ``[low, high]``, ``[low, high, log]`` or a list of choices."""
    if not isinstance(raw, list) or len(raw) < 2:
        raise UserError(f"{place}: expected {name} as [low, high], [low, high, log] or a list of choices, got {raw!r}")
    log = raw[-1] == "log" and len(raw) == 3
    low, high = (read_number(value) for value in raw[:2])
    if low is None or high is None or not (len(raw) == 2 or log):
        if not all(isinstance(value, (str, int, float)) for value in raw):
            raise UserError(f"{place}: expected choices of text or numbers for {name}, got {raw!r}")
        return Space(choices=tuple(value if (number := read_number(value)) is None else number for value in raw))
    if not low < high < math.inf or (log and low <= 0):
        above = " above 0" if log else ""
        raise UserError(f"{place}: expected {name} to range from a lower to a higher number{above}, got {raw!r}")
    whole = isinstance(low, int) and isinstance(high, int) and takes_whole_numbers(name)
    return Space(low, high, log, whole)


def read_number(value: object) -> float | int | None:
    """Return a number, or None. YAML reads 5e-7, without a decimal point, as text."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None
