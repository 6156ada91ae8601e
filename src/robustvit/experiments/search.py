"""Search the learning rate by the paper's rule: the highest that harms nothing on the validation photos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustvit.common.command_options import command, settings_of
from robustvit.common.errors import UserError
from robustvit.common.frames import FrameRow, Tabular
from robustvit.common.option_groups import EngineOptions
from robustvit.common.options import Rates
from robustvit.experiments.sweeps.finetune_options import FINETUNE_OPTIONS, effective_options
from robustvit.training.options import (
    GuidanceOptions,
    ScheduleOptions,
    StartOptions,
    TrainingPhotos,
    TrainingRun,
    VerdictOptions,
)

if TYPE_CHECKING:
    from robustvit.experiments.sweeps.rate_outcomes import RateOutcome
    from robustvit.experiments.trials import Trial

_CHOSEN, _LIKELY = "chosen.yaml", "likely.yaml"
_TIMES = ("before", "kept", "last")


@dataclass(frozen=True)
class RateSearch(Tabular):
    """The outcome of every rate, and the chosen rate, or None if none is shown to qualify."""

    folder: Path
    outcomes: tuple[RateOutcome, ...]
    max_drop: float
    chosen: RateOutcome | None

    def frame_rows(self) -> Iterator[FrameRow]:
        """A row for each rate."""
        for one in self.outcomes:
            row: dict[str, object] = {"lr": one.lr}
            for at, time in enumerate(_TIMES):
                row |= {f"accuracy {time}": one.accuracy[at], f"relevance loss {time}": one.relevance[at]}
            row |= {"change": one.change, "epoch kept": one.kept, "error": one.error}
            yield row | {"qualifies": one.qualifies(self.max_drop), "chosen": one is self.chosen}

    @property
    def likely(self) -> RateOutcome | None:
        """The highest rate that qualifies by its measured loss, whether or not the loss is bounded."""
        from robustvit.experiments.sweeps.rate_outcomes import likely_rate

        return likely_rate(self.outcomes, self.max_drop)

    @property
    def exit_code(self) -> int:
        """0 if a rate was chosen, else 1."""
        return int(self.chosen is None)

    def __str__(self) -> str:
        from robustvit.experiments.sweeps.results import align

        later = ["kept", "last"]
        header = ["rate", "accuracy before", *later, "change, points", "relevance loss before", *later, "qualifies"]
        return f"{align([header, *map(self._format_row, self.outcomes)])}\n{self._describe_choice()}"

    def _describe_choice(self) -> str:
        if self.likely is None:
            return (
                f"No rate qualifies: for each, accuracy fell by more than {self.max_drop:g} points, the relevance loss "
                "rose, or the run failed. Try lower rates, more epochs, or a larger --max-drop."
            )
        open_words = self.likely.open_words(self.max_drop)
        if self.chosen is None:
            photos = "" if self.likely.change is None else f" by {self.likely.change.count} validation photos"
            return (
                f"No rate is shown{photos} to cost at most {self.max_drop:g} points. {open_words}\n"
                f"robustvit finetune --config {self.folder / _LIKELY}"
            )
        higher = f" {open_words}" if self.likely is not self.chosen else ""
        edge = "" if self.chosen is not max(self.outcomes, key=lambda one: one.lr) else (
            " It is the highest rate tried: higher rates may also qualify."
        )  # fmt: skip
        return (
            f"Chosen: {self.chosen.lr:.3g}, the highest rate shown to qualify.{edge}{higher}\n"
            f"robustvit finetune --config {self.folder / _CHOSEN}"
        )

    def _format_row(self, one: RateOutcome) -> list[str]:
        reasons = one.reasons(self.max_drop)
        verdict = f"no: {', '.join(reasons)}" if reasons else "yes" if one.qualifies(self.max_drop) else "not shown"
        if one.error:
            return [f"{one.lr:.3g}", *["–"] * 7, verdict]
        accuracy, relevance = [f"{100 * a:.1f}" for a in one.accuracy], [f"{r:.5f}" for r in one.relevance]
        change = f"{0.0 - one.drop:+.1f}"
        if one.change is not None:
            change += f" [{100 * one.change.low:+.1f}, {100 * one.change.high:+.1f}]"
        return [f"{one.lr:.3g}", *accuracy, change, *relevance, verdict]


@command(
    first=("images", "masks", "model", "recipe", "out", "rates", "max_drop", "engines"),
    leave_out=("at_inference", "lr", "save_every"),
    instead={"lr": "rates"},
)
def search(
    *,
    photos: TrainingPhotos,
    out: str,
    rates: Rates = "5e-7:5e-6:6",
    start: StartOptions,
    guiding: GuidanceOptions,
    schedule: ScheduleOptions,
    judging: VerdictOptions,
    running: TrainingRun,
    engines: EngineOptions,
) -> RateSearch:
    """Find the learning rate by the paper's rule: the highest that harms nothing on the validation photos.

    Finetunes once at every rate. A rate qualifies if, compared with the original model, validation accuracy falls by at
    most max_drop points (by the whole 95 % CI) and the relevance loss does not rise, both in the best epoch and in the
    last. Every run is a folder in out; run the same command again to resume. Writes rates.csv, rates.png, rates.svg and
    chosen.yaml, which finetune takes as --config. The exit code is 1 if no rate is shown to qualify; likely.yaml then
    has the highest rate that qualifies by the measured loss alone.

    Args:
        out: output folder; new, or that of an earlier search.
        rates: MIN:MAX:COUNT, evenly spaced on a logarithmic scale, or a list (1e-6,2e-6).
        max_drop: validation accuracy that may be lost, in percentage points.

    Returns:
        The outcome of every rate and the chosen rate; printing it gives a table.

    Raises:
        UserError: an option is wrong. Nothing is written then.

    Example:
        robustvit search --rates 5e-7:5e-6:6 --max-drop 2 --model vit_base_patch16_224.augreg_in21k_ft_in1k
        --images photos/train --masks masks/train --out runs/rates
    """
    from robustvit.data.photo import expect_photos_of

    folder = Path(out)
    tried = parse_rates(rates)
    given = settings_of(search, photos, start, guiding, schedule, judging, running, engines, out=out, rates=rates)
    shared = {name: given[name] for name in FINETUNE_OPTIONS if name != "max_drop" and given.get(name) is not None}
    expect_photos_of(shared)  # otherwise every run would report it
    from robustvit.experiments.sweeps.engines import make_engine
    from robustvit.experiments.sweeps.rate_outcomes import choose_rate, rate_outcome
    from robustvit.experiments.trials import Trial, check_sweep_folder, start_sweep_folder

    if effective_options(shared | {"lr": tried[0]}, "search")["select"] == "robust":
        shared["max_drop"] = judging.max_drop  # otherwise it has no effect on a run
    trials = [Trial(effective_options(shared | {"lr": lr}, "search"), {"lr": lr}) for lr in tried]
    runner = make_engine(engines)
    check_sweep_folder(folder)
    start_sweep_folder(folder, {"base": shared, "varies": {"lr": tried}})
    errors: dict[str, str] = {}
    runner.run(trials, folder, lambda trial, error: errors.update({trial.key: error}))
    outcomes = tuple(rate_outcome(one.labels["lr"], folder / one.key, errors.get(one.key, "")) for one in trials)
    result = RateSearch(folder, outcomes, judging.max_drop, choose_rate(outcomes, judging.max_drop))
    _write_rates(result, trials)
    _write_options(result, shared)
    return result


def parse_rates(rates: Rates) -> list[float]:
    """Return learning rates in ascending order: ``MIN:MAX:COUNT`` on a logarithmic scale with both ends, or a list."""
    import numpy as np

    parts: list[Any] = list(rates) if isinstance(rates, (list, tuple)) else str(rates).replace(":", ",").split(",")
    try:
        numbers = [float(part) for part in parts]
    except (TypeError, ValueError) as error:
        raise UserError(f"expected --rates as MIN:MAX:COUNT or a list of numbers, got {rates}") from error
    if isinstance(rates, str) and ":" in rates:
        if len(numbers) != 3 or "," in rates or numbers[2] < 2 or numbers[2] % 1 or not 0 < numbers[0] < numbers[1]:
            raise UserError(f"expected --rates as MIN:MAX:COUNT with 0 < MIN < MAX and COUNT from 2, got {rates}")
        spaced = np.geomspace(numbers[0], numbers[1], int(numbers[2])).tolist()
        numbers = [float(f"{rate:.4g}") for rate in spaced]
    if not numbers or not all(0 < rate < float("inf") for rate in numbers):
        raise UserError(f"expected --rates above 0, got {rates}")
    return sorted(set(numbers))


def _write_rates(result: RateSearch, trials: Sequence[Trial]) -> None:
    """Write the table and the plot."""
    from robustvit.experiments.sweeps.plots import plot_rates
    from robustvit.experiments.sweeps.results import write_rows

    rows = []
    for one, trial in zip(result.outcomes, trials, strict=True):
        blank = ("",) * len(_TIMES)
        accuracy, relevance, kept = (blank, blank, "") if one.error else (one.accuracy, one.relevance, one.kept)
        row: dict[str, object] = {"lr": one.lr, "trial": trial.key}
        row |= {f"accuracy {time}": value for time, value in zip(_TIMES, accuracy, strict=True)}
        row |= {f"relevance loss {time}": value for time, value in zip(_TIMES, relevance, strict=True)}
        row |= {f"change {end}": getattr(one.change, end, "") for end in ("low", "high")}
        row |= {"validation photos": getattr(one.change, "count", ""), "epoch kept": kept}
        rows.append(row | {"qualifies": one.qualifies(result.max_drop), "error": one.error})
    write_rows(rows, result.folder / "rates.csv")
    if any(not one.error for one in result.outcomes):
        chosen = result.chosen.lr if result.chosen else None
        plot_rates(result.outcomes, result.max_drop, chosen, result.folder / "rates")


def _write_options(result: RateSearch, shared: dict[str, Any]) -> None:
    """Write the options to finetune with at the chosen rate, or else at the likely one."""
    import yaml

    from robustvit.common.files import write_text

    for name, one in ((_CHOSEN, result.chosen), (_LIKELY, result.likely if result.chosen is None else None)):
        path = result.folder / name
        if one is None:
            path.unlink(missing_ok=True)  # from an earlier call
            continue
        settings = shared | {"lr": one.lr, "max_drop": result.max_drop, "out": str(path.with_suffix(""))}
        write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), path)
