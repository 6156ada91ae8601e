"""The demonstration and the model it comes with, on fewer scenes."""

from __future__ import annotations

import json

import pytest
import timm

from helpers.shipped import MODEL
from robustvit import UserError, demo
from robustvit.cli import demo as demonstration
from robustvit.data.embedded.scenes import CLASSES, SHIFTS


def test_shipped_model_is_small_and_loads_without_us():
    assert sum(entry.stat().st_size for entry in MODEL.iterdir()) < 10e6
    network = timm.create_model(f"local-dir:{MODEL}", pretrained=True)
    assert network.num_classes == len(CLASSES)
    assert tuple(network.pretrained_cfg["label_names"]) == CLASSES
    assert "MIT" in (MODEL / "ORIGIN.md").read_text()


@pytest.mark.slow
def test_demo_goes_the_whole_path(tmp_path, monkeypatch):
    for name in ("TRAIN_PER_CLASS", "VALIDATION_PER_CLASS", "TEST_PER_CLASS"):
        monkeypatch.setattr(demonstration, name, 2)
    monkeypatch.setattr(demonstration, "SHIFTED_PER_CLASS", 1)
    monkeypatch.setitem(demonstration.SETTINGS, "epochs", 1)
    monkeypatch.setitem(demonstration.SETTINGS, "samples_per_class", 1)
    said = demo(out=str(tmp_path / "demo"))
    report = tmp_path / "demo" / "report.html"
    assert str(said).endswith(f"report: {report}")
    shifts = json.loads((tmp_path / "demo" / "run" / "shifts.json").read_text())
    assert [row["measure"] for row in shifts] == ["swapped", *SHIFTS]
    assert all(row["difference"]["count"] == len(CLASSES) for row in shifts)
    page = report.read_text()
    assert "Shifted tests" in page
    assert all(name in page for name in SHIFTS)
    assert said == demo(out=str(tmp_path / "demo")), "a second call finds the finished run"
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "file").write_text("words")
    with pytest.raises(UserError, match="was not written by robustvit demo"):
        demo(out=str(tmp_path / "theirs"))


@pytest.mark.slow
def test_base_model_looks_at_the_background(tmp_path):
    """What the demo repairs must be there: right on ordinary scenes, often wrong when the background changes."""
    from robustvit import evaluate
    from robustvit.data.embedded.scenes import write_split

    write_split(tmp_path / "plain", 4, seed=11)
    write_split(tmp_path / "swapped", 4, seed=11, swapped=True)
    plain, swapped = (
        evaluate(model=f"local-dir:{MODEL}", images=str(tmp_path / name / "images")).measures["ordinary"].mean
        for name in ("plain", "swapped")
    )
    assert plain > 0.9
    assert swapped < plain - 0.2
