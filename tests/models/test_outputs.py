"""What networks return: the part that holds the logits, and outputs that are no logits."""

from __future__ import annotations

from collections import namedtuple
from types import SimpleNamespace

import pytest
import timm
import torch
from torch import nn

from helpers.small_models import SIZE, tiny_network, tiny_transformers
from robustvit import UserError, load_model, relevance
from robustvit.models.outputs import as_logits, logits_of, output_kind

IMAGES = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
LOGITS, OTHER = torch.randn(2, 3), torch.randn(2, 3)
TOKENS, LOSS = torch.randn(2, 5, 8), torch.tensor(0.5)


@pytest.mark.parametrize(
    "output",
    [
        LOGITS,
        (LOGITS,),
        (LOSS, LOGITS),
        [LOGITS, TOKENS],
        (LOGITS, [OTHER, OTHER], None),
        {"logits": LOGITS, "features": OTHER},
        {"loss": LOSS, "out": LOGITS},
        SimpleNamespace(logits=LOGITS, hidden_states=(OTHER, OTHER)),
        namedtuple("Outputs", ["logits", "aux_logits"])(LOGITS, OTHER),
    ],
)
def test_logits_are_found_by_rule(output):
    assert logits_of(output) is LOGITS


@pytest.mark.parametrize("output", [(LOGITS, OTHER), (LOGITS, torch.randn(2, 24)), {"a": LOGITS, "b": OTHER}])
def test_two_candidates_are_asked_about(output):
    with pytest.raises(UserError, match=r"got 2 tensors that could be them.*return the logits alone"):
        logits_of(output)


@pytest.mark.parametrize("output", [TOKENS, (TOKENS, LOSS), {}, None, "text"])
def test_without_logits_it_is_refused(output):
    with pytest.raises(UserError, match="expected a classifier that returns logits"):
        logits_of(output)


def test_heads_are_averaged_only_in_distilled_models():
    assert torch.equal(logits_of((LOGITS, OTHER), distilled=True), (LOGITS + OTHER) / 2)
    network = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=3, img_size=SIZE, depth=1)
    network.set_distilled_training(True)
    classifier = load_model(network)
    average = classifier(IMAGES)
    assert torch.equal(classifier.train()(IMAGES), average), "in training it returns both"


class Ending(nn.Module):
    def __init__(self, end):
        super().__init__()
        self.model, self.end = tiny_network(), end

    def forward(self, images):
        return self.end(self.model(images))


def test_a_pair_of_a_loss_and_logits_gives_the_models_logits():
    expected = load_model(tiny_network())
    for end in (lambda x: (x.sum(), x), lambda x: {"logits": x, "aux": x + 1}):
        assert torch.equal(load_model(Ending(end))(IMAGES), expected(IMAGES))
    with pytest.raises(UserError, match="tensors that could be them"):
        load_model(Ending(lambda x: (x, x + 1)))


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (lambda x: x.softmax(1), "probabilities"),
        (nn.Softmax(dim=-1), "probabilities"),
        (lambda x: x.log_softmax(1), "log-probabilities"),
        (torch.sigmoid, "sigmoids"),
        (lambda x: x.sigmoid().clone(), "sigmoids"),
        (lambda x: 1 * x, "logits"),
        (lambda x: 0 * x, "logits"),
        (lambda x: x.abs(), "logits"),
    ],
)
def test_outputs_that_are_no_logits_are_noticed(end, kind, capsys):
    logits = load_model(tiny_network())(IMAGES)
    classifier = load_model(Ending(end))
    assert classifier.head_kind == ("multi-label" if kind == "sigmoids" else "softmax")
    said = " ".join(capsys.readouterr().err.split())
    assert classifier.kind == kind
    assert ("sigmoids" in said, "probabilities" in said) == (kind == "sigmoids", kind.endswith("probabilities"))
    assert relevance(classifier, IMAGES).shape == (2, 1, SIZE, SIZE)
    if kind.endswith("probabilities"):
        assert torch.allclose(classifier(IMAGES).softmax(1), logits.softmax(1), atol=1e-6), "no second softmax"
    if kind == "sigmoids":
        assert torch.allclose(classifier(IMAGES), logits, atol=1e-4)


def test_a_certain_probability_has_a_finite_logarithm():
    certain = torch.tensor([[1.0, 0.0, 0.0]])
    assert output_kind(certain) == "probabilities"
    for kind in ("probabilities", "sigmoids"):
        assert as_logits(certain, kind).isfinite().all()


def test_transformers_say_whether_they_are_multi_label_or_a_regression(capsys, tmp_path):
    tiny_transformers(problem_type="multi_label_classification").save_pretrained(tmp_path / "m")
    for source in (tmp_path / "m", tiny_transformers(problem_type="multi_label_classification")):
        assert load_model(source).head_kind == "multi-label"
        assert "several labels a photo (--head multi-label, as the model says)" in capsys.readouterr().err
        assert load_model(source, head="softmax").head_kind == "softmax", "the user knows better"
    assert load_model(tiny_transformers(problem_type="regression")).head_kind == "regression"
    assert load_model(tiny_transformers(problem_type="multi_label_classification", num_labels=1)).head_kind == "binary"
    capsys.readouterr()
    assert load_model(tiny_transformers(problem_type="single_label_classification")).head_kind == "softmax"
    assert "--head" not in capsys.readouterr().err
