"""Objects beside the class's own: one that a model answers by is found, one that it ignores is not."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from helpers.small_models import SIZE
from robustvit import UserError, audit
from robustvit.models.classifier import Classifier, Preprocessing


class ByRed(nn.Module):
    """Answers wagon where there is a red corner, else horse."""

    num_classes = 2

    def __init__(self, gain=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(gain))

    def forward(self, images):
        corner = images[..., :8, :8].mean(dim=(2, 3)) * self.weight
        return torch.stack([1.6 - (corner[:, 0] - corner[:, 1]), corner[:, 0] - corner[:, 1] - 1.6], dim=1) * 5


@pytest.fixture
def annotated(tmp_path):
    """Photos of horses and wagons; each wagon has a red wheel in its corner, and a grey tree stands in all photos."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for label, name in enumerate(("horse", "wagon")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(12):
            pixels = rng.uniform(0.4, 0.6, (SIZE, SIZE, 3))
            if label:
                pixels[:8, :8] = (1.0, 0.0, 0.0)
            pixels[-8:, -8:] = 0.2
            file = f"{name}/{number:02d}.png"
            Image.fromarray((255 * pixels).astype(np.uint8)).save(tmp_path / "photos" / file)
            images.append({"id": len(images) + 1, "file_name": file, "width": SIZE, "height": SIZE})
            boxes = [(1, (16, 16, 16, 16)), (3, (SIZE - 8, SIZE - 8, 8, 8))] + [(2, (0, 0, 8, 8))] * label
            for category, (x, y, w, h) in boxes:
                corners = [x, y, x + w, y, x + w, y + h, x, y + h]
                annotations.append({"id": len(annotations) + 1, "image_id": len(images), "category_id": category,
                                    "segmentation": [corners], "bbox": [x, y, w, h], "area": w * h,
                                    "iscrowd": 0})  # fmt: skip
    categories = [{"id": 1, "name": "horse"}, {"id": 2, "name": "wheel"}, {"id": 3, "name": "tree"}]
    file = tmp_path / "objects.json"
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return tmp_path / "photos", file


def test_the_wheel_decides_and_the_tree_does_not(annotated, tmp_path, capsys):
    images, objects = annotated
    model = Classifier(
        ByRed(), preprocessing=Preprocessing((SIZE, SIZE), crop_share=1.0), class_names=["horse", "wagon"]
    )
    options = {"model": model, "images": str(images), "without_masks": True, "relevance": "input_gradient"}
    options |= {"budget": "quick", "device": "cpu"}
    found = audit(**options, objects=str(objects), out=str(tmp_path / "a.html"))
    wheel = next(one for one in found.found.companions if one.name == "wheel")
    tree = next(one for one in found.found.companions if one.name == "tree")
    assert wheel.classes == {"wagon": 12}
    assert wheel.decides
    assert wheel.accuracy.mean == -1
    assert tree.classes == {"horse": 12, "wagon": 12}
    assert not tree.decides
    horse = next(one for one in found.found.companions if one.name == "horse")
    assert horse.classes == {"wagon": 12}, "in photos of its own class, it is the object"
    assert wheel.risen is None
    assert "wheel beside the object decides" in str(found)
    text = found.page.read_text()
    assert "wheel: it decides answers" in text
    first_screen = text[: text.index('class="three"')]
    assert "Other shortcuts:" in first_screen
    assert "wheel;" in first_screen
    assert json.loads(found.record.read_text())["summary"]["fails"] == {"strong": False, "any": True}
    capsys.readouterr()
    with pytest.raises(UserError, match="expected annotations at"):
        audit(**options, objects=str(tmp_path / "none.json"), out=str(tmp_path / "b.html"))
    assert capsys.readouterr().err == "", "a wrong path is refused before anything is measured"


def test_an_object_that_decides_more_than_in_the_baseline_is_one_shortcut_for_another(annotated, tmp_path):
    images, objects = annotated
    plain = Preprocessing((SIZE, SIZE), crop_share=1.0)
    model, blind = (
        Classifier(network, preprocessing=plain, class_names=["horse", "wagon"]) for network in (ByRed(), ByRed(0.0))
    )
    options = {"images": str(images), "without_masks": True, "relevance": "input_gradient", "objects": str(objects)}
    options |= {"budget": "quick", "device": "cpu"}
    worse = audit(model=model, baseline=blind, out=str(tmp_path / "a.html"), **options)
    wheel = next(one for one in worse.found.companions if one.name == "wheel")
    assert wheel.baseline.mean == 0
    assert wheel.risen.mean == 1
    assert "one shortcut for another: blurring wheel costs +100.0" in str(worse)
    risen = json.loads(worse.record.read_text())["summary"]["shortcuts"]
    assert {"kind": "risen", "name": "blurring wheel"} in risen
    assert "<strong>One shortcut for another:</strong> blurring wheel;" in worse.page.read_text()
    better = audit(model=blind, baseline=model, out=str(tmp_path / "b.html"), **options)
    assert "one shortcut for another" not in str(better)
    wheel = next(one for one in better.found.companions if one.name == "wheel")
    assert wheel.risen.mean == -1
