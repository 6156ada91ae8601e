"""The search for the learning rate: the paper's rule against a plain one, and the command as a user sees it."""

from __future__ import annotations

import csv
import inspect
import itertools
import json
import math
import random
import re
from dataclasses import replace

import numpy as np
import pytest
import yaml
from PIL import Image

from robustvit import UserError, finetune, search
from robustvit.cli import main as cli
from robustvit.common.intervals import paired_interval
from robustvit.common.outcomes import photos_needed
from robustvit.experiments.search import RateSearch, parse_rates
from robustvit.experiments.sweeps.rate_outcomes import RateOutcome, choose_rate, likely_rate, rate_outcome
from robustvit.training.finetune import finetune as finetune_itself

FAST = {"epochs": 2, "swaps": 1, "panels": 0, "samples_per_class": 4, "tracker": "none"}


@pytest.fixture
def base(model_folder, photos):
    return FAST | {"model": f"local-dir:{model_folder}", "images": str(photos[0]), "masks": str(photos[1])}


def turned(lr, helped, harmed, photos, relevance=(0.3, 0.2, 0.2)):
    """An outcome from answers that turned, the same in the epoch kept and in the last."""
    after = 0.8 + (helped - harmed) / photos
    change = paired_interval(helped, harmed, photos)
    return RateOutcome(lr, (0.8, after, after), relevance, 1, changes=(change, change))


def by_hand(table, max_drop):
    """The rule, read line by line from the highest rate down; accuracies as the counts of answers that turned."""
    for rate, turns, accuracy, relevance, error in sorted(table, key=lambda row: row[0], reverse=True):
        if error or not turns or any(lowest(*one) < -max_drop - 1e-9 for one in turns):
            continue
        fell_too_much = rose = False
        for position in (1, 2):  # the epoch kept, the last epoch
            if (accuracy[0] - accuracy[position]) * 100 > max_drop + 1e-9:
                fell_too_much = True
            if not relevance[position] <= relevance[0]:
                rose = True
        if not fell_too_much and not rose:
            return rate
    return None


def lowest(helped, harmed, photos):
    """The lower end of Bonett and Price's interval, in points, from their table with one more in each corner."""
    n = photos + 2
    up, down = (helped + 1) / n, (harmed + 1) / n
    return max(-100.0, 100 * (up - down - 1.959963984540054 * ((up + down - (up - down) ** 2) / n) ** 0.5))


def test_rule_against_a_plain_one():
    generator = random.Random(0)
    chosen = []
    for _ in range(500):
        table = []
        for rate in (1e-7, 1e-6, 3e-6, 1e-5):
            photos = generator.choice((50, 300, 2000))
            turns = [(generator.randrange(photos // 9), generator.randrange(photos // 9), photos) for _ in range(2)]
            accuracy = (0.8, *(0.8 + (helped - harmed) / photos for helped, harmed, _ in turns))
            turns = generator.choice((turns, turns, turns, []))
            relevance = (0.3, *(generator.choice((0.1, 0.2, 0.3, 0.31, math.nan)) for _ in range(2)))
            table.append((rate, turns, accuracy, relevance, generator.choice(("", "", "", "the loss became nan"))))
        max_drop = generator.choice((0, 1, 2, 5))
        generator.shuffle(table)
        outcomes = [
            RateOutcome(rate, accuracy, relevance, 1, error, tuple(paired_interval(*one) for one in turns))
            for rate, turns, accuracy, relevance, error in table
        ]
        found = choose_rate(outcomes, max_drop)
        assert (found.lr if found else None) == by_hand(table, max_drop)
        chosen.append(found is not None)
    assert 0 < sum(chosen) < len(chosen), "the tables must have both outcomes"


@pytest.mark.parametrize(
    ("accuracy", "relevance", "reason"),
    [
        ((0.8, 0.8, 0.8), (0.3, 0.2, 0.2), ""),
        ((0.8, 0.78, 0.8), (0.3, 0.3, 0.3), ""),
        ((0.8, 0.77, 0.8), (0.3, 0.2, 0.2), "accuracy fell by 3.0"),
        ((0.8, 0.8, 0.77), (0.3, 0.2, 0.2), "accuracy fell by 3.0"),
        ((0.8, 0.8, 0.8), (0.3, 0.2, 0.4), "relevance loss rose"),
        ((0.8, 0.8, 0.8), (0.3, math.nan, 0.2), "NaN"),
    ],
)
def test_each_condition_alone_disqualifies(accuracy, relevance, reason):
    unsure = RateOutcome(1e-6, accuracy, relevance, 1)
    outcome = replace(unsure, changes=(paired_interval(40, 0, 1000),) * 2)
    assert outcome.qualifies(2.0) == (reason == "")
    assert not unsure.qualifies(2.0), "nothing says how far the estimate can be off"
    assert reason in " ".join(outcome.reasons(2.0))


def test_rates_are_spaced_evenly_on_a_logarithmic_scale():
    found = parse_rates("5e-7:5e-6:6")
    assert found == pytest.approx([5e-7 * 10 ** (step / 5) for step in range(6)], rel=1e-3)
    assert (found[0], found[-1]) == (5e-7, 5e-6)
    assert parse_rates("2e-6,1e-6") == parse_rates([1e-6, 2e-6]) == parse_rates(["1e-6", 2e-6]) == [1e-6, 2e-6]
    assert parse_rates("3e-6") == [3e-6]


@pytest.mark.parametrize(
    "rates",
    ["", "fast", "1:2", "1e-6:1e-5:0", "1e-6:1e-5:1", "1e-6:1e-5:2.5", "1e-5:1e-6:3", "0:1:3", "-1,1", "0", [], "nan",
     "1e-6:1e-5:3,4", [None]],
    ids=str,
)  # fmt: skip
def test_rates_that_are_none(rates):
    with pytest.raises(UserError, match="--rates"):
        parse_rates(rates)


def test_search_takes_the_options_of_finetune():
    mine, theirs = inspect.signature(search).parameters, inspect.signature(finetune_itself).parameters
    assert set(theirs) - set(mine) == {"lr", "resume", "save_every", "at_inference"}
    for name in set(theirs) & set(mine) - {"out"}:
        assert mine[name].annotation == theirs[name].annotation
        assert mine[name].default == theirs[name].default
    with pytest.raises(UserError, match="did you mean epochs"):
        search(out="x", images="y", model="z", epoch=3)
    with pytest.raises(UserError, match="unknown option 'lr'"):
        search(out="x", images="y", model="z", lr=1e-6)


@pytest.fixture(scope="module")
def searched(tmp_path_factory, model_folder, photos):
    """A search on the command line whose rule accepts any fall of accuracy, so that what decides is the loss."""
    folder = tmp_path_factory.mktemp("rates")
    settings = FAST | {"model": f"local-dir:{model_folder}", "images": str(photos[0]), "masks": str(photos[1])}
    (folder / "base.yaml").write_text(yaml.safe_dump(settings))
    command = ["search", "--config", str(folder / "base.yaml"), "--rates", "1e-1,1e-4,1e9", "--max-drop", "100"]
    command += ["--out", str(folder / "out")]
    return folder, command, cli.main(command)


def test_the_original_is_measured_once_for_all_rates(searched):
    folder, _, _ = searched
    runs = [place for place in (folder / "out").iterdir() if (place / "before.json").is_file()]
    assert len(runs) == 3
    assert len({(run / "before.json").read_text() for run in runs}) == 1
    assert len(list((folder / "out" / "originals").iterdir())) == 1


def turns_of(run):
    """Answers helped and harmed in the epoch kept and in the last, and the number of photos."""
    if not (run / "verdict.json").exists():
        return []
    photos = len(json.loads((run / "beginning.json").read_text())["val_right"])
    epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    kept = [row for row in epochs if row["best"]][-1]
    return [(row["val_helped"], row["val_harmed"], photos) for row in (kept, epochs[-1])]


def rows_of(folder):
    with (folder / "out" / "rates.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_table_is_what_the_runs_say(searched):
    folder, _, _ = searched
    rows = rows_of(folder)
    assert [float(row["lr"]) for row in rows] == [1e-4, 1e-1, 1e9]
    assert "lower --lr" in rows[2]["error"]
    begun = []
    for row in rows[:2]:
        run = folder / "out" / row["trial"]
        beginning = json.loads((run / "beginning.json").read_text())
        epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        kept = min(epochs, key=lambda epoch: epoch["val_loss"])
        assert int(row["epoch kept"]) == kept["epoch"]
        for time, found in (("before", beginning), ("kept", kept), ("last", epochs[-1])):
            assert float(row[f"accuracy {time}"]) == found["val_accuracy"]
            assert float(row[f"relevance loss {time}"]) == found["val_relevance"]
            change = found.get("val_helped", 0) - found.get("val_harmed", 0)
            assert found["val_accuracy"] - beginning["val_accuracy"] == pytest.approx(
                change / len(beginning["val_right"])
            )
        assert beginning["val_accuracy"] == pytest.approx(np.mean(beginning["val_right"]))
        assert float(row["change low"]) * 100 == pytest.approx(min(lowest(*one) for one in turns_of(run)))
        assert int(row["validation photos"]) == len(beginning["val_right"])
        begun.append(beginning)
    assert begun[0] == begun[1], "the original on the same photos"


def test_chosen_is_the_highest_that_qualifies_and_finetune_takes_it(searched, tmp_path, capsys):
    folder, _, code = searched
    table = [
        (
            float(row["lr"]),
            turns_of(folder / "out" / row["trial"]),
            tuple(float(row[f"accuracy {time}"] or 0) for time in ("before", "kept", "last")),
            tuple(float(row[f"relevance loss {time}"] or 0) for time in ("before", "kept", "last")),
            row["error"],
        )
        for row in rows_of(folder)
    ]
    expected = by_hand(table, 100)
    assert expected is not None
    assert code == 0
    chosen = yaml.safe_load((folder / "out" / "chosen.yaml").read_text())
    assert chosen["lr"] == expected
    assert chosen["max_drop"] == 100
    assert cli.main(["finetune", "--config", str(folder / "out" / "chosen.yaml"), "--out", str(tmp_path / "run")]) == 0
    trial = next(row["trial"] for row in rows_of(folder) if float(row["lr"]) == expected)
    one, other = (place / "metrics.jsonl" for place in (tmp_path / "run", folder / "out" / trial))
    assert one.read_text() == other.read_text()
    for ending in ("png", "svg"):
        assert (folder / "out" / f"rates.{ending}").stat().st_size > 1000
    with Image.open(folder / "out" / "rates.png") as picture:
        assert picture.width > picture.height


def test_another_threshold_runs_nothing_again(searched, capsys, monkeypatch):
    folder, command, _ = searched
    calls = []
    monkeypatch.setattr(
        "robustvit.training.finetune.finetune", lambda **options: calls.append(options["lr"]) or finetune(**options)
    )
    kept = (folder / "out" / "chosen.yaml").read_text()
    found = cli.main([*command, "--max-drop", "0"])
    assert calls == [1e9], "only the run that failed is tried again"
    assert (folder / "out" / "chosen.yaml").exists() == (found == 0), "a choice that no longer holds is taken back"
    (folder / "out" / "chosen.yaml").write_text(kept)


def test_no_rate_qualifies(tmp_path, base, capsys):
    options = [part for name, value in base.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    (tmp_path / "out").mkdir()
    command = ["search", *options, "--out", str(tmp_path / "out"), "--rates", "1e8,1e9"]
    assert cli.main(command) == 1
    said = capsys.readouterr().out
    assert "No rate qualifies" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out" / "chosen.yaml").exists()


def test_highest_rate_tried_is_pointed_out(tmp_path):
    good, bad = turned(1e-6, 0, 0, 1000), turned(1e-5, 0, 700, 1000)
    assert "highest rate tried" in str(RateSearch(tmp_path, (good,), 2.0, good))
    assert "highest rate tried" not in str(RateSearch(tmp_path, (good, bad), 2.0, good))


def test_too_few_photos_show_no_rate_and_say_how_many_would(tmp_path):
    """With 40 photos that all answer as before up to 6.8 points may be lost: nothing is claimed."""
    rates = (turned(1e-6, 0, 0, 40), turned(3e-6, 1, 1, 40), turned(1e-5, 0, 8, 40))
    found = RateSearch(tmp_path, rates, 2.0, choose_rate(rates, 2.0))
    assert found.chosen is None
    assert found.exit_code == 1
    said = str(found)
    change = rates[1].change
    more = photos_needed(change, 0.02) - 40
    assert "No rate is shown by 40 validation photos to cost at most 2 points" in said
    assert (
        "3e-06 is the highest rate that qualifies by the measured loss alone: accuracy changed by +0.0 points" in said
    )
    assert f"up to {-100 * change.low:.1f} points may be lost where 2 are allowed" in said
    written = int(re.search(r"About ([\d,]+) more photos would settle it", said)[1].replace(",", ""))
    assert more <= written <= 1.1 * more
    assert f"robustvit finetune --config {tmp_path / 'likely.yaml'}" in said
    enough = [turned(3e-6, round((40 + more) / 40), round((40 + more) / 40), 40 + more)]
    assert choose_rate(enough, 2.0) is enough[0]


def test_a_higher_rate_that_only_looks_good_is_named_beside_the_one_chosen(tmp_path):
    rates = (turned(1e-6, 0, 0, 400), turned(3e-6, 10, 12, 400))
    found = RateSearch(tmp_path, rates, 2.0, choose_rate(rates, 2.0))
    assert found.chosen is rates[0]
    assert found.exit_code == 0
    said = str(found)
    assert "Chosen: 1e-06" in said
    assert "3e-06 is the highest rate that qualifies by the measured loss alone" in said
    assert "not shown" in said


@pytest.mark.parametrize("photos", [40, 150, 600])
def test_a_rate_that_costs_too_much_is_seldom_chosen(photos):
    """Four rates, of which the two highest truly lose 4 points of accuracy, 2 are allowed."""
    generator, repeats = np.random.default_rng(photos), 1000
    by_interval = by_estimate = 0
    for _ in range(repeats):
        rates = []
        for lr, lost in ((1e-7, 0.0), (1e-6, 0.0), (3e-6, 0.04), (1e-5, 0.04)):
            helped, harmed, _ = generator.multinomial(photos, (0.03, 0.03 + lost, 0.94 - lost))
            rates.append(turned(lr, int(helped), int(harmed), photos))
        chosen, likely = choose_rate(rates, 2.0), likely_rate(rates, 2.0)
        by_interval += chosen is not None and chosen.lr > 2e-6
        by_estimate += likely is not None and likely.lr > 2e-6
    assert by_interval <= 0.03 * repeats
    assert by_estimate > (0.3 if photos < 600 else 0.02) * repeats, "otherwise the test shows nothing"


def test_runs_of_older_versions_are_read_and_nothing_is_claimed_of_them(tmp_path):
    rows = [{"epoch": epoch, "val_accuracy": 0.8, "val_relevance": 0.2, "best": epoch == 1} for epoch in (1, 2)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "beginning.json").write_text(json.dumps({"val_accuracy": 0.8, "val_relevance": 0.3}))
    (tmp_path / "verdict.json").write_text("{}")
    old = rate_outcome(1e-6, tmp_path)
    assert old.error == ""
    assert old.change is None
    assert choose_rate([old], 2.0) is None
    assert likely_rate([old], 2.0) is old
    assert "is unknown" in str(RateSearch(tmp_path, (old,), 2.0, None))


def test_run_that_does_not_say_where_it_began(tmp_path, base):
    finetune(**base, out=str(tmp_path / "run"))
    verdict = tmp_path / "run" / "verdict.json"
    kept = verdict.read_text()
    verdict.unlink()
    assert "not finished" in rate_outcome(1e-6, tmp_path / "run").error, "an epoch in the middle is no outcome"
    verdict.write_text(kept)
    (tmp_path / "run" / "beginning.json").unlink()
    assert "no record of its start" in rate_outcome(1e-6, tmp_path / "run").error


@pytest.mark.parametrize(("select", "expected"), [("robust", 0.5), ("loss", 2.0)])
def test_a_run_that_keeps_the_robust_epoch_keeps_it_by_the_searchs_threshold(
    tmp_path, base, monkeypatch, select, expected
):
    """Otherwise the rate would be judged by other epochs than those of the run that chosen.yaml makes."""
    ran = []

    class Engine:
        def run(self, trials, folder, done):
            ran.extend(trials)

    monkeypatch.setattr("robustvit.experiments.sweeps.engines.make_engine", lambda *_: Engine())
    found = search(**base, select=select, rates="1e-6,1e-5", max_drop=0.5, out=str(tmp_path / "out"))
    assert [trial.options["max_drop"] for trial in ran] == [expected] * 2
    assert found.exit_code == 1
    with (tmp_path / "out" / "rates.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert "not finished" in row["error"]
        assert [row[name] for name in ("accuracy kept", "relevance loss last", "epoch kept")] == [""] * 3


def test_epoch_that_was_resumed_keeps_its_beginning(tmp_path, base):
    whole = finetune(**base, out=str(tmp_path / "run"))
    first = (whole.folder / "beginning.json").read_text()
    finetune(**base | {"epochs": 3}, out=str(tmp_path / "run"), resume=True)
    assert (whole.folder / "beginning.json").read_text() == first


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--rates", "fast"], "--rates"),
        (["--max-drop", "-1"], "--max-drop"),
        (["--max-drop", "200"], "--max-drop in points, from 0 to 100"),
        (["--select", "luck"], "--select"),
        (["--epoch-count", "3"], "--epoch"),
        (["--lr", "1e-6"], "--lr"),
        (["--trials-at-once", "2"], "--engine ray"),
    ],
)
def test_mistakes_are_one_line(tmp_path, base, capsys, arguments, word):
    options = itertools.chain(*((f"--{name}", str(value)) for name, value in base.items()))
    assert cli.main(["search", *options, "--out", str(tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert word in error
    assert not (tmp_path / "out").exists()
