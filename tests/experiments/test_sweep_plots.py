"""Plots of a sweep and of rates: originals, ranges, intervals, and what lies far away."""

from __future__ import annotations

import pytest

from robustvit.common.intervals import paired_interval
from robustvit.experiments.sweeps.plots import plot_rates, plot_sensitivity
from robustvit.experiments.sweeps.rate_outcomes import RateOutcome


def test_each_models_original_is_drawn(tmp_path, monkeypatch):
    def row(model, samples, before):
        values = {f"{measure} {time}": before + 0.1 * (time == "after") for measure in ("ordinary", "mixed-rand")
                  for time in ("before", "after")}  # fmt: skip
        return {
            "trial": f"{model}{samples}",
            "outcome": "finished",
            "model": model,
            "samples_per_class": samples,
        } | values

    drawn = []
    monkeypatch.setattr(
        "robustvit.experiments.sweeps.plots.save_figure", lambda figure, path: drawn.append(figure) or []
    )
    monkeypatch.setattr(
        "robustvit.experiments.sweeps.plots.average_seeds", lambda rows: [one | {
            "seeds": 1, "ordinary after sd": None, "mixed-rand after sd": None} for one in rows]
    )  # fmt: skip
    rows = [row(model, samples, before) for model, before in (("s", 0.5), ("b", 0.8)) for samples in (1, 3)]
    monkeypatch.setattr("robustvit.experiments.sweeps.plots.read_rows", lambda path: rows)
    plot_sensitivity(tmp_path / "results.csv", tmp_path / "plot", x="samples_per_class")
    for axis in drawn[0].axes:
        levels = {round(line.get_ydata()[0]): line.get_color() for line in axis.lines if line.get_linestyle() == ":"}
        assert levels == {50 + 30 * number: one.lines[0].get_color() for number, one in enumerate(axis.containers)}


@pytest.fixture
def figures(monkeypatch) -> list:
    drawn: list = []
    monkeypatch.setattr(
        "robustvit.experiments.sweeps.plots.save_figure", lambda figure, path: drawn.append(figure) or []
    )
    return drawn


def test_wide_ranges_are_logarithmic_and_one_seed_has_its_interval_over_photos(tmp_path, monkeypatch, figures):
    def row(lr, middle):
        values = {}
        for measure in ("ordinary", "mixed-other"):
            values |= {f"{measure} before": 0.5, f"{measure} before low": 0.4, f"{measure} before high": 0.6}
            values |= {f"{measure} after": middle, f"{measure} after low": middle - 0.1}
            values |= {f"{measure} after high": middle + 0.05}
        return {"trial": str(lr), "outcome": "finished", "lr": lr} | values

    rows = [row(lr, middle) for lr, middle in ((1e-6, 0.5), (1e-5, 0.51), (1e-4, 0.52))]
    monkeypatch.setattr("robustvit.experiments.sweeps.plots.read_rows", lambda path: rows)
    plot_sensitivity(tmp_path / "results.csv", tmp_path / "plot", x="lr")
    for axis in figures[0].axes:
        assert axis.get_xscale() == "log"
        assert [label.get_text() for label in axis.get_xticklabels()] == ["1e-6", "1e-5", "1e-4"]
        ends = [segment[:, 1].tolist() for segment in axis.containers[0].lines[2][0].get_segments()]
        assert ends == [pytest.approx([100 * middle - 10, 100 * middle + 5]) for middle in (0.5, 0.51, 0.52)]
        low, high = axis.get_ylim()
        assert high - low >= 10
        assert "95 % CI over photos" in figures[0].get_supxlabel()


def test_the_plot_of_rates_shows_intervals_near_the_limit_and_names_what_is_far_away(tmp_path, figures):
    changes = {1e-6: paired_interval(4, 3, 137), 1e-5: paired_interval(5, 9, 137), 1e-4: paired_interval(2, 90, 137)}
    outcomes = [
        RateOutcome(lr, (0.8, 0.8 + one.mean, 0.8 + one.mean), (0.4, 0.4 + rise, 0.4 + rise), 3, "", (one, one))
        for (lr, one), rise in zip(changes.items(), (-0.02, -0.05, 0.9), strict=True)
    ]
    plot_rates(outcomes, 2.0, None, tmp_path / "rates")
    left, right = figures[0].axes
    ends = [bar.lines[2][0].get_segments()[0][:, 1].tolist() for bar in left.containers]
    near = [changes[1e-6], changes[1e-5]]
    assert ends == [pytest.approx([100 * one.low, 100 * one.high]) for one in near]
    assert left.get_ylim() == (-10, 10)
    assert [text.get_text() for text in left.texts] == ["−64.2"]
    assert [text.get_text() for text in right.texts] == ["+0.9"]
    assert right.get_ylim() == pytest.approx((-0.075, 0.075))
