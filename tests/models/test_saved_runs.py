"""A run that was trained can be loaded: modules from Python are saved as what they are, tried out before training."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from helpers.drawn_photos import CLASSES
from helpers.small_models import SIZE, tiny_network
from robustvit import Classifier, UserError, finetune, load_model
from robustvit.models.baseline import load_original
from robustvit.models.preprocessing import Preprocessing
from robustvit.models.save import save_model, settle_saving

IMAGES = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
FAST = {"epochs": 1, "lr": 1e-3, "swaps": 1, "panels": 0, "validation_per_class": 2, "samples_per_class": 1}


class Small(nn.Module):
    """A custom convolutional network."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 5, 2), nn.GELU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.out = nn.Linear(32, 3)

    def forward(self, images):
        return {"logits": self.out(self.layers(images))}


def trained(model, photos, out, **options):
    images, masks = map(str, photos)
    finetune(model=model, images=images, masks=masks, out=str(out), **(FAST | options))
    return out / "best"


def test_a_wrapped_model_with_a_head_by_hand_is_trained_and_loaded_again(photos, tmp_path):
    network = tiny_network(1000)
    network.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(24, 3))
    given = nn.DataParallel(network)
    before = {name: one.clone() for name, one in given.state_dict().items()}
    best = trained(given, photos, tmp_path / "run")
    again = load_model(best)
    assert (again.num_classes, again.class_names) == (3, CLASSES), "the folders' names, not ImageNet's"
    assert json.loads((best / "config.json").read_text())["library"] == "timm"
    assert not torch.equal(again(IMAGES), load_model(given)(IMAGES)), "it was trained"
    assert all(torch.equal(before[name], one) for name, one in given.state_dict().items())


def test_a_module_of_ones_own_is_trained_and_loaded_with_its_preprocessing(photos, tmp_path):
    how = {"mean": "0.1,0.2,0.3", "std": 0.25, "input_size": SIZE, "relevance": "grad_cam"}
    with pytest.raises(UserError, match="nothing says how photos are prepared for Small"):
        trained(Small(), photos, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    best = trained(Small(), photos, tmp_path / "run", **how)
    again = load_model(Small(), checkpoint=best / "model.safetensors")
    assert again.preprocessing == Preprocessing((SIZE, SIZE), (0.1, 0.2, 0.3), (0.25,) * 3)
    assert again.class_names == CLASSES
    with pytest.raises(UserError, match="load your own module"):
        load_model(best)


def test_given_preprocessing_belongs_to_the_original_too(model_folder, photos, tmp_path):
    trained(str(model_folder), photos, tmp_path / "run", mean="0.4,0.4,0.4", std="0.3", interpolation="bilinear")
    for found in (load_original(tmp_path / "run"), load_model(tmp_path / "run")):
        assert (found.preprocessing.mean, found.preprocessing.std) == ((0.4,) * 3, (0.3,) * 3)
        assert found.preprocessing.interpolation == "bilinear"


def test_a_model_that_its_library_cannot_build_again_is_saved_as_weights(tmp_path, capsys):
    network = tiny_network()
    network.blocks = network.blocks[:2]
    classifier = load_model(network)
    settle_saving(classifier, network)
    said = " ".join(capsys.readouterr().err.split())
    assert "changed in a way that timm cannot build again" in said
    file = save_model(classifier, tmp_path / "m") / "model.safetensors"
    fresh = tiny_network()
    fresh.blocks = fresh.blocks[:2]
    nn.init.zeros_(fresh.head.weight)
    assert torch.equal(load_model(fresh, checkpoint=file)(IMAGES), classifier(IMAGES))


def test_a_class_derived_from_a_librarys_is_a_module_of_ones_own(tmp_path, capsys):
    network = tiny_network()
    network.__class__ = type(
        "Doubled", (type(network),), {"forward": lambda self, x: 2 * self.forward_features(x)[:, 0]}
    )
    network.head = nn.Identity()
    classifier = load_model(network)
    assert classifier.num_classes == 24
    settle_saving(classifier, network)
    folder = save_model(classifier, tmp_path / "m")
    assert json.loads((folder / "config.json").read_text())["library"] == "module"


def test_what_cannot_be_saved_is_refused_before_training(photos, tmp_path):
    class Odd(Small):
        def get_extra_state(self):
            return {"not": "a tensor"}

        def set_extra_state(self, state):
            pass

    classifier = Classifier(Odd(), preprocessing=Preprocessing((SIZE, SIZE)))
    with pytest.raises(UserError, match="Odd cannot be saved, so it cannot be trained"):
        trained(classifier, photos, tmp_path / "run", relevance="grad_cam")
    assert not (tmp_path / "run").exists()


def test_settling_changes_nothing_of_a_model_that_can_be_saved(capsys):
    classifier = load_model(tiny_network()).train()
    state = torch.get_rng_state()
    settle_saving(classifier, classifier.network)
    assert torch.equal(torch.get_rng_state(), state)
    assert classifier.training
    assert not capsys.readouterr().err
