"""What a table or figure of the paper needs: photos, classes, runs, numbers and images."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.reproductions import PAPER_ITEMS, narrow_stand_in, write_imagenet_s
from robustvit.common.errors import UserError
from robustvit.common.intervals import Interval
from robustvit.data.find_photos import find_photos
from robustvit.data.mask_files import read_mask
from robustvit.evaluation.on_sets.outcomes import Outcomes
from robustvit.evaluation.records.record import Record
from robustvit.evaluation.records.reported import REPORTED, reported_table
from robustvit.evaluation.sets.class_tables import imagenet_wnids
from robustvit.experiments.paper.evaluating import Evaluator
from robustvit.experiments.paper.imagenet_s import MERGED, find_imagenet_s, write_list
from robustvit.experiments.paper.plan import (
    ITEMS,
    METHOD_OPTIONS,
    PAPER,
    Run,
    make_plan,
)
from robustvit.experiments.paper.show import seed_rows
from robustvit.experiments.paper.show_images import choose_images
from robustvit.experiments.paper.show_plots import reported_change
from robustvit.experiments.paper.training import options_of_run
from robustvit.experiments.paper.workspace import Workspace


@pytest.fixture(scope="module")
def imagenet_s(tmp_path_factory):
    merged = [*MERGED, *MERGED.values()]
    plain = [wnid for wnid in imagenet_wnids() if wnid not in merged][:12]
    return find_imagenet_s(write_imagenet_s(tmp_path_factory.mktemp("s"), [*plain, *merged])), plain


def test_the_merged_classes_are_ten_of_imagenet():
    assert len({*MERGED, *MERGED.values()}) == 10
    assert {*MERGED, *MERGED.values()} <= set(imagenet_wnids())


def test_lists_are_the_first_classes_and_photos_by_name(imagenet_s):
    found, plain = imagenet_s
    lists = found.lists(Run("vit-b", "robustvit", 0, 3, 5))
    assert [row[2] for row in lists.train] == [wnid for wnid in sorted(plain)[:5] for _ in range(3)]
    assert [row[0].name for row in lists.train[:3]] == [f"{sorted(plain)[0]}_{number}.JPEG" for number in range(3)]
    assert [row[2] for row in lists.validation] == sorted(plain)[5:]
    assert all(photo.stem == mask.stem == f"{wnid}_0" for photo, mask, wnid in lists.validation)


def test_a_seed_draws_the_classes_and_nothing_else(imagenet_s):
    found, plain = imagenet_s
    expected = sorted(plain)
    random.Random(3).shuffle(expected)
    run = Run("vit-b", "robustvit", 3, 2, 5)
    lists = found.lists(run)
    assert {row[2] for row in lists.train} == set(expected[:5])
    assert {row[2] for row in lists.validation} == set(expected[5:])
    assert lists == found.lists(run)
    assert len(lists.train) == 10


def test_lists_are_what_finetune_reads(imagenet_s, tmp_path):
    found, _ = imagenet_s
    lists = found.lists(Run("vit-b", "robustvit", 0, 3, 5))
    write_list(lists.train, tmp_path / "list.csv")
    photos = find_photos(tmp_path / "list.csv")
    assert [(p.image.name, p.class_name) for p in photos] == [(row[0].name, row[2]) for row in lists.train]
    mask = read_mask(photos[0].mask, "imagenet-s")
    expected = np.zeros((8, 8))
    expected[2:6, 2:6] = 1
    assert np.array_equal(mask, expected)


def test_another_edition_of_imagenet_s_is_refused(imagenet_s):
    with pytest.raises(UserError, match="expected 914 classes besides the ten merged ones"):
        imagenet_s[0].check(PAPER)


def test_a_mask_without_its_photo_is_named(tmp_path):
    root = write_imagenet_s(tmp_path, ["n01440764", "n01443537"])
    (root / "ImageNetS919/train-semi/n01440764/n01440764_0.JPEG").unlink()
    with pytest.raises(UserError, match=r"expected the photo of .*n01440764_0\.png"):
        find_imagenet_s(root).lists(Run("vit-b", "robustvit", 0, 1, 1))


def test_every_item_of_the_paper_has_a_plan():
    assert set(ITEMS) == set(PAPER_ITEMS)
    for what in ITEMS:
        plan = make_plan(what, PAPER, models=None, masks="human")
        assert plan.runs
        assert len(set(plan.runs)) == len(plan.runs)
        assert all(run.method in METHOD_OPTIONS for run in plan.runs if run.trained)
        assert all(plan.original(run) in plan.runs for run in plan.runs)


@pytest.mark.parametrize("what", [item for item in ITEMS if item in REPORTED])
def test_a_tables_plan_has_every_row_reported(what):
    plan = make_plan(what, PAPER, models=None, masks="human")
    wanted = {(row.model, row.method) for row in reported_table(what).rows if row.method != "robustvit-tokencut"}
    assert {(run.card, run.method) for run in plan.runs} == wanted
    assert set(plan.sets) == {column.set for column in reported_table(what).columns}
    seeds = {run.seed for run in plan.runs if run.trained}
    assert seeds == (set(range(5)) if what in ("table8", "table9") else {0})


def test_papers_numbers_are_in_the_plan():
    run = next(one for one in make_plan("table1", PAPER, models=["vit-b"], masks="human").runs if one.trained)
    assert (run.classes, run.samples, PAPER.epochs, PAPER.available - run.classes) == (500, 3, 50, 414)
    workspace = Workspace(Path("out"), Path("data"), PAPER)
    run_without = Run("deit-b", "robustvit-without-eq1", 2, 3, 500)
    options = options_of_run(workspace, run_without, (Path("a.csv"), Path("b.csv")))
    from robustvit.experiments.sweeps.finetune_options import effective_options

    settled = effective_options(options, "here")
    assert (settled["lr"], settled["temperature"], settled["normalization"]) == (8e-7, 0.65, "paper")
    assert (settled["epochs"], settled["batch_size"], settled["weight_decay"], settled["select"]) == (
        50,
        8,
        1e-4,
        "loss",
    )
    assert (settled["background"], settled["foreground"], settled["seed"]) == (0.0, 0.3, 2)


def test_tokencut_rows_replace_the_others():
    plan = make_plan("table2", PAPER, models=["vit-b"], masks="tokencut")
    assert [run.method for run in plan.runs] == ["original", "robustvit-tokencut"]


def test_figure_7_varies_samples_and_classes():
    runs = [run for run in make_plan("figure7", PAPER, models=None, masks="human").runs if run.trained]
    assert {run.samples for run in runs if run.classes == 500} >= {1, 2, 3}
    assert {run.classes for run in runs if run.samples == 3} >= {100, 300, 500}


def test_reported_changes_follow_the_rows():
    """ViT-B on INet-A, classes seen: 14.8 to 22.9; AR-B 25.3 to 32.2; DeiT-B 11.7 to 15.2 (Table 10)."""
    expected = ((22.9 - 14.8) + (32.2 - 25.3) + (15.2 - 11.7)) / 3
    assert reported_change(["vit-b", "ar-b", "deit-b"], "imagenet-a", "seen") == pytest.approx(expected)
    assert reported_change(["vit-b"], "si-score/location", "unseen") == pytest.approx(38.6 - 32.0)
    assert reported_change(["vit-l"], "imagenet-a", "seen") is None


def outcomes(right: list[int], answers: list[int], confidence: list[float]) -> Outcomes:
    count = len(right)
    names, blank = np.array([f"{i}" for i in range(count)]), np.array([""] * count)
    classes = np.array([f"class {label}" for label in right])
    return Outcomes(names, classes, blank, np.full(count, -1), np.array(right)[:, None], np.array(answers),
                    np.ones(count, bool), np.array(confidence))  # fmt: skip


def test_images_are_the_first_of_each_class():
    right = [0, 0, 1, 1, 2, 2]
    before = outcomes(right, [0, 9, 9, 9, 2, 9], [0.5, 0.6, 0.9, 0.7, 0.2, 0.8])
    after = outcomes(right, [0, 0, 1, 1, 9, 9], [0.5] * 6)
    assert choose_images(before, after, "same", 5) == [0]
    assert choose_images(before, after, "corrected", 5) == [1, 2]
    assert choose_images(before, after, "corrected", 5, skip=1) == [2]
    assert choose_images(before, after, "broken", 5) == [4]
    assert choose_images(before, before, "wrong", 5) == [2, 5, 1]  # the surest first


def test_means_over_seeds():
    table = reported_table("table8")
    row = next(one for one in table.rows if one.spread and one.model == "vit-b")
    shares = (0.20, 0.23, 0.29)
    records = [
        Record("imagenet-a", "paper", {"card": "vit-b", "method": "robustvit", "weights": str(number)}, {}, 1, 1, True,
               [], {"top1": Interval(share, 0, 1, 1)}, {}, {}, {}, {}, [], "")
        for number, share in enumerate(shares)
    ]  # fmt: skip
    (found,) = seed_rows(row, table, records)
    cell = found.cells[1]
    mean = 100 * sum(shares) / 3
    deviation = (sum((100 * share - mean) ** 2 for share in shares) / 2) ** 0.5
    assert (cell.value, cell.spread, cell.difference) == pytest.approx((mean, deviation, mean - 23.6))
    assert found.cells[0].value is None
    assert seed_rows(row, table, records[:1]) == []
    assert cell.mark == ""
    (found,) = seed_rows(row, table, [*records[:2], replace(records[2], complete=False)])
    assert found.cells[1].mark == "†", "one run was measured on a part of the images"


def test_models_without_sets_need_no_imagenet_s(tmp_path, monkeypatch):
    plan = make_plan("appendix-a", PAPER, models=["vit-b"], masks="human")
    monkeypatch.setattr("robustvit.experiments.paper.evaluating.load_model", lambda *_, **__: narrow_stand_in("vit-b"))
    found = Evaluator(Workspace(tmp_path / "out", tmp_path, PAPER), plan).model(plan.runs[0])
    assert found.seen == frozenset()


def test_rival_methods_have_no_temperature(tmp_path):
    """Equation 8 has none; the cards' is that of equation 4."""
    workspace = Workspace(tmp_path, tmp_path, PAPER)
    for method in ("gradmask", "rrr"):
        options = options_of_run(workspace, Run("deit-s", method, 0, 3, 500), (tmp_path, tmp_path))
        assert options["temperature"] == 1.0
    assert "temperature" not in options_of_run(workspace, Run("deit-s", "robustvit", 0, 3, 500), (tmp_path, tmp_path))
