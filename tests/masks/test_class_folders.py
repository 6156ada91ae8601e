"""Whether a photo has the class of its folder or the category of its objects."""

from __future__ import annotations

import pytest
from PIL import Image

from helpers.annotation_files import coco, save_photo, write_json
from robustvit import make_masks
from robustvit.masks.annotations.class_folders import class_folders

pytest.importorskip("pycocotools.mask")


def decide(places, known, tmp_path, label_from=None):
    photos = [save_photo(tmp_path / "photos" / place, (2, 2)) for place in places]
    folders, lines = class_folders(photos, tmp_path / "photos", known, label_from)
    return [folders[photo] for photo in photos], lines


@pytest.mark.parametrize(
    ("places", "known", "expected"),
    [
        (["healthy/a.png", "ill/b.png"], ["leaf"], ["healthy", "ill"]),
        (["dog/a.png"], ["Dog", "cat"], ["dog"]),
        (["dog/a.png", "misc/b.png"], ["dog", "cat"], ["dog", "misc"]),
        (["train/healthy/a.png", "val/ill/b.png"], ["leaf"], ["healthy", "ill"]),
        (["cat/batch2/a.png", "dog/b.png"], ["cat"], ["cat", "dog"]),
        (["siteA/cat/a.png", "siteB/dog/b.png"], ["cat", "dog"], ["cat", "dog"]),
        (["train/a.png", "val/b.png"], ["cat"], [None, None]),
        (["task1/a.png", "task2/b.png"], ["cat"], [None, None]),
        (["job_1/a.png", "job_2/b.png"], ["cat"], [None, None]),
        (["2026-05-01/a.png", "2026-05-02/b.png"], ["cat"], [None, None]),
        (["n01440764/a.png", "n01443537/b.png"], ["fish"], ["n01440764", "n01443537"]),
        (["kitchen/a.png"], ["cat"], [None]),
        (["a.png", "kitchen/b.png", "garden/c.png"], ["cat"], [None, None, None]),
        (["cat/a.png", "background/b.png"], ["cat"], ["cat", None]),
        (["frame/a.png", "task1/b.png"], [], ["frame", "task1"]),  # masks without classes
        (["train/a.png"], [], [None]),
        (["a.png"], ["cat"], [None]),
    ],
)
def test_folders_that_are_classes(tmp_path, places, known, expected):
    assert decide(places, known, tmp_path)[0] == expected


def test_what_was_decided_is_said_with_the_other_way(tmp_path):
    _, (line,) = decide(["healthy/a.png", "ill/b.png"], ["leaf"], tmp_path)
    assert "no category is named healthy, ill: --label-from largest" in line
    _, (line,) = decide(["kitchen/a.png"], ["cat"], tmp_path / "other")
    assert "photos in kitchen have the category of their objects as class: --label-from folder" in line
    assert decide(["cat/a.png"], ["cat"], tmp_path / "third")[1] == []


def test_the_user_decides(tmp_path):
    places = ["healthy/a.png", "ill/b.png"]
    assert decide(places, ["leaf"], tmp_path, "largest") == ([None, None], [])
    assert decide(["kitchen/a.png"], ["cat"], tmp_path, "folder") == (["kitchen"], [])
    assert decide(["dog/a.png", "x/b.png"], ["dog"], tmp_path, "all") == (["dog", None], [])


def test_a_folder_in_other_capitals_takes_the_objects_of_its_category(tmp_path):
    Image.new("RGB", (44, 30)).save(save_photo(tmp_path / "photos" / "dog" / "a.png"))
    content = coco(file_name="dog/a.png")
    content["categories"] = [{"id": 3, "name": "Dog"}, {"id": 4, "name": "cat"}]
    larger = [[0, 0, 44, 0, 44, 28, 0, 28]]
    content["annotations"].append({**content["annotations"][0], "id": 8, "category_id": 4, "segmentation": larger})
    source = write_json(content, tmp_path / "a.json")
    made = make_masks(str(source), out=str(tmp_path / "m"), from_="coco", images=str(tmp_path / "photos"))
    (record,) = made.records
    assert record.label == "dog"
    assert record.measures["share"] == pytest.approx(20 * 15 / (44 * 30), abs=1e-5)


def test_a_second_class_folder_changes_the_class_of_the_first(tmp_path):
    content = coco(file_name="healthy/a.png")
    save_photo(tmp_path / "photos" / "healthy" / "a.png")
    options = {"out": str(tmp_path / "m"), "from_": "coco", "images": str(tmp_path / "photos")}
    source = str(write_json(content, tmp_path / "a.json"))
    assert [record.label for record in make_masks(source, **options).records] == ["cat"]
    save_photo(tmp_path / "photos" / "ill" / "b.png")
    content["images"].append({"id": 2, "file_name": "ill/b.png"})
    content["annotations"].append({**content["annotations"][0], "id": 8, "image_id": 2})
    write_json(content, tmp_path / "a.json")
    assert [record.label for record in make_masks(source, **options).records] == ["healthy", "ill"]
    (tmp_path / "m" / "ill" / "b.png").unlink()  # the missing one alone lies in a single folder
    assert [record.label for record in make_masks(source, **options).records] == ["healthy", "ill"]
