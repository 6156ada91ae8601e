"""ImageNet-Segmentation's file, in miniature but laid out as MATLAB does, and photos with masks."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from helpers.drawn_photos import CLASSES
from helpers.small_models import tiny_network
from robustvit import UserError
from robustvit.data.find_photos import find_photos
from robustvit.data.photo import Photo
from robustvit.evaluation.on_sets.segmentation_scores import segmentation_test
from robustvit.evaluation.on_sets.segmented_photos import MAT_FILE, MatFile, SegmentedPhotos, find_mat
from robustvit.models.classifier import Classifier

h5py = pytest.importorskip("h5py")

SIZES = ((40, 30), (25, 60), (48, 48))


def pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    """Pixels ``(H, W, 3)`` and masks ``(H, W)``, as a person sees them."""
    rng = np.random.default_rng(0)
    found = []
    for height, width in SIZES:
        mask = np.zeros((height, width), np.uint8)
        mask[3 : height // 2, 5 : width // 3] = 1
        found.append((rng.integers(0, 255, (height, width, 3), np.uint8), mask))
    return found


def write_mat(path: Path, *, cells: bool = True, across: bool = False, grey: bool = False) -> Path:
    """MATLAB 7.3: column-major, so HDF5 shows axes in reverse; a cell array is a dataset of references."""
    with h5py.File(path, "w", userblock_size=512) as file:
        images, masks = [], []
        for number, (pixels, mask) in enumerate(pairs()):
            shown = pixels[..., 0] if grey else pixels
            images.append(file.create_dataset(f"#refs#/i{number}", data=shown.T).ref)
            target = file.create_dataset(f"#refs#/m{number}", data=mask.T)
            if cells:
                target = file.create_dataset(f"#refs#/c{number}", data=np.array([[target.ref]], dtype=h5py.ref_dtype))
            masks.append(target.ref)
        shape = (1, -1) if across else (-1, 1)
        for name, references in (("img", images), ("gt", masks)):
            file.create_dataset(f"value/{name}", data=np.array(references, dtype=h5py.ref_dtype).reshape(shape))
    return path


@pytest.fixture
def mat(tmp_path):
    return write_mat(tmp_path / MAT_FILE)


@pytest.mark.parametrize("layout", [{}, {"cells": False}, {"across": True}, {"grey": True}])
def test_images_and_masks_stand_upright(tmp_path, layout):
    file = MatFile(write_mat(tmp_path / MAT_FILE, **layout))
    assert len(file) == 3
    for index, (pixels, mask) in enumerate(pairs()):
        image, found = file[index]
        assert image.mode == "RGB"
        expected = np.repeat(pixels[..., :1], 3, axis=2) if layout.get("grey") else pixels
        assert (np.asarray(image) == expected).all()
        assert (np.asarray(found) == mask).all()


def test_items_are_squashed_and_labels_are_not_blended(mat):
    data = SegmentedPhotos(MatFile(mat), (24, 32))
    assert len(data) == 3
    for index, (pixels, mask) in enumerate(pairs()):
        item = data[index]
        assert item["index"] == index
        image = Image.fromarray(pixels).resize((32, 24), Image.Resampling.BILINEAR)
        assert np.abs(255 * item["image"].numpy().transpose(1, 2, 0) - np.asarray(image)).max() < 1e-3
        labels = Image.fromarray(mask).resize((32, 24), Image.Resampling.NEAREST)
        assert item["mask"].dtype == torch.bool
        assert (item["mask"][0].numpy() == (np.asarray(labels) > 0)).all()
        assert item["image"].shape == (3, 24, 32)


def test_the_file_is_opened_in_each_process(mat):
    data = SegmentedPhotos(MatFile(mat), (16, 16))
    serial = [data[index]["image"] for index in range(3)]  # open here before the workers start
    for workers in (0, 2):
        parallel = [batch["image"][0] for batch in DataLoader(data, batch_size=1, num_workers=workers)]
        assert all((a == b).all() for a, b in zip(serial, parallel, strict=True))
    again = pickle.loads(pickle.dumps(data))  # noqa: S301
    assert (again[1]["image"] == serial[1]).all()


def test_the_file_is_found_below_a_root(mat, tmp_path):
    assert find_mat(mat) == mat
    assert find_mat(tmp_path) == mat
    inner = tmp_path / "data" / "imagenet-segmentation"
    inner.mkdir(parents=True)
    mat.rename(inner / MAT_FILE)
    assert find_mat(tmp_path / "data") == inner / MAT_FILE
    with pytest.raises(UserError, match=r"gtsegs_ijcv.mat .*get it from http"):
        find_mat(tmp_path)


def test_broken_and_foreign_files_are_named(tmp_path, mat):
    whole = mat.read_bytes()
    mat.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(UserError, match=r"cannot read .*gtsegs_ijcv\.mat"):
        MatFile(mat)
    with h5py.File(mat, "w") as file:
        file["value/img"] = np.zeros(3)
    with pytest.raises(UserError, match="found 3 and 0"):
        MatFile(mat)
    with h5py.File(mat, "w") as file:
        file["value/img"], file["value/gt"] = np.zeros((3, 1)), np.zeros((3, 1))
    with pytest.raises(UserError, match="cannot read image 1"):
        MatFile(mat)[1]


def test_a_missing_library_is_one_line(mat, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"pip install 'robustvit\[sets\]'"):
        MatFile(mat)


def test_photos_with_masks(photos, tmp_path):
    found = find_photos(*photos)[:2]
    item = SegmentedPhotos(found, (20, 20))[1]
    expected = Image.open(found[1].mask).convert("L").resize((20, 20), Image.Resampling.NEAREST)
    assert (item["mask"][0].numpy() == (np.asarray(expected) > 127)).all()
    soft = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    np.save(tmp_path / "soft.npy", soft)
    Image.new("RGB", (8, 8), "red").save(tmp_path / "photo.png")
    item = SegmentedPhotos([Photo(tmp_path / "photo.png", tmp_path / "soft.npy")], (8, 8))[0]
    assert (item["mask"][0].numpy() == (soft > 0.5)).all()
    assert SegmentedPhotos(found, (8, 8)).name_of(1) == str(found[1].image)


def test_a_model_is_tested_on_the_file(mat):
    model = Classifier(tiny_network(), class_names=CLASSES)
    scores = segmentation_test(model, mat.parent, batch_size=2)
    assert len(scores.precisions) == 3
    assert scores.counts.sum() == 3 * 48 * 48
    again = segmentation_test(model, mat, batch_size=1, workers=1)
    assert (again.counts == scores.counts).all()
