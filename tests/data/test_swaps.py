"""Background swaps: hand-computed boxes, a slow second implementation of the tiling, and the rules of the pairing."""

from __future__ import annotations

import tracemalloc
from collections import Counter

import pytest
import torch

from plain.swaps import slowly_tiled
from robustvit.common.errors import UserError
from robustvit.data.swap_pairs import pair_backgrounds
from robustvit.data.swaps import (
    SWAPS,
    bounding_box,
    boxed_background,
    no_foreground,
    only_foreground,
    paste,
    tiled_background,
    usable_background,
)


def mask_of(height, width, top, left, bottom, right, value=1.0):
    mask = torch.zeros(1, height, width)
    mask[:, top:bottom, left:right] = value
    return mask


def image_of(height, width, seed=0):
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


def test_box_holds_its_first_pixel_and_ends_behind_its_last():
    assert bounding_box(mask_of(6, 9, 1, 2, 4, 7)) == (1, 2, 4, 7)
    assert bounding_box(mask_of(6, 9, 5, 8, 6, 9)) == (5, 8, 6, 9)
    assert bounding_box(mask_of(6, 9, 0, 0, 6, 9)) == (0, 0, 6, 9)


def test_box_spans_separate_parts():
    parts = mask_of(8, 8, 1, 5, 2, 6) + mask_of(8, 8, 6, 0, 7, 2)
    assert bounding_box(parts) == (1, 0, 7, 6)


def test_box_of_a_soft_mask_counts_pixels_above_one_half():
    soft = mask_of(6, 6, 0, 0, 6, 6, 0.5)
    assert bounding_box(soft) is None
    soft[0, 2, 3] = 0.51
    assert bounding_box(soft) == (2, 3, 3, 4)
    assert bounding_box(torch.zeros(1, 6, 6)) is None


def test_background_is_usable_up_to_the_share_that_the_box_may_cover():
    assert usable_background(torch.zeros(1, 10, 10))
    assert usable_background(mask_of(10, 10, 0, 0, 9, 10))  # exactly 90 %
    assert not usable_background(mask_of(10, 20, 0, 0, 10, 19))  # 95 %
    corners = mask_of(10, 10, 0, 0, 1, 1) + mask_of(10, 10, 9, 9, 10, 10)
    assert not usable_background(corners)  # the box counts, not the two pixels


@pytest.mark.parametrize(
    "box",
    [
        (5, 3, 9, 8),  # most room above
        (1, 3, 4, 8),  # below
        (1, 7, 9, 12),  # left
        (1, 1, 9, 4),  # right
        (0, 0, 10, 11),  # a strip one pixel wide, repeated many times
        (2, 4, 8, 8),  # strips of equal size
        (9, 12, 10, 13),
    ],
)
def test_tiling_equals_the_pixel_loop(box):
    height, width = 10, 13
    if box == (2, 4, 8, 8):
        width = 12
    image, mask = image_of(height, width), mask_of(height, width, *box)
    before = image.clone()
    tiled = tiled_background(image, mask)
    assert torch.equal(tiled, slowly_tiled(image, mask))
    assert torch.equal(image, before), "the photo itself must stay"


def test_tiling_leaves_no_pixel_of_the_object():
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        mask = mask_of(12, 15, 3, 4, 9, 10) * (torch.rand(1, 12, 15, generator=generator) > 0.6)
        image = torch.where(mask > 0, torch.full((3, 12, 15), 2.0), image_of(12, 15))
        tiled = tiled_background(image, mask)
        assert torch.equal(tiled, slowly_tiled(image, mask))
        assert tiled.max() <= 1


def test_tiling_by_hand():
    image = torch.arange(12.0).reshape(1, 3, 4).repeat(3, 1, 1)  # rows 0-3, 4-7, 8-11
    tiled = tiled_background(image, mask_of(3, 4, 1, 0, 3, 2))
    # Strips: above 4 pixels, right 6 pixels; the right one's columns are 2 and 3.
    assert tiled[0].tolist() == [[0, 1, 2, 3], [2, 3, 6, 7], [6, 7, 10, 11]]


def test_tiling_without_object_or_without_background():
    image = image_of(5, 5)
    assert torch.equal(tiled_background(image, torch.zeros(1, 5, 5)), image)
    with pytest.raises(UserError, match="background"):
        tiled_background(image, torch.ones(1, 5, 5))


def test_object_background_and_box_equal_the_pixel_loop():
    image = image_of(7, 9, 3).double()
    soft = mask_of(7, 9, 2, 3, 5, 8).double() * torch.rand(1, 7, 9, generator=torch.Generator().manual_seed(4))
    for mask in (soft, soft.round(), torch.zeros(1, 7, 9).double(), torch.ones(1, 7, 9).double()):
        before = image.clone()
        found = only_foreground(image, mask), no_foreground(image, mask), boxed_background(image, mask)
        inside = [(y, x) for y in range(7) for x in range(9) if mask[0, y, x] > 0.5]
        rows, columns = [y for y, _ in inside], [x for _, x in inside]
        for y in range(7):
            for x in range(9):
                share = float(mask[0, y, x])
                in_box = bool(inside) and min(rows) <= y <= max(rows) and min(columns) <= x <= max(columns)
                for channel in range(3):
                    value = float(image[channel, y, x])
                    assert float(found[0][channel, y, x]) == pytest.approx(share * value, abs=1e-12)
                    assert float(found[1][channel, y, x]) == pytest.approx((1 - share) * value, abs=1e-12)
                    assert float(found[2][channel, y, x]) == (0 if in_box else value)
        assert torch.equal(image, before), "the photo itself must stay"
        assert torch.allclose(found[0] + found[1], image)


def test_paste_blends_by_the_soft_mask():
    image, background = torch.full((3, 2, 3), 0.8), torch.full((3, 2, 3), 0.2)
    mask = torch.tensor([[[0.0, 0.5, 1.0], [0.25, 0.0, 0.75]]])
    expected = torch.tensor([[0.2, 0.5, 0.8], [0.35, 0.2, 0.65]])
    assert torch.allclose(paste(image, mask, background), expected.expand(3, 2, 3))


def test_paste_resizes_the_background():
    image, mask = image_of(8, 12), mask_of(8, 12, 2, 3, 5, 9)
    pasted = paste(image, mask, torch.full((3, 5, 31), 0.25))
    inside = mask.bool().expand(3, 8, 12)
    assert torch.equal(pasted[inside], image[inside])
    assert torch.allclose(pasted[~inside], torch.tensor(0.25))


LABELS = [0] * 6 + [1] * 9 + [3] * 5 + [7] * 4  # classes need not be consecutive
USABLE = [i % 4 != 1 for i in range(len(LABELS))]
FOLLOWING = {0: 1, 1: 3, 3: 7, 7: 0}


@pytest.mark.parametrize("kind", SWAPS)
def test_pairing_is_fixed_by_its_seed(kind):
    first = pair_backgrounds(LABELS, USABLE, kind, swaps=5, seed=3)
    assert first == pair_backgrounds(LABELS, USABLE, kind, swaps=5, seed=3)
    assert first != pair_backgrounds(LABELS, USABLE, kind, swaps=5, seed=4)


def test_pairing_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    pair_backgrounds(LABELS, USABLE, "mixed-rand", swaps=2)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("kind", SWAPS)
@pytest.mark.parametrize("seed", range(5))
def test_donors_are_other_usable_photos_of_the_right_class(kind, seed):
    pairs = pair_backgrounds(LABELS, USABLE, kind, swaps=6, seed=seed)
    assert len(pairs) == len(LABELS)
    for index, donors in enumerate(pairs):
        assert len(donors) == 6
        assert index not in donors
        assert all(USABLE[donor] for donor in donors)
        classes = {LABELS[donor] for donor in donors}
        if kind == "mixed-same":
            assert classes == {LABELS[index]}
        elif kind == "mixed-next":
            assert classes == {FOLLOWING[LABELS[index]]}
        elif kind == "mixed-other":
            assert LABELS[index] not in classes


def test_random_backgrounds_come_uniformly_from_all_classes_the_own_one_too():
    swaps = 600
    pairs = pair_backgrounds(LABELS, USABLE, "mixed-rand", swaps=swaps)
    for donors in pairs[::5]:
        count = Counter(LABELS[donor] for donor in donors)
        # 600 draws with chance 1/4: 150 with a standard deviation of 10.6, though class 1 has twice class 7's photos.
        assert set(count) == {0, 1, 3, 7}
        assert all(abs(share - swaps / 4) < 50 for share in count.values())


def test_other_backgrounds_come_uniformly_from_the_other_classes():
    for index, donors in enumerate(pair_backgrounds(LABELS, USABLE, "mixed-other", swaps=600)):
        count = Counter(LABELS[donor] for donor in donors)
        assert set(count) == {0, 1, 3, 7} - {LABELS[index]}
        assert all(abs(share - 200) < 50 for share in count.values())


@pytest.mark.parametrize("kind", SWAPS)
def test_no_donor_comes_twice_before_all_of_its_class_came(kind):
    for index, donors in enumerate(pair_backgrounds(LABELS, USABLE, kind, swaps=12, seed=2)):
        for label in set(LABELS):
            others = {i for i, (c, ok) in enumerate(zip(LABELS, USABLE, strict=True)) if ok and c == label} - {index}
            drawn = [donor for donor in donors if LABELS[donor] == label]
            assert len(set(drawn[: len(others)])) == len(drawn[: len(others)])


def test_every_donor_is_drawn_equally_often():
    pairs = pair_backgrounds([0] * 5, [True] * 5, "mixed-same", swaps=1, seed=0)
    assert all(len(donors) == 1 for donors in pairs)
    count = Counter(pair_backgrounds([0] * 5, [True] * 5, "mixed-same", seed=seed)[0][0] for seed in range(800))
    assert set(count) == {1, 2, 3, 4}
    assert all(abs(share - 200) < 60 for share in count.values())


def test_class_without_donors_lends_nothing():
    labels, usable = [0, 0, 1, 1], [True, True, False, False]
    assert pair_backgrounds(labels, usable, "mixed-same", swaps=2)[2:] == [[], []]
    assert pair_backgrounds(labels, usable, "mixed-next", swaps=2)[:2] == [[], []]
    assert pair_backgrounds(labels, usable, "mixed-other", swaps=2)[:2] == [[], []]
    for donors in pair_backgrounds(labels, usable, "mixed-rand", swaps=40):
        assert len(donors) == 40
        assert set(donors) <= {0, 1}


def test_only_photo_of_its_class_has_no_partner_of_its_own_class():
    assert pair_backgrounds([0, 1, 1], [True] * 3, "mixed-same") == [[], [2], [1]]


def test_unknown_swap_and_lists_of_different_length_are_refused():
    with pytest.raises(UserError, match=r"mixed-same, mixed-rand, mixed-next, mixed-other.*'mixed'"):
        pair_backgrounds([0, 1], [True, True], "mixed")
    with pytest.raises(ValueError, match=r"longer|shorter"):
        pair_backgrounds([0, 1], [True], "mixed-same")


def test_pairing_of_thousands_of_classes_does_not_grow_with_their_square():
    labels = list(range(4000))
    tracemalloc.start()
    try:
        chosen = pair_backgrounds(labels, [True] * len(labels), "mixed-other", swaps=2)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert all(len(donors) == 2 for donors in chosen)
    assert peak < 40e6, "4,000 decks of 4,000 cards would take 128 MB and more"
