"""The pictures of ``explain``, as a user looks at them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from robustvit import explain


def test_the_photo_is_drawn_sharp_whatever_the_model_sees_of_it(model_folder, tmp_path):
    stripes = np.zeros((480, 480, 3), np.uint8)
    stripes[:, ::16] = stripes[:, 1::16] = stripes[:, 2::16] = stripes[:, 3::16] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    (found,) = explain([str(tmp_path / "stripes.png")], model=str(model_folder), out=str(tmp_path / "out"))
    with Image.open(found.picture) as picture:
        pixels = np.asarray(picture.convert("L")).astype(float)
    assert pixels.shape[1] > 900, "two pictures of more than 400 pixels"
    line = pixels[pixels.shape[0] // 2, : pixels.shape[1] // 2]
    crossings = np.count_nonzero(np.diff((line > 128).astype(int)))
    assert crossings > 40, "the stripes are still apart"


def test_the_key_below_says_what_the_colours_mean(model_folder, tmp_path):
    Image.new("RGB", (64, 64), "grey").save(tmp_path / "a.png")
    (found,) = explain([str(tmp_path / "a.png")], model=str(model_folder), out=str(tmp_path / "out"))
    with Image.open(found.picture) as picture:
        foot = np.asarray(picture.convert("RGB"))[-picture.height // 6 :]
    colours = {tuple(pixel // 32) for pixel in foot.reshape(-1, 3)}
    assert len(colours) > 12, "a bar of colours"
