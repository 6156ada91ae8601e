"""The embedded benchmark: deterministic, exactly masked scenes, with the backgrounds that are promised."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robustvit.common.errors import UserError
from robustvit.data.embedded.scenes import BACKGROUNDS, CLASSES, SHIFTS, SIZE, make_scene, write_split
from robustvit.data.embedded.textures import crop_texture


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


def array(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@cache
def mean_colours() -> np.ndarray:
    rng = np.random.default_rng(0)
    crops = [[np.asarray(crop_texture(name, rng, 32), float) for _ in range(8)] for name in BACKGROUNDS]
    return np.array(crops).mean(axis=(1, 2, 3))


def likeness(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Distance of a scene's colours outside the object to those of every background; the smallest is its own."""
    return np.linalg.norm(mean_colours() - image[mask == 0].astype(float).mean(axis=0), axis=1)


def test_every_class_has_a_background_of_its_own():
    assert len(set(CLASSES)) == len(CLASSES) == len(BACKGROUNDS)


def test_layout_on_disk(tmp_path):
    write_split(tmp_path, 2, seed=0)
    expected = {f"{kind}/{name}/{i:03d}.png" for kind in ("images", "masks") for name in CLASSES for i in range(2)}
    assert set(files(tmp_path)) == expected
    assert array(tmp_path / "images" / "heart" / "000.png").shape == (SIZE, SIZE, 3)
    assert set(np.unique(array(tmp_path / "masks" / "heart" / "000.png"))) == {0, 255}


def test_one_seed_gives_one_split(tmp_path):
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        write_split(tmp_path / name, 1, seed=seed)
    one, two, three = (files(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two
    assert all(one[name] != three[name] for name in one if name.startswith("images"))


@pytest.mark.parametrize("label", range(len(CLASSES)))
def test_mask_is_where_the_object_is(label):
    here, there = (
        make_scene(label, background, np.random.default_rng(label), center=(0.5, 0.5)) for background in (0, 1)
    )
    np.testing.assert_array_equal(here.mask, there.mask)
    same = np.abs(here.image.astype(int) - there.image).max(axis=2) == 0
    inside, outside = same[here.mask == 255], same[here.mask == 0]
    assert inside.mean() > 0.6  # all but the blended edge
    assert outside.mean() < 0.05


@pytest.mark.parametrize("area", [0.05, 0.1, 0.2])
def test_object_covers_the_area_asked_for(area):
    scene = make_scene(0, 0, np.random.default_rng(0), center=(0.5, 0.5), area=area)
    assert (scene.mask == 255).mean() == pytest.approx(area, rel=0.08)


def test_object_lies_at_the_centre_asked_for():
    scene = make_scene(0, 0, np.random.default_rng(0), center=(0.25, 0.7), angle=0)
    rows, columns = np.nonzero(scene.mask)
    assert (columns.min() + columns.max()) / 2 / SIZE == pytest.approx(0.25, abs=0.02)
    assert (rows.min() + rows.max()) / 2 / SIZE == pytest.approx(0.7, abs=0.02)


def test_swapping_keeps_objects_and_changes_backgrounds(tmp_path):
    write_split(tmp_path / "own", 2, seed=3)
    write_split(tmp_path / "other", 2, seed=3, swapped=True)
    own, other = files(tmp_path / "own"), files(tmp_path / "other")
    for name in own:
        assert (own[name] == other[name]) == name.startswith("masks")


def test_swapped_scenes_lie_on_no_background_of_their_class(tmp_path):
    write_split(tmp_path, 1, seed=0, swapped=True)
    for label, name in enumerate(CLASSES):
        for path in sorted((tmp_path / "images" / name).iterdir()):
            distance = likeness(array(path), array(tmp_path / "masks" / name / path.name))
            assert distance.argmin() != label


def test_correlation_is_the_share_of_scenes_on_their_own_background(tmp_path):
    write_split(tmp_path / "all", 6, seed=1)
    write_split(tmp_path / "most", 6, seed=1, correlation=0.75)
    always, mostly = files(tmp_path / "all"), files(tmp_path / "most")
    images = [name for name in always if name.startswith("images")]
    assert np.mean([always[name] == mostly[name] for name in images]) == pytest.approx(0.75, abs=0.12)


@pytest.mark.parametrize("shift", sorted(SHIFTS))
def test_shifts_change_every_object_and_run_through_their_values(tmp_path, shift):
    write_split(tmp_path / "plain", 1, seed=2)
    write_split(tmp_path / "moved", 1, seed=2, **SHIFTS[shift])
    plain, moved = files(tmp_path / "plain"), files(tmp_path / "moved")
    assert all(plain[name] != moved[name] for name in plain)


@pytest.mark.parametrize("wrong", [{"label": len(CLASSES)}, {"background": -1}, {"area": 0.0}])
def test_bad_input_is_refused(wrong):
    with pytest.raises(UserError):
        make_scene(**({"label": 0, "background": 0} | wrong), rng=np.random.default_rng(0))


def test_a_correlation_that_is_no_share_is_refused(tmp_path):
    with pytest.raises(UserError, match="correlation"):
        write_split(tmp_path / "out", 1, seed=0, correlation=1.5)
    assert not (tmp_path / "out").exists()
