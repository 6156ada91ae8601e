"""Numbers of each class, and what they decide: in a verdict, in ``evaluate``, in a run and on its page."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from helpers.drawn_photos import write_photos
from plain.metrics import slow_balanced_accuracy, slow_precisions, slow_recalls
from robustvit import UserError, evaluate, finetune, report
from robustvit.cli.json_output import to_json
from robustvit.common.verdict_files import read_verdict, write_verdict
from robustvit.evaluation.class_numbers import MOST_CONFUSIONS, class_numbers, render_class_numbers
from robustvit.evaluation.deciding_metric import say_sizes
from robustvit.evaluation.measured_intervals import measure_difference, measure_interval, measure_title, predictions_of
from robustvit.evaluation.photo_measures import PhotoMeasure, Swapped
from robustvit.evaluation.verdict import compare, decide

LABELS = [3] * 40 + [7] * 8


def answered(answers, labels=LABELS, swapped=None, probability=0.8):
    """Photos with these answers, on their own background and, with two answers each, on others."""
    rows = []
    for index, (label, answer) in enumerate(zip(labels, answers, strict=True)):
        row = PhotoMeasure(f"{index}.png", label, answer, probability, {"ordinary": float(label == answer)})
        if swapped is not None:
            row.swapped = [Swapped("mixed-other", (index + step) % len(labels), swapped[index], 0.6) for step in (1, 5)]
            row.values["mixed-other"] = float(label == swapped[index])
        rows.append(row)
    return rows


def drawn(seed, labels=LABELS, classes=(3, 7, 9)):
    rng = np.random.default_rng(seed)
    return [label if rng.random() < 0.6 else int(rng.choice(classes)) for label in labels]


def test_recall_precision_and_confusions_equal_plain_counts_and_those_of_scikit_learn():
    answers = drawn(0)
    found = class_numbers(answered(answers), "class {}".format)
    recalls, precisions = slow_recalls(LABELS, answers, [1] * 48), slow_precisions(LABELS, answers, [1] * 48)
    for row, label in zip(found.classes, (3, 7), strict=True):
        assert row.name == f"class {label}"
        assert (row.photos, row.answers) == (LABELS.count(label), answers.count(label))
        assert row.recall.mean == pytest.approx(recalls[label])
        assert row.precision.mean == pytest.approx(precisions[label])
        assert row.recall.low < row.recall.mean < row.recall.high
    theirs = sklearn_metrics.confusion_matrix(LABELS, answers, labels=[3, 7, 9])
    assert np.array(found.matrix).tolist() == theirs[:2].tolist()
    assert sum(one.photos for one in found.confusions) == sum(a != b for a, b in zip(LABELS, answers, strict=True))
    assert found.confusions[0].photos == max(one.photos for one in found.confusions)
    assert found.metrics["balanced-accuracy"].mean == pytest.approx(
        slow_balanced_accuracy(LABELS, answers, 0, [1] * 48)
    )
    assert set(found.metrics) == {"balanced-accuracy", "macro-f1", "calibration-error"}, "photos have no scores"


def test_photos_of_one_class_have_no_metric_that_ranks():
    only = [replace(one, scores={3: 0.8}) for one in answered([3, 7, 3], [3, 3, 3])]
    assert set(class_numbers(only, str).metrics) == {"balanced-accuracy", "macro-f1", "calibration-error"}


def test_nothing_grows_with_the_square_of_the_classes():
    labels = list(range(400))
    found = class_numbers(answered([(label + 1) % 400 for label in labels], labels), str)
    assert found.matrix is None
    assert (len(found.confusions), found.kinds) == (MOST_CONFUSIONS, 400)
    page = render_class_numbers(asdict(found), "model", "baseline", "all.json")
    assert "370 more are in all.json" in page
    assert "(30 of 400)" in page
    assert len(page) < 40_000


def test_a_class_that_is_never_answered_has_no_precision():
    found = class_numbers(answered([3] * 48), str)
    assert found.classes[1].precision is None
    assert "–" in render_class_numbers(json.loads(json.dumps(asdict(found))), "model", "baseline", "all.json")


def test_names_of_classes_are_escaped_on_the_page():
    page = render_class_numbers(
        asdict(class_numbers(answered(drawn(1)), "<b>{}".format)), "after", "original", "x.json"
    )
    assert "<b>3" not in page
    assert "&lt;b&gt;3" in page


def test_a_metric_on_swapped_backgrounds_averages_the_answers_of_each_photo_first():
    rows = answered(drawn(2), swapped=drawn(3))
    rows[0].swapped = [Swapped("mixed-other", 4, answer, 0.5) for answer in (3, 7, 7, 7)]
    found = predictions_of(rows, "mixed-other")
    assert found.weight.sum() == pytest.approx(48)
    flat = [(r.label, s.predicted, 1 / len(r.swapped)) for r in rows for s in r.swapped]
    labels, answers, weights = zip(*flat, strict=True)
    slow = slow_balanced_accuracy(labels, answers, 0, weights)
    interval = measure_interval(rows, "balanced-accuracy/mixed-other")
    assert interval.mean == pytest.approx(slow)
    assert interval.count == 48
    assert interval.low < slow < interval.high


def test_the_metric_decides_where_accuracy_would_decide_otherwise():
    """The large class gains, the small one is lost: accuracy rises, balanced accuracy falls."""
    labels = [0] * 300 + [1] * 60
    before = answered([0] * 150 + [1] * 150 + [1] * 60, labels, swapped=[0] * 150 + [1] * 150 + [1] * 60)
    after = answered([0] * 360, labels, swapped=[0] * 360)
    assert decide(compare(before, after)).outcome == "better"
    verdict = decide(compare(before, after, "balanced-accuracy"), metric="balanced-accuracy")
    assert verdict.outcome == "worse"
    assert verdict.metric == "balanced-accuracy"
    assert "of balanced accuracy (ordinary balanced accuracy changed by -25.0 points" in verdict.sentence
    assert verdict.comparisons[0].measure == "balanced-accuracy/ordinary"
    assert verdict.comparisons[0].helped is None
    assert {"ordinary", "mixed-other"} <= {one.measure for one in verdict.comparisons}, "accuracy is still reported"


def test_the_difference_of_a_metric_pairs_photos():
    before, after = answered(drawn(4), swapped=drawn(5)), answered(drawn(4), swapped=drawn(5))
    same = measure_difference(before, after, "macro-f1/ordinary")
    other = measure_difference(answered(drawn(6)), after, "macro-f1/ordinary")
    assert same.mean == 0
    assert 0 < same.half_width < other.half_width


def test_titles_of_measures_say_metric_and_photos():
    assert measure_title("ordinary") == "ordinary accuracy"
    assert measure_title("balanced-accuracy/ordinary") == "ordinary balanced accuracy"
    assert measure_title("auroc/mixed-other") == "AUROC on backgrounds of other classes (mixed-other)"
    assert measure_title("si-size") == "si-size"


def test_balanced_accuracy_is_proposed_beyond_three_times_the_photos():
    assert say_sizes(["a"] * 9 + ["b"] * 3, "accuracy") == []
    assert say_sizes(["a"] * 10 + ["b"] * 3, "balanced-accuracy") == []
    (line,) = say_sizes(["a"] * 10 + ["b"] * 3, "accuracy")
    assert "a, has 10 photos, the smallest, b, 3" in line
    assert "--metric balanced-accuracy" in line
    (doubt,) = say_sizes(["a"] * 30 + ["b"] * 9, "average-precision")
    assert "b has 9" in doubt
    assert say_sizes(["a"] * 30 + ["b"] * 20, "average-precision") == []


def test_a_verdict_keeps_its_metric_and_older_ones_were_decided_by_accuracy(tmp_path):
    rows = answered(drawn(0), swapped=drawn(1))
    verdict = decide(compare(rows, rows, "macro-f1"), metric="macro-f1")
    write_verdict(verdict, tmp_path / "v.json")
    assert read_verdict(tmp_path / "v.json") == verdict
    raw = json.loads((tmp_path / "v.json").read_text())
    del raw["metric"]
    (tmp_path / "old.json").write_text(json.dumps(raw))
    assert read_verdict(tmp_path / "old.json").metric == "accuracy"


@pytest.fixture(scope="module")
def unbalanced(tmp_path_factory):
    """Ten photos of a class, and three of each of two others."""
    images, masks = write_photos(tmp_path_factory.mktemp("unbalanced"), 10)
    for name in ("frame", "stripe"):
        for folder in (images, masks):
            for path in sorted((folder / name).iterdir())[3:]:
                path.unlink()
    return images, masks


def test_evaluate_says_the_numbers_of_classes_and_decides_by_the_metric(unbalanced, model_folder, tmp_path):
    images, masks = unbalanced
    given = {"model": str(model_folder), "images": str(images), "masks": str(masks), "swaps": 1, "backgrounds": "none"}
    alone = evaluate(**given)
    assert "--metric balanced-accuracy" in alone.notes[-1]
    assert alone.by_class.changes == {}
    assert "balanced accuracy " in str(alone)
    found = evaluate(**given, baseline=str(model_folder), metric="auroc", out=str(tmp_path / "all.json"))
    assert not any("Consider --metric" in note for note in found.notes)
    assert found.verdict.metric == "auroc"
    written = json.loads((tmp_path / "all.json").read_text())
    assert set(written["by_class"]["metrics"]) == {
        "balanced-accuracy", "macro-f1", "auroc", "average-precision", "calibration-error",
    }  # fmt: skip
    assert written["settings"]["metric"] == "auroc"
    assert written["by_class"]["changes"]["auroc"]["mean"] == 0
    assert written["by_class"]["changes"]["auroc"]["low"] < 0
    assert sum(map(sum, written["by_class"]["matrix"])) == 16
    assert json.loads(to_json(found))["by_class"]["classes"][0]["photos"] == 10
    scores = np.array([list(photo["scores"].values()) for photo in written["photos"]])
    labels = [photo["label"] for photo in written["photos"]]
    theirs = sklearn_metrics.roc_auc_score(labels, scores / scores.sum(1, keepdims=True), multi_class="ovr")
    assert written["by_class"]["metrics"]["auroc"]["mean"] == pytest.approx(theirs, abs=1e-3)


def test_a_metric_that_the_photos_cannot_have_is_refused_before_anything_is_measured(
    unbalanced, model_folder, tmp_path
):
    with pytest.raises(UserError, match="2 to 100 classes"):
        evaluate(model=str(model_folder), images=str(_one_class(unbalanced, tmp_path)), metric="auroc")
    with pytest.raises(UserError, match="no --metric with --on"):
        evaluate(model=str(model_folder), on="imagenet-a", metric="auroc")


def _one_class(unbalanced, tmp_path):
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "disc").symlink_to(unbalanced[0] / "disc")
    return folder


def test_a_run_chooses_and_decides_by_the_metric_and_its_report_shows_the_classes(photos, model_folder, tmp_path):
    given = {"model": str(model_folder), "images": str(photos[0]), "masks": str(photos[1]), "epochs": 2, "lr": 3e-4,
             "swaps": 1, "panels": 0, "samples_per_class": 2, "metric": "balanced-accuracy",
             "weight_interpolation": "auto", "select": "robust"}  # fmt: skip
    found = finetune(**given, out=str(tmp_path / "run"))
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(0 <= row["val_balanced_accuracy_mixed_other"] <= 1 for row in rows)
    tried = json.loads((tmp_path / "run" / "interpolation.json").read_text())
    assert "balanced-accuracy/mixed-other" in json.dumps(tried)
    assert found.verdict.metric == "balanced-accuracy"
    assert found.verdict.of("balanced-accuracy/mixed-other") is not None
    assert json.loads((tmp_path / "run" / "by_class.json").read_text())["classes"][0]["name"] == "disc"
    page = report(str(tmp_path / "run")).read_text()
    for words in ("Metrics over classes", "calibration error (ECE)", "Recall and precision of each class", "Confusions",
                  "ordinary balanced accuracy", "balanced accuracy on backgrounds of other classes"):  # fmt: skip
        assert words in page, words
    assert page.count("<svg") == 3, "loss, accuracy and the metric over epochs"
    with pytest.raises(UserError, match="metric"):
        finetune(**given | {"metric": "accuracy"}, out=str(tmp_path / "run"), resume=True)
