"""Several models on the same photos: a page for each, and one that compares them."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from helpers.browser import chromium, opened
from helpers.drawn_photos import write_photos
from robustvit.cli import main as cli
from robustvit.models.load import load_model
from robustvit.models.save import save_model


@pytest.fixture(scope="module")
def world(tmp_path_factory, model_folder):
    folder = tmp_path_factory.mktemp("compared")
    images, masks = write_photos(folder, 4)
    shutil.copytree(model_folder, folder / "first")
    other = load_model(f"local-dir:{model_folder}")
    with torch.no_grad():
        for weights in other.network.parameters():
            weights.add_(0.05 * torch.randn(weights.shape, generator=torch.Generator().manual_seed(1)))
    save_model(other, folder / "second")
    arguments = ["audit", "--model", f"local-dir:{folder / 'first'}", "--images", str(images), "--masks", str(masks)]
    arguments += ["--device", "cpu", "--budget", "quick", "--regions", "2"]
    return folder, arguments


def test_two_models_are_compared_photo_by_photo(world, capsys):
    folder, arguments = world
    out = folder / "both.html"
    assert cli.main([*arguments, "--compare", f"local-dir:{folder / 'second'}", "--out", str(out)]) == 0
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["kind"] == "robustvit-audit-comparison"
    singles = [json.loads((folder / f"both-{number}.json").read_text()) for number in (1, 2)]
    for row, single in zip(record["models"], singles, strict=True):
        assert row["verdict"] == single["verdict"]["model"]
        assert row["measures"]["ordinary"] == single["measures"]["ordinary"]["model"]
    right = [[photo["model"]["right"] for photo in single["photos"]] for single in singles]
    change = record["models"][1]["differences"]["ordinary"]["mean"]
    assert change == pytest.approx(sum(b - a for a, b in zip(*right, strict=True)) / len(right[0]))
    assert record["models"][0]["differences"] == {}
    page = out.read_text()
    assert 'href="both-2.html"' in page
    assert "<script" not in page
    assert capsys.readouterr().out.count("forward passes a photo") == 2
    with chromium() as browser, opened(browser, out, width=390) as shown:
        assert shown.evaluate("document.documentElement.scrollWidth") <= 390


def test_mistakes_are_refused_before_anything_is_audited(world, tmp_path):
    _, arguments = world
    out = tmp_path / "a.html"
    from robustvit.audits.comparison import MOST_MODELS

    for given, words in (
        (["--compare", ",".join(["x"] * MOST_MODELS)], "at most 4 models"),
        (["--compare", "x,,y"], "MODEL,MODEL"),
        (["--compare", "x", "--baseline", "y"], "--compare or --baseline"),
    ):
        assert cli.main([*arguments, *given, "--out", str(out)]) == 2, words
    (tmp_path / "a-2.html").write_text("mine")
    assert cli.main([*arguments, "--compare", "x", "--out", str(out)]) == 2
    assert (tmp_path / "a-2.html").read_text() == "mine"
    assert not out.exists()


def test_the_metric_that_decides_is_compared_and_shown_first(world):
    folder, arguments = world
    out = folder / "balanced.html"
    given = ["--compare", f"local-dir:{folder / 'second'}", "--metric", "balanced-accuracy", "--out", str(out)]
    assert cli.main([*arguments, *given]) == 0
    record = json.loads(out.with_suffix(".json").read_text())
    cost = "balanced-accuracy/cost"
    for number, row in enumerate(record["models"], 1):
        single = json.loads((folder / f"balanced-{number}.json").read_text())
        assert row["measures"][cost] == single["measures"][cost]["model"]
    first, second = record["models"]
    change = second["measures"][cost]["mean"] - first["measures"][cost]["mean"]
    assert second["differences"][cost]["mean"] == pytest.approx(change)
    page = out.read_text()
    assert "By balanced accuracy, which decides" in page
    assert "% balanced accuracy on the photos as they are" in page
    assert "right on the photos as they are" not in page
