"""Pictures: which examples are chosen, and what an overlay looks like."""

from __future__ import annotations

import numpy as np
import torch

from robustvit.common.pictures import overlay
from robustvit.evaluation.photo_measures import PhotoMeasure, Swapped
from robustvit.training.panels import choose_panels


def photo(label, predicted, swapped=()):
    ones = [Swapped("mixed-other", donor, said, 0.5) for donor, said in swapped]
    return PhotoMeasure("x", label, predicted, 0.5, {}, ones)


def test_outcomes_and_order():
    before = [photo(0, 0, [(3, 1)]), photo(0, 1), photo(1, 1), photo(1, 1, [(0, 1)])]
    after = [photo(0, 0, [(3, 0)]), photo(0, 0), photo(1, 0), photo(1, 1, [(0, 0)])]
    panels = choose_panels(before, after, count=5)
    found = {
        name: [(p.index, p.donor) for p in panels if p.outcome == name] for name in ("corrected", "broken", "same")
    }
    assert found["corrected"] == [(1, None), (0, 3)], "photos as they are come before swapped ones"
    assert found["broken"] == [(2, None), (3, 0)]
    assert found["same"] == [(0, None), (3, None)]


def test_classes_vary_before_any_repeats():
    before = [photo(label, 9) for label in (0, 0, 0, 1, 2)]
    after = [photo(label, label) for label in (0, 0, 0, 1, 2)]
    assert [panel.index for panel in choose_panels(before, after, count=4)] == [0, 3, 4, 1]
    assert choose_panels(before, after, count=0) == []


def test_photos_without_labels_have_no_outcome():
    assert choose_panels([photo(None, 0)], [photo(None, 1)]) == []


def test_overlay_is_the_photo_where_opacity_is_zero_and_brighter_where_relevant():
    image = torch.rand(3, 4, 4)
    heat = torch.zeros(1, 4, 4)
    heat[0, 0, 0] = 1
    plain = overlay(image, heat, opacity=0)
    assert plain.dtype == np.uint8
    assert np.array_equal(plain, (255 * image).round().byte().permute(1, 2, 0).numpy())
    full = overlay(image, heat, opacity=1).astype(int).sum(axis=-1)
    assert full[0, 0] > full[1:].max()
