"""Models of thousands of classes: nothing that is kept or written grows with their square."""

from __future__ import annotations

import resource
import sys

import numpy as np
import pytest
from PIL import Image

from helpers.small_models import tiny_network
from robustvit import evaluate, load_model

CLASSES = 21_000  # ImageNet-21k has 21,841


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
def test_twenty_one_thousand_classes_are_evaluated(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "masks").mkdir()
    rows = ["image,label"]
    for number in range(300):
        Image.fromarray(rng.integers(0, 255, (32, 32, 3)).astype(np.uint8)).save(tmp_path / f"{number}.png")
        mask = np.zeros((32, 32), dtype=np.uint8)
        mask[8:24, 8:24] = 255
        Image.fromarray(mask).save(tmp_path / "masks" / f"{number}.png")
        rows.append(f"{number}.png,{number * 70}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    names = [str(label) for label in range(CLASSES)]
    model = load_model(tiny_network(CLASSES, img_size=32), class_names=names)
    other = load_model(tiny_network(CLASSES, img_size=32), class_names=names)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    out = tmp_path / "record.json"
    found = evaluate(
        model=model, baseline=other, images=str(tmp_path / "list.csv"), masks=str(tmp_path / "masks"), out=str(out)
    )
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert found.verdict is not None
    assert out.stat().st_size < 3e6
    assert grown < 700, "a matrix of 21,000 x 21,000 numbers takes 1,700 MB and more"
