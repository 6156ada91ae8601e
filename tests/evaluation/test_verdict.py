"""What a comparison comes to: four outcomes by intervals, their sentences, and how often a bad model is accepted."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from robustvit import UserError
from robustvit.common.intervals import Interval, paired_interval
from robustvit.common.outcomes import OUTCOMES, next_step, outcome_of, photos_needed, rank
from robustvit.common.verdict_files import Comparison, read_verdict, write_verdict
from robustvit.evaluation.photo_measures import PhotoMeasure, Swapped
from robustvit.evaluation.verdict import compare, decide


def photos(ordinary, shifted, measure="mixed-other"):
    return [
        PhotoMeasure(f"{i}.png", 0, 0, 1.0, {"ordinary": float(o), measure: float(s)})
        for i, (o, s) in enumerate(zip(ordinary, shifted, strict=True))
    ]


def answers(right, count):
    return [1] * right + [0] * (count - right)


BASE = photos(answers(900, 1000), answers(500, 1000))


@pytest.mark.parametrize(
    ("ordinary", "shifted", "outcome", "words"),
    [
        (900, 700, "better", "Better on backgrounds of other classes by +20.0 points"),
        (895, 700, "better", "at no more than the allowed cost: ordinary accuracy changed by -0.5 points"),
        (885, 700, "cost-open", "so up to 2.3 points may be lost where 2 are allowed. About 1,600 more photos"),
        (880, 700, "cost-open", "More photos would hardly settle it"),
        (700, 700, "worse", "surely more than the 2 points that may be lost"),
        (900, 501, "not-shown", "These 1,000 photos exclude a gain of 5 points"),
        (900, 200, "worse", "Worse on backgrounds of other classes: -30.0 points"),
    ],
)
def test_the_outcome_and_its_sentence(ordinary, shifted, outcome, words):
    verdict = decide(compare(BASE, photos(answers(ordinary, 1000), answers(shifted, 1000))))
    assert verdict.outcome == outcome
    assert verdict.accepted is {"better": True, "cost-open": None}.get(outcome, False)
    assert verdict.title == ("Robust model" if outcome == "better" else "Guided model")
    assert words in verdict.sentence
    assert ("Keep the original" in verdict.sentence) == (outcome in ("not-shown", "worse"))
    assert ("your choice" in verdict.sentence) == (outcome == "cost-open")


def test_twenty_photos_show_what_they_can():
    """Four of twenty helped, none harmed, ordinary accuracy unchanged: once "better by +20.0 ± 17.5 at no cost"."""
    before, after = photos(answers(18, 20), answers(10, 20)), photos(answers(18, 20), answers(14, 20))
    verdict = decide(compare(before, after))
    gain, ordinary = verdict.of("mixed-other"), verdict.of("ordinary")
    assert verdict.outcome == "not-shown"
    assert 100 * gain.difference.low == pytest.approx(-2.3, abs=0.05)
    assert (gain.helped, gain.harmed, gain.mcnemar_p) == (4, 0, 0.125)
    assert 100 * ordinary.difference.half_width == pytest.approx(12.6, abs=0.05)
    assert ordinary.mcnemar_p == 1
    many = decide(compare(before, photos(answers(18, 20), answers(20, 20))))
    assert many.outcome == "cost-open"
    assert "up to 12.6 points may be lost where 2 are allowed. About 860 more photos" in many.sentence


@pytest.mark.parametrize("lost", [20, 70, 140])
def test_the_estimate_alone_accepts_nothing(lost):
    """As many as are allowed were lost: the interval reaches beyond."""
    after = photos(answers(900 - lost, 1000), answers(900, 1000))
    assert decide(compare(BASE, after), max_drop=lost / 10).outcome == "cost-open"
    assert decide(compare(BASE, after), max_drop=lost / 10 + 3).outcome == "better"


def test_a_small_change_of_few_photos_says_how_many_would_show_a_gain():
    """Ten of a hundred photos are broken and twelve helped: +2.0 points, which a gain of 5 could look like too."""
    before, after = photos([1] * 100, answers(50, 100)), photos([1] * 100, [1] * 40 + [0] * 10 + answers(12, 50))
    verdict = decide(compare(before, after))
    assert verdict.outcome == "not-shown"
    assert verdict.sentence.startswith("No measurable improvement on backgrounds of other classes: +2.0 points")
    needed = photos_needed(verdict.of("mixed-other").difference, 0.05)
    words = r"100 photos are too few to exclude one: about (\d+) would show a gain of 5 points"
    said = re.search(words, verdict.sentence)
    assert needed <= int(said[1]) < 1.1 * needed


@pytest.mark.parametrize(
    ("outcome", "word"),
    [(None, "--images"), ("better", "export"), ("cost-open", "--images"), ("not-shown", "--seed"), ("worse", "--lr")],
)
def test_every_verdict_on_other_photos_says_what_to_do_next(outcome, word):
    said = next_step(outcome, elsewhere=True)
    assert word in said
    assert "robustvit evaluate" not in said, "that is what was just done"


def test_few_photos_show_nothing():
    verdict = decide(compare(photos([1] * 19, [0] * 19), photos([1] * 19, [1] * 19)))
    assert verdict.outcome == "not-shown"
    assert "19 photos are too few to exclude one: at least 20" in verdict.sentence


def test_as_many_photos_as_it_says_are_enough():
    for helped, harmed, count in ((4, 0, 20), (12, 9, 50), (30, 33, 150)):
        change = paired_interval(helped, harmed, count)
        needed = photos_needed(change, 0.05)
        more = needed / count
        again = paired_interval(helped * more, harmed * more, needed)
        assert again.half_width == pytest.approx(0.05, rel=0.25)


def test_accepted_at_most_rarely_at_a_loss_of_four_points():
    """Two points are allowed, four are lost and the gain is real: by the estimate alone 36, 44, 22 and 4 % passed."""
    draw = np.random.default_rng(4)
    for count in (20, 50, 150, 600):
        accepted = 0
        for _ in range(1500):
            up, down, _ = draw.multinomial(count, (0.03, 0.07, 0.9))
            helped, harmed, _ = draw.multinomial(count, (0.35, 0.05, 0.6))
            gain, ordinary = paired_interval(helped, harmed, count), paired_interval(up, down, count)
            accepted += outcome_of(gain, ordinary, 2.0) == "better"
        assert accepted / 1500 < 0.025, count


def test_more_helps_where_no_photo_turned():
    wide, narrow = (outcome_of(paired_interval(n // 2, 0, n), paired_interval(0, 0, n), 2.0) for n in (100, 300))
    assert (wide, narrow) == ("cost-open", "better")


def test_ranking_is_by_outcome_then_allowed_loss_then_gain():
    def around(mean, reach):
        return Interval(mean, mean - reach, mean + reach, 100)

    best_first = [
        (around(0.2, 0.1), around(0.0, 0.01)),  # better
        (around(0.15, 0.1), around(0.0, 0.01)),
        (around(0.3, 0.1), around(-0.01, 0.05)),  # cost open
        (around(0.4, 0.1), around(-0.03, 0.05)),
        (around(0.1, 0.2), around(0.0, 0.01)),  # not shown
        (around(0.0, 0.2), around(0.0, 0.01)),
        (around(0.9, 0.1), around(-0.2, 0.01)),  # worse
        (around(-0.5, 0.1), around(-0.2, 0.01)),
    ]
    ranks = [rank(gain, ordinary, 2.0) for gain, ordinary in best_first]
    assert ranks == sorted(ranks, reverse=True)
    assert {outcome_of(*pair, 2.0) for pair in best_first} == set(OUTCOMES)


def test_backgrounds_that_are_shared_make_the_interval_wider():
    def asked(right):
        return [
            PhotoMeasure(f"{i}.png", 0, 0, 1.0, {"ordinary": 1.0, "mixed-other": float(answer)},
                         [Swapped("mixed-other", i % 4, 0 if answer else 1, 1.0)])
            for i, answer in enumerate(right)
        ]  # fmt: skip

    before, after = asked([0] * 40), asked([i % 4 == 0 for i in range(40)])  # one donor of four helps all its guests
    found = next(c for c in compare(before, after) if c.measure == "mixed-other")
    assert found.difference.half_width > 2 * paired_interval(10, 0, 40).half_width
    assert decide(compare(before, after)).outcome == "not-shown"


def test_measures_of_older_versions_are_decided_on_random_backgrounds():
    before, after = (photos(answers(900, 1000), answers(k, 1000), "mixed-rand") for k in (500, 700))
    verdict = decide(compare(before, after))
    assert verdict.outcome == "better"
    assert "Better on random backgrounds" in verdict.sentence
    assert "older versions" in verdict.notes[0]


def test_verdicts_of_older_versions_are_read(tmp_path):
    side = {"mean": 0.5, "low": 0.4, "high": 0.6, "count": 30}
    row = {"measure": "ordinary", "before": side, "after": side, "difference": side}
    old = {"accepted": True, "sentence": "Better.", "comparisons": [row], "notes": []}
    (tmp_path / "v.json").write_text(json.dumps(old))
    found = read_verdict(tmp_path / "v.json")
    assert (found.accepted, found.outcome, found.of("ordinary").mcnemar_p) == (True, None, None)
    (tmp_path / "v.json").write_text(json.dumps(old | {"outcome": "splendid"}))
    with pytest.raises(UserError, match="splendid"):
        read_verdict(tmp_path / "v.json")


def test_measures_of_other_photos_are_not_compared():
    with pytest.raises(UserError, match="same photos"):
        compare(BASE, BASE[::-1])


def test_no_masks_no_verdict():
    bare = [PhotoMeasure("a", 0, 0, 1.0, {"ordinary": 1.0})]
    verdict = decide(compare(bare, bare))
    assert verdict.accepted is None
    assert verdict.sentence.startswith("Not measured")
    assert verdict.outcome is None


def test_compare_pairs_only_what_both_have():
    other = [PhotoMeasure(p.image, 0, 0, 1.0, dict(p.values)) for p in BASE]
    del other[0].values["mixed-other"]
    by_name = {c.measure: c for c in compare(BASE, other)}
    assert by_name["mixed-other"].difference.count == 999
    assert by_name["ordinary"].difference.count == 1000
    assert set(by_name) == {"ordinary", "mixed-other"}


def test_round_trip(tmp_path):
    verdict = decide(compare(BASE, BASE), notes=["a note"])
    write_verdict(verdict, tmp_path / "v.json")
    assert read_verdict(tmp_path / "v.json") == verdict
    assert isinstance(read_verdict(tmp_path / "v.json").of("ordinary"), Comparison)
    assert verdict.of("miou") is None


def with_unseen(ordinary, shifted, unseen):
    found = photos(ordinary, shifted)
    for one, value in zip(found, unseen, strict=True):
        one.values["unseen"] = float(value)
    return found


def test_what_was_trained_on_does_not_decide():
    same = answers(900, 1000)
    before = with_unseen(same, answers(500, 1000), answers(500, 1000))
    after = with_unseen(same, answers(800, 1000), answers(500, 1000))
    plain = decide(compare(before, after))
    assert plain.outcome == "better"
    assert "on backgrounds of other classes by +30.0" in plain.sentence
    trained = decide(compare(before, after), trained_on=("mixed-other", "mixed-same", "mixed-rand"))
    assert trained.outcome == "not-shown"
    assert "on backgrounds that no photo has" in trained.sentence
    assert any("trained on photos with swapped backgrounds" in note and "unseen" in note for note in trained.notes)
    gained = with_unseen(same, answers(800, 1000), answers(600, 1000))
    assert decide(compare(before, gained), trained_on=("mixed-other",)).outcome == "better"


def test_without_another_measure_it_decides_with_a_warning():
    trained = decide(compare(BASE, photos(answers(900, 1000), answers(700, 1000))), trained_on=("mixed-other",))
    assert trained.outcome == "better"
    assert any("part of a gain may be" in note for note in trained.notes)


def test_a_verdict_keeps_what_was_trained_on(tmp_path):
    verdict = decide(compare(BASE, BASE), trained_on=("mixed-other",))
    write_verdict(verdict, tmp_path / "verdict.json")
    assert read_verdict(tmp_path / "verdict.json") == verdict
    raw = json.loads((tmp_path / "verdict.json").read_text())
    del raw["trained_on"]  # as older versions wrote it
    (tmp_path / "verdict.json").write_text(json.dumps(raw))
    assert read_verdict(tmp_path / "verdict.json").trained_on == ()
