"""Benchmark sets through the library ``datasets``, streamed from local files on the path that the hub takes."""

from __future__ import annotations

import io
import sys
import zipfile
from dataclasses import replace

import pytest
from PIL import Image

from helpers import miniatures
from robustvit.common.errors import UserError
from robustvit.evaluation.sets import BENCHMARKS, stream
from robustvit.evaluation.sets.benchmark import Hub
from robustvit.evaluation.sets.class_tables import imagenet_subset, imagenet_wnids, unique_imagenet_names

datasets = pytest.importorskip("datasets")
CLASSES = (6, 13, 107)  # all in ImageNet-A, 13 and 107 not next to each other in its 200


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def encoded(seed, mode="RGB"):
    file = io.BytesIO()
    miniatures.draw_image(seed).convert(mode).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


def on_hub(tmp_path, rows, types, name="imagenet-a", split="train"):
    """A row of the table whose hub is a folder with one parquet file of the given columns."""
    features = datasets.Features({"image": datasets.Image(), **types})
    place = tmp_path / "hub" / "data"
    place.mkdir(parents=True)
    datasets.Dataset.from_list(rows, features).to_parquet(place / f"{split}-00000-of-00001.parquet")
    return replace(BENCHMARKS[name], hub=Hub(str(place.parent), split))


def streamed(row, protocol="standard"):
    images, answers = stream(row, protocol)
    return list(images), answers


def check_classes(found, answers, indices):
    assert [answers.names[sample.right[0]] for _, _, sample in found] == [
        unique_imagenet_names()[index] for index in indices
    ]
    assert [sample.class_name for _, _, sample in found] == [unique_imagenet_names()[index] for index in indices]


@pytest.mark.parametrize("protocol", ["paper", "standard"])
def test_a_column_of_wordnet_ids(tmp_path, protocol):
    rows = [{"image": encoded(i), "wnid": imagenet_wnids()[i], "class_name": "x"} for i in CLASSES]
    row = on_hub(tmp_path, rows, {"wnid": datasets.Value("string"), "class_name": datasets.Value("string")})
    found, answers = streamed(row, protocol)
    check_classes(found, answers, CLASSES)
    assert len(answers.names) == (1000 if protocol == "paper" else 200)
    assert [name for name, _, _ in found] == ["000000", "000001", "000002"]
    for (_, image, _), index in zip(found, CLASSES, strict=True):
        assert image.mode == "RGB"
        assert image.tobytes() == miniatures.draw_image(index).tobytes()


def test_class_labels_that_are_wordnet_ids(tmp_path):
    subset = imagenet_subset("a")
    label = datasets.ClassLabel(names=[imagenet_wnids()[index] for index in subset])
    rows = [{"image": encoded(i), "label": subset.index(i), "image_id": f"a_{i}"} for i in CLASSES]
    found, answers = streamed(on_hub(tmp_path, rows, {"label": label, "image_id": datasets.Value("string")}))
    check_classes(found, answers, CLASSES)
    assert [name for name, _, _ in found] == ["a_6", "a_13", "a_107"]


@pytest.mark.parametrize("named", [True, False])
def test_labels_from_0_to_999(tmp_path, named):
    names = [name.partition(" (")[0] + ", something else" for name in unique_imagenet_names()]
    names = [f"{name} {place}" if names.count(name) > 1 else name for place, name in enumerate(names)]
    label = datasets.ClassLabel(names=names) if named else datasets.Value("int64")
    rows = [{"image": encoded(i), "label": i} for i in CLASSES]
    found, answers = streamed(on_hub(tmp_path, rows, {"label": label}))
    check_classes(found, answers, CLASSES)


def test_several_wordnet_ids_are_all_right_and_the_first_alone_for_the_paper(tmp_path):
    wnids = [imagenet_wnids()[index] for index in (409, 530)]
    rows = [{"image": encoded(0), "label": 0, "imagenet_synsets": wnids}]
    types = {
        "label": datasets.ClassLabel(names=["alarm_clock"]),
        "imagenet_synsets": datasets.List(datasets.Value("string")),
    }
    row = on_hub(tmp_path, rows, types, "objectnet", "test")
    assert streamed(row)[0][0][2].right == (409, 530)
    assert streamed(row, "paper")[0][0][2].right == (409,)


def test_an_archive_of_class_folders(tmp_path):
    made = miniatures.write_imagenet_sketch(tmp_path)
    (tmp_path / "hub" / "data").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "hub" / "data" / "ImageNet-Sketch.zip", "w") as archive:
        for name in made["right"]:
            archive.write(made["folder"] / name, f"sketch/{name}")
    row = BENCHMARKS["imagenet-sketch"]
    found, answers = streamed(replace(row, hub=replace(row.hub, name=str(tmp_path / "hub"))))
    check_classes(found, answers, [right[0] for right in made["right"].values()])
    assert {name for name, _, _ in found} == {name.split("/")[1] for name in made["right"]}
    listed = row.read(tmp_path, "standard")
    assert [sample.right for sample in listed.samples] == [sample.right for _, _, sample in found]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_images_come_in_rgb_as_from_disk(tmp_path, mode):
    row = on_hub(tmp_path, [{"image": encoded(3, mode), "label": 6}], {"label": datasets.Value("int64")})
    ((_, image, _),), _ = streamed(row)
    assert image.mode == "RGB"
    assert image.tobytes() == miniatures.draw_image(3).convert(mode).convert("RGB").tobytes()


@pytest.mark.parametrize(("column", "kind", "value", "message"), [
    ("label", "int64", 1000, "labels from 0 to 999"),
    ("label", "string", "cat", "labels from 0 to 999"),
    ("wnid", "string", "n00000000", "WordNet ids of ImageNet-1k"),
    ("label", "int64", 0, "not a class of the set"),  # tench is not in ImageNet-A
    ("caption", "string", "a cat", "expected a column 'wnid'"),
])  # fmt: skip
def test_labels_that_cannot_be_understood_are_one_line(tmp_path, column, kind, value, message):
    row = on_hub(tmp_path, [{"image": encoded(0), column: value}], {column: datasets.Value(kind)})
    with pytest.raises(UserError, match=message) as caught:
        streamed(row)
    assert "\n" not in str(caught.value)
    assert "--root" in str(caught.value)


def test_class_names_of_other_classes_are_refused(tmp_path):
    label = datasets.ClassLabel(names=["alarm_clock", "bench"])
    row = on_hub(tmp_path, [{"image": encoded(0), "label": 1}], {"label": label}, "objectnet", "test")
    with pytest.raises(UserError, match=r"found the columns image \(Image\), label \(ClassLabel\)"):
        stream(row, "standard")


def test_no_image_column_and_no_image(tmp_path):
    place = tmp_path / "hub"
    datasets.Dataset.from_dict({"label": [1]}).to_parquet(place / "train.parquet")
    row = replace(BENCHMARKS["imagenet-a"], hub=Hub(str(place), "train"))
    with pytest.raises(UserError, match="expected one column of images"):
        stream(row, "standard")


def test_a_hub_out_of_reach_is_one_line_with_a_way_out():
    with pytest.raises(UserError) as caught:  # the tests run offline
        stream(BENCHMARKS["imagenet-r"], "standard")
    line = str(caught.value)
    assert "\n" not in line
    assert all(part in line for part in ("axiong/imagenet-r", "check the connection", "--root"))


def test_a_break_while_images_are_read_is_one_line_too(tmp_path, monkeypatch):
    rows = [{"image": encoded(i), "label": 6} for i in range(3)]
    row = on_hub(tmp_path, rows, {"label": datasets.Value("int64")})
    plain = datasets.IterableDataset.__iter__

    def breaks(self):
        for place, item in enumerate(plain(self)):
            if place == 2:
                raise ConnectionResetError("connection\nreset")
            yield item

    monkeypatch.setattr(datasets.IterableDataset, "__iter__", breaks)
    images, _ = stream(row, "standard")
    assert isinstance(next(images)[1], Image.Image)
    next(images)
    with pytest.raises(UserError, match="connection reset; check the connection"):
        next(images)


def test_sets_that_are_not_on_the_hub_and_a_missing_library(monkeypatch):
    with pytest.raises(UserError, match="cannot be streamed: get it from"):
        stream(BENCHMARKS["waterbirds"], "standard")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"robustvit\[sets\]"):
        stream(BENCHMARKS["imagenet-a"], "standard")
