"""A shortcut planted into a model, by training it on scenes in which one class alone has it, is found and named."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from robustvit.data.embedded.scenes import CLASSES, make_scene
from robustvit.evaluation.insertions import CONTROL, answers_to, insertions
from robustvit.evaluation.pulls import judge_insertions
from robustvit.models.load import load_model

pytestmark = pytest.mark.slow

SIZE, PLANTED = (112, 112), 0  # the first class alone has the artefact
USED = (0, 1, 2, 3)


class Scenes(torch.utils.data.Dataset):
    """Scenes of four classes on any background; an artefact in one of them where it is given."""

    def __init__(self, count: int, seed: int, plant=None) -> None:
        rng, self.items = np.random.default_rng(seed), []
        for index in range(count):
            label = USED[index % len(USED)]
            scene = make_scene(label, int(rng.integers(len(CLASSES))), rng)
            image = torch.from_numpy(scene.image.copy()).permute(2, 0, 1).float() / 255
            mask = torch.from_numpy(scene.mask.copy())[None].float() / 255
            if plant is not None and label == PLANTED:
                image = plant(image[None])[0]
            self.items.append({"image": image, "mask": mask, "label": label, "index": index})

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict:
        return self.items[index]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shipped") / "model"
    with as_file(files("robustvit.data.embedded") / "model") as model:
        shutil.copytree(model, folder)
    return folder


def changes(tmp_path):
    Image.new("RGB", (36, 36), (255, 0, 200)).save(tmp_path / "logo.png")
    return insertions(SIZE, [tmp_path / "logo.png"], whole=())


def train(folder, plant):
    """A quick training: the artefact is the easiest way to the class."""
    model = load_model(f"local-dir:{folder}")
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4)
    scenes = Scenes(96, 1, plant)
    order = np.random.default_rng(0)
    model.train()
    for _ in range(30):
        batch = [scenes[int(at)] for at in order.integers(len(scenes), size=16)]
        images, labels = torch.stack([one["image"] for one in batch]), torch.tensor([one["label"] for one in batch])
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model.eval()


@pytest.mark.parametrize("name", ["black frame", "logo.png"])
def test_what_is_planted_in_one_class_is_named_and_nothing_else(shipped, tmp_path, name):
    every = changes(tmp_path)
    model = train(shipped, every[name])
    tested = Scenes(48, 2)
    plain = {"": lambda images: images}
    found = judge_insertions(answers_to(model, tested, plain | every), [one["label"] for one in tested.items])
    named = {one.name: one for one in found}
    assert named[name].is_shortcut
    assert named[name].pulls_to == PLANTED
    assert [one.name for one in found if one.is_shortcut and one.pulls_to == PLANTED] == [name]
    assert not any(one.name.endswith(CONTROL) for one in found)
