"""Overlays, and the photos of explain under their other name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.small_models import SIZE
from robustvit import UserError, explain, load_model, overlay, relevance


def test_photos_may_be_named_images_in_python(model_folder, tmp_path):
    model = load_model(f"local-dir:{model_folder}")
    pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
    found = explain(model=model, images=[pixels, Image.fromarray(pixels)], out=str(tmp_path / "pictures"))
    assert len(found) == 2
    assert all(one.picture.is_file() for one in found)


def test_an_overlay_is_the_weighted_mean_of_photo_and_colours(model_folder):
    model = load_model(f"local-dir:{model_folder}")
    image = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(2))
    heat = relevance(model, image, 1)
    found = overlay(image, heat)
    assert found.shape == (SIZE, SIZE, 3)
    assert found.dtype == np.uint8
    plain = (255 * image.permute(1, 2, 0)).round().numpy().astype(np.uint8)
    assert np.array_equal(overlay(image, heat, 0.0), plain)
    darkest = overlay(torch.zeros(3, 4, 4), torch.zeros(1, 4, 4), 1.0)
    brightest = overlay(torch.zeros(3, 4, 4), torch.ones(1, 4, 4), 1.0)
    assert brightest.mean() > darkest.mean()


@pytest.mark.parametrize(("image", "heat"), [((2, 3, 8, 8), (2, 1, 8, 8)), ((3, 8, 8), (1, 7, 8)), ((3, 8, 8), (8, 8))])
def test_an_overlay_of_other_shapes_is_refused(image, heat):
    with pytest.raises(UserError, match=r"\(3, H, W\)"):
        overlay(torch.rand(image), torch.rand(heat))
