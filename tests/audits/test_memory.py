"""Answers that repeat are computed once, a budget is kept, and a stopped audit resumes."""

from __future__ import annotations

import json

import pytest
import torch

from helpers.drawn_photos import write_photos
from helpers.small_models import SIZE, tiny_network
from robustvit import UserError, audit
from robustvit.audits.memory import Memory
from robustvit.cli import main as cli
from robustvit.evaluation.asking import Asking
from robustvit.models.classifier import Classifier, Preprocessing

FEW = {"tries": 2, "shifted": 2, "worst": 2, "regions": 2}


def small_model() -> Classifier:
    torch.manual_seed(0)
    plain = Preprocessing((SIZE, SIZE), crop_share=1.0)
    return Classifier(tiny_network(), preprocessing=plain, source="tiny").eval()


def counted(model: Classifier) -> list[int]:
    """Count the pictures that go through a model, by a hook of our own."""
    found: list[int] = []
    model.network.register_forward_pre_hook(lambda _, given: found.append(len(given[0])))
    return found


@pytest.fixture
def drawn(tmp_path):
    images, masks = write_photos(tmp_path, 5)
    return {"images": str(images), "masks": str(masks), "device": "cpu"}


def test_equal_pictures_are_asked_once_with_the_same_answers():
    model, memory = small_model(), Memory()
    images = torch.rand(4, 3, SIZE, SIZE)
    passes = counted(model)
    expected = Asking().logits(model, images)
    assert torch.equal(memory.logits(model, images), expected)
    again = memory.logits(model, torch.cat([images[2:], images[:1], torch.zeros(2, 3, SIZE, SIZE)]))
    assert torch.equal(again[:3], expected[[2, 3, 0]])
    assert torch.equal(again[3], again[4])
    assert passes == [4, 4, 1]
    assert memory.repeated == 4


def test_a_map_and_the_features_also_give_the_answer():
    model, memory = small_model(), Memory()
    images = torch.rand(3, 3, SIZE, SIZE)
    passes = counted(model)
    logits, maps = memory.explain(model, images, "gae")
    assert torch.equal(memory.logits(model, images), logits)
    assert torch.equal(memory.explain(model, images[1:], "gae")[1], maps[1:])
    assert passes == [3]
    others = torch.rand(2, 3, SIZE, SIZE)
    features = memory.features(model, others)
    assert torch.allclose(features, Asking().features(model, others))
    answered = memory.logits(model, others)
    assert passes == [3, 2, 2]
    assert torch.allclose(answered, Asking().logits(model, others), atol=1e-6)


def test_other_weights_have_other_answers():
    first, second, memory = small_model(), small_model(), Memory()
    images = torch.rand(2, 3, SIZE, SIZE)
    with torch.no_grad():
        next(second.network.parameters()).add_(1)
    assert not torch.equal(memory.logits(first, images), memory.logits(second, images))


def test_answers_are_read_again_and_broken_or_foreign_files_do_no_harm(tmp_path):
    model, folder = small_model(), tmp_path / "a-unfinished"
    images = torch.rand(2, 3, SIZE, SIZE)
    memory = Memory(folder)
    found = memory.logits(model, images)
    memory.save()
    (folder / "00007.safetensors").write_bytes(b"broken")
    (folder / "notes.txt").write_text("mine")
    resumed = Memory(folder)
    passes = counted(model)
    assert torch.equal(resumed.logits(model, images), found)
    assert passes == []
    assert resumed.resumed == 2
    resumed.logits(model, torch.zeros(1, 3, SIZE, SIZE))
    resumed.save()
    resumed.forget()
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_quick_keeps_to_twelve_passes_a_photo_and_says_what_it_spent(drawn, tmp_path):
    model = small_model()
    passes = counted(model)
    found = audit(model=model, **drawn, out=str(tmp_path / "a.html"), budget="quick", worst=3)
    record = json.loads(found.record.read_text())
    assert passes.pop(0) == 1, "the relevance method is tried on one grey image first"
    assert sum(passes) == record["spent"]["passes"]["model"] <= 12 * record["count"]
    assert record["spent"]["a_photo"]["model"] == sum(passes) / record["count"]
    assert sum(step["passes"].get("model", 0) for step in record["spent"]["steps"]) == sum(passes)
    assert record["regions"]
    assert all(one["tested"] <= len(one["photos"]) for one in record["regions"])
    assert record["shifts"] == []
    assert record["settings"]["tries"] == 2
    assert "forward passes a photo (quick budget)" in str(found)


def test_the_backgrounds_of_the_verdict_are_tried_without_further_passes(drawn, tmp_path):
    options = {**drawn, "budget": "full", **FEW}
    found = audit(model=small_model(), out=str(tmp_path / "a.html"), **options)
    spent = json.loads(found.record.read_text())["spent"]
    verdict = next(step for step in spent["steps"] if step["name"] == "verdict")
    assert verdict["repeated"] >= 2 * len(found.found.files), "two tries are those of the cost"


def assert_same(one, other):
    """Compare values of JSON; other batches give other roundings."""
    if isinstance(one, dict):
        assert list(one) == list(other)
        for name, value in one.items():
            assert_same(value, other[name])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_same(left, right)
    else:
        assert one == (pytest.approx(other, abs=1e-4) if isinstance(one, float) else other)


class Interrupted(torch.nn.Module):
    """A network that is stopped after some passes."""

    def __init__(self, inner, after):
        super().__init__()
        self.inner, self.left, self.num_classes = inner, after, inner.num_classes

    def forward(self, images):
        self.left -= len(images)
        if self.left < 0:
            raise KeyboardInterrupt
        return self.inner(images)


@pytest.mark.slow
def test_a_stopped_audit_resumes_and_comes_to_the_same(drawn, tmp_path):
    options = {**drawn, **FEW, "relevance": "input_gradient", "batch_size": 4}

    def model(after):
        whole = small_model()
        return Classifier(Interrupted(whole.network, after), preprocessing=whole.preprocessing, source="tiny")

    once = audit(model=model(10**6), out=str(tmp_path / "once.html"), **options)
    total = json.loads(once.record.read_text())["spent"]["passes"]["model"]
    stopped = model(total // 2)
    with pytest.raises(KeyboardInterrupt):
        audit(model=stopped, out=str(tmp_path / "a.html"), **options)
    assert (tmp_path / "a-unfinished").is_dir()
    stopped.network.left = 10**6
    found = audit(model=stopped, out=str(tmp_path / "a.html"), **options)
    assert not (tmp_path / "a-unfinished").exists()
    first, second = (json.loads(one.record.read_text()) for one in (once, found))
    lost = 2 * 4 + len(found.found.files)  # the batch that was stopped, a few passes before any is counted, features
    assert second["spent"]["passes"]["model"] <= total - total // 2 + lost
    assert second["spent"]["resumed"] > 0
    for one in (first, second):
        del one["spent"]
        del one["settings"]["out"]
    assert_same(first, second)


def test_without_masks_what_is_relevant_anywhere_is_shown(drawn, tmp_path):
    options = {"images": drawn["images"], "device": "cpu", "without_masks": True, **FEW}
    found = audit(model=small_model(), out=str(tmp_path / "a.html"), **options)
    assert found.reliance == "cannot tell"
    assert found.found.regions
    page = found.page.read_text()
    assert "What it looks at </h2>" in page
    assert "ordinary" in found.found.model.measures
    with pytest.raises(UserError, match="--without-masks or --masks"):
        audit(model=small_model(), out=str(tmp_path / "b.html"), **(options | {"masks": drawn["masks"]}))


def test_a_limit_gives_exit_code_1_and_the_page_all_the_same(drawn, tmp_path, model_folder, monkeypatch, capsys):
    from robustvit.audits import audit_data

    arguments = ["audit", "--model", f"local-dir:{model_folder}", "--images", drawn["images"], "--masks"]
    arguments += [drawn["masks"], "--device", "cpu", "--budget", "quick", "--regions", "0", "--out"]
    assert cli.main([*arguments, str(tmp_path / "a.html"), "--fail-if", "strong"]) == 0
    summary = json.loads((tmp_path / "a.json").read_text())["summary"]
    assert summary["fails"]["strong"] is False
    judged = audit_data.AuditVerdict("strong reliance", "It does.")
    monkeypatch.setattr(audit_data, "judge", lambda *_: judged)
    for limit in ("strong", "any"):
        out = tmp_path / f"{limit}.html"
        assert cli.main([*arguments, str(out), "--fail-if", limit]) == 1
        assert out.is_file()
        summary = json.loads(out.with_suffix(".json").read_text())["summary"]
        assert summary["reliance"] == "strong reliance"
        assert summary["fails"] == {"strong": True, "any": True}
    assert cli.main([*arguments, str(tmp_path / "c.html")]) == 0
    assert cli.main([*arguments, str(tmp_path / "d.html"), "--fail-if", "weak"]) == 2
    assert "robustvit audit" in capsys.readouterr().err
