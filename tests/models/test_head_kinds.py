"""What the outputs of a model mean: told, asked for, saved and loaded again."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from helpers.small_models import SIZE, tiny_network, tiny_torchvision, tiny_transformers
from robustvit import UserError, load_model
from robustvit.models.classifier import Classifier
from robustvit.models.save import save_model

IMAGES = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(5))


class Ending(nn.Module):
    def __init__(self, outputs: int, end) -> None:
        super().__init__()
        self.inside, self.end = tiny_network(outputs), end

    def forward(self, images):
        return self.end(self.inside(images))


def test_one_output_is_asked_about():
    with pytest.raises(UserError, match=r"give --head binary .* or --head regression"):
        load_model(tiny_network(1))
    with pytest.raises(UserError, match="one number per photo"):
        load_model(Ending(1, lambda x: 2 * x))


def test_a_sigmoid_at_the_end_or_two_names_say_that_one_output_is_a_class_and_its_absence():
    assert load_model(Ending(1, torch.sigmoid)).head_kind == "binary"
    named = load_model(tiny_network(1), class_names=["sound", "broken"])
    assert (named.head_kind, named.num_classes, named.outputs, named.name_of(0)) == ("binary", 2, 1, "sound")


def test_one_logit_answers_as_two_classes_whose_softmax_is_its_sigmoid():
    network = tiny_network(1)
    classifier = load_model(network, head="binary")
    with torch.no_grad():
        score = network((IMAGES - classifier.mean) / classifier.std)
        logits = classifier(IMAGES)
    assert torch.equal(logits, torch.cat((torch.zeros_like(score), score), dim=1))
    sigmoid = 1 / (1 + (-score.double()).exp())
    assert torch.allclose(classifier.probabilities(logits).double(), torch.cat((1 - sigmoid, sigmoid), 1), atol=1e-6)


@pytest.mark.parametrize("kind", ["softmax", "multi-label"])
def test_one_output_is_no_choice_among_classes(kind):
    with pytest.raises(UserError, match="give --head binary"):
        load_model(tiny_network(1), head=kind)


def test_several_outputs_are_not_one_logit_and_a_softmax_is_not_multi_label():
    with pytest.raises(UserError, match="has 3"):
        load_model(tiny_network(), head="binary")
    with pytest.raises(UserError, match="ends in a softmax"):
        load_model(Ending(3, nn.Softmax(dim=1)), head="multi-label")


@pytest.mark.parametrize(
    "make", [tiny_network, lambda n: tiny_transformers(num_labels=n), lambda n: tiny_torchvision(num_classes=n)]
)
@pytest.mark.parametrize(("kind", "outputs"), [("binary", 1), ("multi-label", 3), ("regression", 1), ("ordinal", 3)])
def test_a_saved_model_keeps_its_kind_of_head(make, kind, outputs, tmp_path, capsys):
    names = {"binary": ("sound", "broken"), "multi-label": ("a", "b", "c")}.get(kind)
    classifier = load_model(make(outputs), head=kind, class_names=names)
    again = load_model(save_model(classifier, tmp_path / "model"))
    assert (again.head_kind, again.class_names, again.outputs) == (kind, classifier.class_names, outputs)
    with torch.no_grad():
        assert torch.allclose(again(IMAGES), classifier(IMAGES), atol=1e-5)
    assert "--head" not in capsys.readouterr().err, "its own folder is no news"


def test_a_saved_model_of_one_logit_is_an_ordinary_model_of_timm(tmp_path):
    import timm

    classifier = load_model(tiny_network(1), head="binary", class_names=["sound", "broken"])
    folder = save_model(classifier, tmp_path / "model")
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    with torch.no_grad():
        assert torch.equal(network(IMAGES), classifier.network(IMAGES))


def test_a_saved_model_of_one_logit_is_an_ordinary_model_of_transformers(tmp_path):
    from transformers import AutoModelForImageClassification

    classifier = load_model(tiny_transformers(num_labels=1), head="binary", class_names=["sound", "broken"])
    folder = save_model(classifier, tmp_path / "model")
    assert AutoModelForImageClassification.from_pretrained(folder)(IMAGES).logits.shape == (2, 1)


def test_who_knows_better_than_the_model_is_believed_when_it_is_loaded_again(tmp_path):
    classifier = load_model(tiny_transformers(problem_type="multi_label_classification"), head="softmax")
    assert load_model(save_model(classifier, tmp_path / "model")).head_kind == "softmax"
    assert load_model(classifier).head_kind == "softmax"


def test_an_unknown_kind_of_head_in_a_folder_is_named(tmp_path):
    folder = save_model(Classifier(tiny_network()), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"head": "hydra"}))
    with pytest.raises(UserError, match="says head 'hydra'"):
        load_model(folder)
