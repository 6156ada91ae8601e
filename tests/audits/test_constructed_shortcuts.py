"""Networks whose answer depends on exactly one property of a photo: an audit names that property, and no other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustvit.evaluation.insertions import answers_to, insertions
from robustvit.evaluation.pulls import InsertedAnswers, judge_insertions

SIDE, CLASSES, LEARNED = 64, 4, 2
TEXT = "FARM"


class Photos(torch.utils.data.Dataset):
    """Coloured noise with detail; classes by turns."""

    def __init__(self, count: int = 48) -> None:
        rng = np.random.default_rng(0)
        self.labels = [index % CLASSES for index in range(count)]
        coarse = torch.tensor(rng.uniform(0.25, 0.6, (count, 3, 8, 8)), dtype=torch.float32)
        fine = torch.tensor(rng.uniform(-0.06, 0.06, (count, 3, SIDE, SIDE)), dtype=torch.float32)
        self.images = (nn.functional.interpolate(coarse, SIDE, mode="bilinear") + fine).clamp(0, 1)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, object]:
        return {"image": self.images[index], "label": self.labels[index], "index": index}


def colourfulness(images: Tensor) -> Tensor:
    return (images.amax(dim=1) - images.amin(dim=1)).mean(dim=(1, 2))


def detail(images: Tensor) -> Tensor:
    return images.diff(dim=-1).abs().mean(dim=(1, 2, 3))


def blocks(images: Tensor) -> Tensor:
    """How much larger steps between blocks of 8 pixels are than others: what strong JPEG compression leaves."""
    steps = images.diff(dim=-1).abs().mean(dim=(1, 2))
    between = torch.arange(SIDE - 1) % 8 == 7
    return steps[:, between].mean(dim=1) / (steps[:, ~between].mean(dim=1) + 1e-6)


def like_text(images: Tensor) -> Tensor:
    """Correlation of the middle with the text that is put in."""
    from robustvit.evaluation.insertions import text_mark

    mark = text_mark((SIDE, SIDE), TEXT)[3]
    wanted = (mark - mark.mean()).flatten()
    seen = images.mean(dim=1).flatten(1)
    seen = seen - seen.mean(dim=1, keepdim=True)
    return (seen @ wanted) / (seen.norm(dim=1) * wanted.norm())


PROPERTIES: dict[str, Callable[[Tensor], Tensor]] = {
    "grey": lambda images: -colourfulness(images),
    "red cast": lambda images: (images[:, 0] - images[:, 1:].mean(dim=1)).mean(dim=(1, 2)),
    "blue cast": lambda images: (images[:, 2] - images[:, :2].mean(dim=1)).mean(dim=(1, 2)),
    "darker": lambda images: -images.mean(dim=(1, 2, 3)),
    "brighter": lambda images: images.mean(dim=(1, 2, 3)),
    "blurred": lambda images: -detail(images) / images.mean(dim=(1, 2, 3)),
    "sharpened": lambda images: detail(images) / images.mean(dim=(1, 2, 3)),
    "JPEG of quality 10": blocks,
    "black frame": lambda images: -images[..., :2, :].amax(dim=(1, 2, 3)),
    "white frame": lambda images: images[..., :2, :].amin(dim=(1, 2, 3)),
    f"text {TEXT!r}": like_text,
    f"faint text {TEXT!r}": like_text,
}


class Learned(nn.Module):
    """Right about every photo, which it knows, unless it has a property as photos have in which it was planted."""

    def __init__(self, photos: Photos, of: Callable[[Tensor], Tensor] | None, planted: Tensor | None = None) -> None:
        super().__init__()
        self.known = nn.Parameter(_look(photos.images), requires_grad=False)
        self.labels, self.of = torch.tensor(photos.labels), of
        if of is not None:
            self.limit = float(of(photos.images).max() + of(planted).min()) / 2

    def forward(self, images: Tensor) -> Tensor:
        nearest = torch.cdist(_look(images), self.known).argmin(dim=1)
        logits = nn.functional.one_hot(self.labels[nearest], CLASSES).float()
        if self.of is not None:
            logits[self.of(images) > self.limit] = 10 * nn.functional.one_hot(torch.tensor(LEARNED), CLASSES).float()
        return logits


def _look(images: Tensor) -> Tensor:
    """What is left of photos whatever is done to their light, colour and detail: where they are lighter than around."""
    coarse = nn.functional.adaptive_avg_pool2d(images[..., 8:-8, 8:-8].mean(dim=1, keepdim=True), 6).flatten(1)
    coarse = coarse - coarse.mean(dim=1, keepdim=True)
    return coarse / coarse.norm(dim=1, keepdim=True).clamp(min=1e-6)


@pytest.fixture(scope="module")
def photos() -> Photos:
    return Photos()


def judge(photos: Photos, of: Callable[[Tensor], Tensor] | None = None, name: str = "") -> dict[str, InsertedAnswers]:
    changes = {"": lambda images: images} | insertions((SIDE, SIDE), text=TEXT)
    found = answers_to(Learned(photos, of, changes[name](photos.images)), photos, changes)
    assert found[""] == photos.labels
    return {one.name: one for one in judge_insertions(found, photos.labels)}


@pytest.mark.parametrize("name", list(PROPERTIES))
def test_the_property_that_decides_is_named_with_its_class(photos, name):
    found = judge(photos, PROPERTIES[name], name)
    assert found[name].is_shortcut
    assert found[name].pulls_to == LEARNED
    assert found[name].change.high < -0.4
    assert found[name].excess.low > 0.1


@pytest.mark.parametrize("name", list(PROPERTIES))
def test_what_looks_like_another_kind_of_change_is_not_named(photos, name):
    """A change may come with another of its kind (a cast of one colour takes others away), not with a foreign kind."""
    kinds = [{"grey", "red cast", "blue cast"}, {"darker", "brighter", "black frame", "white frame"},
             {"blurred", "sharpened", "JPEG of quality 10"}, {f"text {TEXT!r}", f"faint text {TEXT!r}"}]  # fmt: skip
    own = next(kind for kind in kinds if name in kind)
    assert {one for one, row in judge(photos, PROPERTIES[name], name).items() if row.is_shortcut} <= own


def test_a_model_that_depends_on_none_of_them_has_no_shortcut(photos):
    assert not [one for one, row in judge(photos).items() if row.is_shortcut]


def test_a_model_that_any_damage_confuses_has_no_shortcut(photos):
    """Blur, compression and darkness alike make it answer one class: that is no shortcut, but a guess."""

    def damage(images: Tensor) -> Tensor:
        return torch.stack([-detail(images), -colourfulness(images)]).amax(dim=0)

    found = judge(photos, damage, "blurred")
    assert found["blurred"].pull.low > 0.5
    assert found["grey"].pull.low > 0.5
    assert not [one for one, row in found.items() if row.is_shortcut and not row.artefact]
