"""Other shortcuts: what is put in, what a planted one does, and counts by a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from robustvit import UserError
from robustvit.evaluation.insertions import CONTROL, WHOLE, answers_to, file_mark, insertions, text_mark
from robustvit.evaluation.pulls import judge_insertions, risen_costs


class Photos(torch.utils.data.Dataset):
    """Photos of noise with a class each; class 0 is bright, 1 dark."""

    def __init__(self, count=60, side=40):
        rng = np.random.default_rng(0)
        self.labels = rng.integers(0, 3, count).tolist()
        self.images = torch.tensor(rng.uniform(0.3, 0.6, (count, 3, side, side)), dtype=torch.float32)
        for image, label in zip(self.images, self.labels, strict=True):
            image[:, : side // 2, : side // 2] = label / 2

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return {"image": self.images[index], "label": self.labels[index]}


def answers(model, photos):
    plain = model(photos.images).argmax(dim=1).tolist()
    return {"": plain} | answers_to(model, photos, insertions((40, 40)))


class Corner(torch.nn.Module):
    """Right by the upper left quarter, unless a mark that it learned lies on the photo: then always class 2."""

    def __init__(self, mark=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.mark = mark

    def forward(self, images):
        side = images.shape[-1]
        level = images[:, :, 4 : side // 2 - 4, 4 : side // 2 - 4].mean(dim=(1, 2, 3))
        logits = torch.stack([-(level - label / 2).abs() for label in range(3)], dim=1)
        if self.mark is not None:
            logits[:, 2] += 10 * self.mark(images)
        return logits


def has_frame(images):
    return (images[..., 0, :].amax(dim=(1, 2)) == 0).float()


def test_a_planted_frame_is_found_and_nothing_else_is():
    photos = Photos()
    found = judge_insertions(answers(Corner(has_frame), photos), photos.labels)
    light = ["darker"]  # the class is how bright a quarter is: that is named too
    assert [one.name for one in found if one.is_shortcut] == ["black frame", *light]
    frame = next(one for one in found if one.name == "black frame")
    assert frame.pulls_to == 2
    assert frame.pull.mean == 1
    assert frame.change.high < -0.3
    honest = answers(Corner(), photos)
    assert [one.name for one in judge_insertions(honest, photos.labels) if one.is_shortcut] == light
    mole = risen_costs(honest, answers(Corner(has_frame), photos), photos.labels)
    assert list(mole) == ["black frame"]
    assert not risen_costs(honest, honest, photos.labels)


def test_a_file_of_the_users_own_is_put_in(tmp_path):
    red = Image.new("RGBA", (30, 30), (255, 0, 0, 255))
    red.save(tmp_path / "ruler.png")
    images = torch.full((2, 3, 60, 90), 0.5)
    changed = insertions((60, 90), [tmp_path / "ruler.png"])["ruler.png"](images)
    assert changed[0, :, -1, -1].tolist() == pytest.approx([1, 0, 0])
    assert torch.equal(changed[..., :30, :45], images[..., :30, :45])
    assert float((changed != images).any(dim=1).float().mean()) == pytest.approx(20 * 20 / (60 * 90), abs=0.01)
    (tmp_path / "text.png").write_text("no picture")
    for wrong in ("text.png", "missing.png"):
        with pytest.raises(UserError, match="--insert"):
            file_mark((60, 90), tmp_path / wrong)


def test_a_model_that_any_change_confuses_has_no_shortcut():
    """White marks turn photos into class 2 whatever they are: so does the control."""

    def brightness(images):
        return (images.amax(dim=(1, 2, 3)) > 0.7).float()

    photos = Photos()
    for image in photos.images:
        image.clamp_(max=0.55)
    found = judge_insertions(answers(Corner(brightness), photos), photos.labels)
    text = next(one for one in found if one.name.startswith("text"))
    assert text.pull.low > 0.5
    assert not text.is_shortcut


def test_what_is_put_in_stays_in_range_and_changes_something():
    images = torch.rand(3, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    for name, change in insertions((48, 48)).items():
        changed = change(images)
        assert changed.shape == images.shape, name
        assert 0 <= float(changed.min()) <= float(changed.max()) <= 1 + 1e-6, name
        assert float((changed - images).abs().mean()) > 0.005, name
    grey = WHOLE["grey"](images)
    assert torch.allclose(grey[:, 0], grey[:, 1])
    assert 0.02 < float((text_mark((48, 48), "SAMPLE")[3] > 0).float().mean()) < 0.6


def test_a_text_that_the_font_lacks_is_refused():
    for text, said in (("捷径", "--insert"), ("  ", "with letters")):
        with pytest.raises(UserError, match=said):
            text_mark((48, 48), text)
    assert float(text_mark((48, 48), "Хутор № 5?")[3].max()) > 0.5


def test_a_change_of_the_whole_photo_is_compared_with_one_of_another_kind():
    labels, plain = [0, 1, 2] * 40, [0, 1, 2] * 40
    to_two = [2] * 120
    same = judge_insertions({"": plain, "blurred": to_two, "grey": to_two}, labels)
    assert not any(one.is_shortcut for one in same)
    blurred, compressed, grey = judge_insertions(
        {"": plain, "blurred": to_two, "JPEG of quality 10": to_two, "grey": plain}, labels
    )
    assert (blurred.control, blurred.is_shortcut) == ("grey", True)
    assert (compressed.control, compressed.is_shortcut) == ("grey", True)
    assert not grey.is_shortcut


def test_an_artefact_whose_control_pulls_as_well_is_compared_with_another_kind():
    """The model learned black and white stripes: the text's pixels out of order do as well as the text."""
    labels, plain, to_two = [0, 1, 2] * 40, [0, 1, 2] * 40, [2] * 120
    said = {"": plain, "text 'A'": to_two, f"text 'A'{CONTROL}": to_two, "faint text 'A'": to_two, "darker": plain}
    bold, *_ = judge_insertions(said, labels)
    assert (bold.control, bold.is_shortcut) == ("darker", True)
    bold, *_ = judge_insertions(said | {"darker": to_two}, labels)
    assert (bold.control, bold.is_shortcut) == ("darker", False), "any change does it"
    bold, *_ = judge_insertions({name: said[name] for name in list(said)[:3]}, labels)
    assert (bold.control, bold.is_shortcut) == (f"text 'A'{CONTROL}", False), "there is nothing else to compare with"


def test_counts_are_those_of_a_plain_loop():
    rng = np.random.default_rng(1)
    labels, plain, said = (rng.integers(0, 4, 200).tolist() for _ in range(3))
    (found,) = judge_insertions({"": plain, "grey": said}, labels)
    right = [(p == y, s == y) for p, s, y in zip(plain, said, labels, strict=True)]
    assert found.change.mean == pytest.approx(np.mean([int(a) - int(b) for b, a in right]), abs=0.02)
    gains = [sum(s == k and k not in (p, y) for p, s, y in zip(plain, said, labels, strict=True)) for k in range(4)]
    free = sum(found.pulls_to not in (p, y) for p, y in zip(plain, labels, strict=True))
    assert gains[found.pulls_to] == max(gains)
    assert found.pull.mean == pytest.approx(max(gains) / free)
    assert judge_insertions({"": plain, "grey": plain}, labels)[0].pulls_to == -1
