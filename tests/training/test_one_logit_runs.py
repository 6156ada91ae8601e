"""Models of one logit from finetuning to the report."""

from __future__ import annotations

import json
from functools import partial

import pytest
import yaml

from helpers.drawn_photos import write_photos
from helpers.small_models import tiny_network
from robustvit import UserError, audit, evaluate, export, finetune, load_model, report
from robustvit.models.baseline import load_original
from robustvit.models.save import save_model

FAST = {"epochs": 2, "lr": 3e-4, "swaps": 1, "panels": 1, "samples_per_class": 4}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    images, masks = write_photos(tmp_path_factory.mktemp("two"), 10, classes=("disc", "frame"))
    return {"images": str(images), "masks": str(masks)}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    made = load_model(tiny_network(1), head="binary", class_names=["disc", "frame"])
    return str(save_model(made, tmp_path_factory.mktemp("model") / "one"))


@pytest.fixture(scope="module")
def run(tmp_path_factory, two, model):
    out = tmp_path_factory.mktemp("run") / "run"
    return out, finetune(model=model, out=str(out), **two, **FAST)


def test_a_run_of_one_logit_is_judged_by_accuracy_and_can_be_loaded_and_resumed(run, two, model):
    out, found = run
    assert found.verdict.of("ordinary") is not None
    assert found.verdict.of("mixed-other") is not None
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert (config["head"], config["num_classes"]) == ("binary", 1)
    again = load_model(out)
    assert (again.head_kind, again.class_names) == ("binary", ("disc", "frame"))
    assert load_original(out).head_kind == "binary"
    assert finetune(model=model, out=str(out), resume=True, **two, **FAST).verdict == found.verdict
    with pytest.raises(UserError, match="head"):
        finetune(model=model, out=str(out), resume=True, head="regression", **two, **FAST)


def test_a_run_of_one_logit_is_evaluated_and_reported(run, two, tmp_path):
    found = evaluate(model=str(run[0]), baseline="original", swaps=1, **two, include_trained=True)
    assert found.verdict is not None
    assert "accuracy" in str(found)
    page = tmp_path / "report.html"
    report(str(run[0]), out=str(page))
    assert "frame" in page.read_text()


def test_both_answers_of_one_logit_are_audited(two, model, tmp_path):
    found = audit(model=model, out=str(tmp_path / "audit.html"), **two)
    assert (tmp_path / "audit.html").is_file()
    assert str(found)


@pytest.mark.parametrize("guidance", ["dfr", "last-layer", "rrr", "gradmask", "swap-relevance", "energy"])
def test_every_method_trains_one_logit(guidance, two, model, tmp_path):
    more = {} if guidance in ("dfr",) else {"epochs": 1}
    settings = {name: value for name, value in FAST.items() if guidance != "dfr" or name not in ("epochs", "lr")}
    finetune(model=model, out=str(tmp_path / "run"), guidance=guidance, **two, **settings | more | {"panels": 0})
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["train_loss"] is not None
    assert load_model(tmp_path / "run").outputs == 1


def test_regression_is_refused_by_name_where_classes_are_needed(two, tmp_path):
    model = load_model(tiny_network(1), head="regression")
    out = tmp_path / "out.html"
    for call in (partial(finetune, out=str(out)), partial(audit, out=str(out)), evaluate):
        with pytest.raises(UserError, match=r"regression.*explain can use it"):
            call(model=model, **two)
    assert not out.exists()


def test_an_exported_model_of_one_logit_says_what_its_logit_is(run, tmp_path):
    export(str(run[0]), out=str(tmp_path / "shared"))
    assert "one logit" in (tmp_path / "shared" / "README.md").read_text()
    assert load_model(tmp_path / "shared").head_kind == "binary"
