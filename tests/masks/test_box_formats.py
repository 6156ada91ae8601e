"""Boxes in every format, from the command line and from Python: masks of known values, and what is asked or named."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from helpers.annotation_files import CORNERS, HEIGHT, WIDTH, box_mask, coco, complaints, save_photo, write_json
from robustvit import UserError, make_masks
from robustvit.cli import main as cli
from robustvit.data.manifest import read_manifest
from robustvit.data.mask_files import read_mask
from robustvit.data.mask_values import FAINT
from robustvit.masks.annotations import read_annotations
from robustvit.masks.annotations.box_reading import BoxReading
from robustvit.masks.annotations.boxes import draw_ellipse

pytest.importorskip("pycocotools.mask")

SHARP = {"boxes": "box", "feather": 0.0}
CENTRED = f"{20 / WIDTH} {12.5 / HEIGHT} {20 / WIDTH} {15 / HEIGHT}"  # the box of ``box_mask``


def coco_boxes(**changes) -> dict:
    return coco(segmentation=[], bbox=[10, 5, 20, 15], **changes)


def voc(*boxes, **changes) -> str:
    """An XML file with boxes ``(name, xmin, ymin, xmax, ymax)``, pixels counted from 1."""
    said = {"filename": "a.png", "width": WIDTH, "height": HEIGHT, **changes}
    objects = "".join(
        f"<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax>"
        f"<ymax>{y1}</ymax></bndbox><part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax>"
        "<ymax>2</ymax></bndbox></part></object>"
        for name, x0, y0, x1, y1 in boxes
    )
    return (
        f"<annotation><filename>{said['filename']}</filename><size><width>{said['width']}</width>"
        f"<height>{said['height']}</height><depth>3</depth></size>{objects}</annotation>"
    )


def megadetector(*detections, **changes) -> dict:
    box = [10 / WIDTH, 5 / HEIGHT, 20 / WIDTH, 15 / HEIGHT]
    found = detections or ({"category": "1", "conf": 0.9, "bbox": box},)
    return {
        "info": {"format_version": "1.3", "detector": "md_v5a.0.0.pt"},
        "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
        "images": [{"file": "a.png", "detections": list(found)}],
    } | changes


def write_source(form: str, folder):
    """The box of ``box_mask``, as one object in one photo, in a format."""
    save_photo(folder / "images" / "a.png")
    if form == "coco":
        return write_json(coco_boxes(), folder / "a.json")
    if form == "megadetector":
        return write_json(megadetector(), folder / "a.json")
    if form == "microsoft's megadetector":
        entry = {"category": "animal", "confidence": 0.9, "bbox": [10, 5, 30, 20]}
        return write_json([{"file": "a.png", "detections": [entry]}], folder / "a.json")
    if form == "labelme":
        shape = {"label": "cat", "points": [[10, 5], [30, 20]], "shape_type": "rectangle"}
        return write_json({"shapes": [shape], "imagePath": "../images/a.png"}, folder / "json" / "a.json").parent
    (folder / "labels").mkdir()
    if form == "voc-xml":
        (folder / "labels" / "a.xml").write_text(voc(("cat", 11, 6, 30, 20)))
        return folder / "labels"
    confidence = " 0.9" if form == "yolo detections" else ""
    (folder / "classes.txt").write_text("cat\n")
    (folder / "labels" / "a.txt").write_text(f"0 {CENTRED}{confidence}\n")
    return folder


FORMS = ("coco", "yolo", "yolo detections", "voc-xml", "megadetector", "microsoft's megadetector", "labelme")


def code(form: str) -> str:
    return form.split()[-1] if "'" in form else form.split()[0]


@pytest.mark.parametrize("form", FORMS)
def test_a_box_becomes_an_ellipse_or_a_box(tmp_path, form):
    source = str(write_source(form, tmp_path))
    images = str(tmp_path / "images")
    made = make_masks(source, out=str(tmp_path / "e"), from_=code(form), images=images)
    (record,) = made.records
    grey = (255 * draw_ellipse((10, 5, 30, 20), (HEIGHT, WIDTH))).round()
    assert np.array_equal((255 * read_mask(record.mask)).round(), np.where(grey < FAINT, 0, grey))
    assert record.source == f"{code(form)}, boxes as ellipse, feather 0.2"
    assert record.verdict == "good"
    assert record.confidence == (0.9 if "detect" in form else 1.0)
    assert "1 object with a box alone: boxes as ellipse, feather 0.2 (--boxes)" in str(made)
    assert made.problems == []
    sharp = make_masks(source, out=str(tmp_path / "b"), from_=code(form), images=images, **SHARP)
    assert np.array_equal(read_mask(sharp.records[0].mask), box_mask())
    assert sharp.records[0].source.endswith("boxes as box, feather 0")
    with pytest.raises(UserError, match="boxes ellipse, not box"):
        make_masks(source, out=str(tmp_path / "e"), from_=code(form), images=images, **SHARP)
    assert make_masks(source, out=str(tmp_path / "e"), from_=code(form), images=images).made == 0


@pytest.mark.parametrize("form", FORMS)
def test_from_the_command_line(tmp_path, capsys, form):
    source, out = str(write_source(form, tmp_path)), tmp_path / "masks"
    options = ["--images", str(tmp_path / "images"), "--out", str(out), "--boxes", "box", "--feather", "0"]
    assert cli.main(["masks", "--from", code(form), source, *options]) == 0
    assert "1 mask in" in capsys.readouterr().out
    (record,) = read_manifest(out / "manifest.csv")
    assert np.array_equal(read_mask(record.mask), box_mask())
    settings = json.loads((out / "settings.json").read_text())
    assert settings["boxes"] == "box"
    assert settings["feather"] == 0
    assert settings["min_confidence"] == (0.2 if code(form) == "megadetector" else 0)


def test_several_boxes_are_united(tmp_path):
    content = coco_boxes()
    content["annotations"].append({**content["annotations"][0], "id": 8, "bbox": [2, 20, 10, 8]})
    save_photo(tmp_path / "images" / "a.png")
    source = write_json(content, tmp_path / "a.json")
    (record,) = make_masks(
        str(source), out=str(tmp_path / "m"), from_="coco", images=str(tmp_path / "images"), **SHARP
    ).records
    expected = box_mask()
    expected[20:28, 2:12] = True
    assert np.array_equal(read_mask(record.mask), expected)


def read_boxes(form, source, folder, **options):
    return read_annotations(form, source, folder / "images", boxes=BoxReading(**options))


def test_broken_boxes_are_named_and_the_others_used(tmp_path):
    boxes = ([5, 5, 0, 9], [5, 5, 9, -3], [90, 5, 9, 9], [40, 5, 20, 9], None, [1, 2, 3], [1, 2, "3", 4], [5, 5, 9, 9])
    content = coco_boxes()
    content["annotations"] = [
        {"id": number, "image_id": 1, "category_id": 3, "bbox": box, "iscrowd": int(number == 7)}
        for number, box in enumerate(boxes)
    ]
    save_photo(tmp_path / "images" / "a.png")
    annotations = read_boxes("coco", write_json(content, tmp_path / "a.json"), tmp_path)
    found = complaints(annotations)
    for words in (
        "annotation 0: a box of 0 x 9", "annotation 1: a box of 9 x -3", "annotation 2: a box outside the photo",
        "annotation 3: the box reaches beyond the photo, cut off", "annotation 4: empty segmentation and no box",
        "annotation 5: expected a box of four numbers", "annotation 6: expected a box of four numbers",
    ):  # fmt: skip
        assert words in found
    assert len(annotations.photos[0].read()) == 2


def test_outlines_stay_outlines_beside_boxes(tmp_path):
    content = coco()
    content["annotations"].append({"id": 8, "image_id": 1, "category_id": 3, "bbox": [2, 22, 6, 6]})
    content["annotations"][0]["segmentation"] = [[10, 5, 30, 5, 30, 20]]
    save_photo(tmp_path / "images" / "a.png")
    boxes = BoxReading()
    annotations = read_annotations("coco", write_json(content, tmp_path / "a.json"), tmp_path / "images", boxes=boxes)
    assert [one.boxed for one in annotations.photos[0].read()] == [False, True]
    assert len(boxes.summary()) == 1


def test_rectangles_drawn_as_outlines_are_boxes_if_that_is_asked_for(tmp_path):
    save_photo(tmp_path / "images" / "a.png")
    source = write_json(coco(), tmp_path / "a.json")
    options = {"from_": "coco", "images": str(tmp_path / "images")}
    made = make_masks(str(source), out=str(tmp_path / "m"), **options)
    assert np.array_equal(read_mask(made.records[0].mask), box_mask())
    assert made.notes == (
        "every outline (1) is an upright rectangle and used as drawn: if they are boxes, say --boxes ellipse",
    )
    asked = make_masks(str(source), out=str(tmp_path / "e"), boxes="ellipse", **options)
    assert asked.records[0].source == "coco, boxes as ellipse, feather 0.2"
    assert read_mask(asked.records[0].mask)[5, 10] == 0


UNITS = {
    "coco": (coco(segmentation=[], bbox=[10 / WIDTH, 5 / HEIGHT, 20 / WIDTH, 15 / HEIGHT]), "shares"),
    "megadetector": (megadetector({"category": "1", "conf": 0.9, "bbox": [10, 5, 20, 15]}), "pixels"),
    "voc-xml": (voc(("cat", 10 / WIDTH, 5 / HEIGHT, 30 / WIDTH, 20 / HEIGHT)), "shares"),
    "yolo": ("0 20 12.5 20 15", "pixels"),
}


@pytest.mark.parametrize("form", UNITS)
def test_other_units_are_asked_about(tmp_path, form):
    content, units = UNITS[form]
    save_photo(tmp_path / "images" / "a.png")
    source = tmp_path / "labels" / ("a.xml" if form == "voc-xml" else "a.txt" if form == "yolo" else "a.json")
    source.parent.mkdir()
    source.write_text(content if isinstance(content, str) else json.dumps(content))
    source = source.parent.parent if form == "yolo" else source
    options = {"from_": form, "images": str(tmp_path / "images"), **SHARP}
    with pytest.raises(UserError, match="--box-units pixels or --box-units shares") as caught:
        make_masks(str(source), out=str(tmp_path / "m"), **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "m").exists()
    made = make_masks(str(source), out=str(tmp_path / "m"), box_units=units, **options)
    assert np.array_equal(read_mask(made.records[0].mask), box_mask())


def test_yolo_lines_of_trackers_and_outlines(tmp_path):
    save_photo(tmp_path / "images" / "a.png")
    (tmp_path / "labels").mkdir()
    for text, boxed in (
        (f"0 {CENTRED} 0.9 1\n0 {CENTRED} 0.8 2", [True, True]),
        (f"0 {CENTRED} 7", [True]),
        (f"0 {CENTRED}\n0 {CORNERS}", [True, False]),
        ("0 0.2 0.2 0.8 0.2 0.8 1", [False]),
        ("0 0.5 0.1 0.9 0.5 0.5 0.9 0.1 0.5", [False]),
    ):
        (tmp_path / "labels" / "a.txt").write_text(text)
        annotations = read_boxes("yolo", tmp_path, tmp_path)
        assert [one.boxed for one in annotations.photos[0].read()] == [*sorted(boxed)], text
        assert ("as oriented boxes do" in complaints(annotations)) == text.startswith("0 0.5 0.1")


def test_yolo_pose_has_boxes_if_that_is_asked_for(tmp_path):
    save_photo(tmp_path / "images" / "a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "data.yaml").write_text("names: [cat]\nkpt_shape: [2, 2]\n")
    (tmp_path / "labels" / "a.txt").write_text(f"0 {CENTRED} 0.45 0.4 0.5 0.5\n")
    with pytest.raises(UserError, match="say --boxes ellipse to use their boxes alone"):
        make_masks(str(tmp_path), out=str(tmp_path / "m"), from_="yolo", images=str(tmp_path / "images"))
    made = make_masks(str(tmp_path), out=str(tmp_path / "m"), from_="yolo", images=str(tmp_path / "images"), **SHARP)
    assert np.array_equal(read_mask(made.records[0].mask), box_mask())


def test_yolo_empty_files_are_photos_without_an_object(tmp_path):
    for name in ("a", "b"):
        save_photo(tmp_path / "images" / f"{name}.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text(f"0 {CENTRED}")
    (tmp_path / "labels" / "b.txt").write_text("")
    made = make_masks(str(tmp_path), out=str(tmp_path / "m"), from_="yolo", images=str(tmp_path / "images"))
    assert made.skipped == {"no object is marked": 1}
    assert [record.verdict for record in made.records] == ["good", "none"]


def test_megadetector_blanks_thresholds_and_failures(tmp_path, capsys):
    for name in ("a", "blank", "unsure", "failed", "people"):
        save_photo(tmp_path / "images" / "site 1" / f"{name}.jpg")
    box = [0.2, 0.2, 0.5, 0.5]
    entries = [
        {"file": r"C:\traps\site 1\a.jpg", "detections": [{"category": "1", "conf": 0.3, "bbox": box}]},
        {"file": "site 1/blank.jpg", "detections": []},
        {"file": "site 1/unsure.jpg", "detections": [{"category": "1", "conf": 0.21, "bbox": box}]},
        {"file": "site 1/failed.jpg", "failure": "Failure image access", "detections": None},
        {"file": "site 1/people.jpg", "detections": [{"category": "2", "conf": 0.8, "bbox": box}]},
        {"file": "site 1/film.mp4", "detections": [{"category": "2", "conf": 0.8, "bbox": box}], "frame_rate": 20},
    ]
    info = {"detector_metadata": {"typical_detection_threshold": 0.25}}
    source = write_json(megadetector(images=entries, info=info), tmp_path / "a.json")
    options = {"from_": "megadetector", "images": str(tmp_path / "images")}
    made = make_masks(str(source), out=str(tmp_path / "m"), **options)
    verdicts = {record.image.stem: (record.label, record.verdict) for record in made.records}
    assert verdicts == {
        "a": ("animal", "good"), "blank": (None, "none"), "unsure": (None, "none"), "people": ("person", "good"),
    }  # fmt: skip
    assert made.skipped == {"no object is marked with a confidence of 0.25 or more": 2}
    assert "1 detection with a confidence below 0.25 left out (--min-confidence)" in made.notes
    said = "\n".join(made.problems)
    assert "site 1/failed.jpg: the detector failed on it ('Failure image access'); left out" in said
    assert "site 1/film.mp4: no photo" in said
    animals = make_masks(
        str(source), out=str(tmp_path / "n"), categories=["animal"], min_confidence=0.1, **options
    )  # fmt: skip
    assert {record.image.stem for record in animals.records if record.mask} == {"a", "unsure"}
    assert "people.jpg: no object of the categories asked for" in "\n".join(animals.problems)
    with pytest.raises(UserError, match="unknown category 'cat'"):
        make_masks(str(source), out=str(tmp_path / "c"), categories=["cat"], **options)
    assert cli.main(["masks", "--from", "megadetector", str(source), "--images", str(tmp_path / "images"), "--out",
                     str(tmp_path / "o"), "--min-confidence", "0.99"]) == 2  # fmt: skip
    assert "no object is marked with a confidence of 0.99 or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    "detection",
    [{"category": "9", "conf": 0.9, "bbox": [0, 0, 1, 1]}, {"category": "1", "conf": 90, "bbox": [0, 0, 1, 1]}, 7,
     {"category": "1", "conf": 0.9}, {"conf": 0.9, "bbox": [0, 0, 1, 1]}, {"category": [], "conf": 1, "bbox": []}],
)  # fmt: skip
def test_broken_detections_are_named(tmp_path, detection):
    save_photo(tmp_path / "images" / "a.png")
    annotations = read_boxes("megadetector", write_json(megadetector(detection), tmp_path / "a.json"), tmp_path)
    assert "a.png: detection 1: " in complaints(annotations)


def test_results_of_megadetector_are_recognised(tmp_path):
    save_photo(tmp_path / "images" / "a.png")
    for content in (megadetector(), megadetector()["images"]):
        with pytest.raises(UserError, match=r"found results of MegaDetector \(read them as megadetector\)"):
            read_boxes("coco", write_json(content, tmp_path / "a.json"), tmp_path)


@pytest.mark.parametrize(
    "content", [{}, [], {"detection_categories": {}}, {"images": 3}, {"images": ["a"]}, coco(), [{"image_id": 1}]]
)
def test_other_files_are_no_results_of_megadetector(tmp_path, content):
    save_photo(tmp_path / "images" / "a.png")
    with pytest.raises(UserError, match="expected MegaDetector's results"):
        read_boxes("megadetector", write_json(content, tmp_path / "a.json"), tmp_path)


def write_voc(folder, **files):
    for name, text in files.items():
        path = folder / "Annotations" / f"{name}.xml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder / "Annotations"


def test_voc_files_find_their_photos(tmp_path):
    for name in ("a", "b", "renamed", "nothing"):
        save_photo(tmp_path / "JPEGImages" / f"{name}.jpg")
    cat = ("cat", 11, 6, 30, 20)
    source = write_voc(
        tmp_path, a=voc(cat, filename="old.jpg"), b=voc(("dog", 11, 6, 30, 20), width=0, height=0),
        c=voc(cat, filename="renamed.jpg"), d=voc(cat, filename="a.jpg"), e=voc(cat, filename="e.jpg"),
        nothing=voc(filename="nothing.jpg"), other="<html/>", broken="<annotation>", wrong=voc(cat, width=9),
    )  # fmt: skip
    save_photo(tmp_path / "JPEGImages" / "wrong.jpg")
    annotations = read_annotations("voc", source, None)  # there are no masks that it could mean
    objects = {photo.image.stem: photo.read(boxes=BoxReading("box", feather=0)) for photo in annotations}
    assert {name: [one.category for one in found] for name, found in objects.items()} == {
        "a": ["cat"], "b": ["dog"], "renamed": ["cat"], "nothing": [],
    }  # fmt: skip
    assert np.array_equal(objects["a"][0].mask, box_mask())
    assert annotations.categories == ("cat", "dog")
    found = "\n".join(annotations.problems)
    for words in (
        "d.xml: it names", "e.xml: no photo 'e.jpg'", "other.xml: expected VOC's XML",
        "broken.xml: it is not valid XML", f"has {HEIGHT} x {WIDTH} pixels",
    ):  # fmt: skip
        assert words in found


def test_voc_broken_boxes_and_outlines(tmp_path):
    save_photo(tmp_path / "images" / "a.png")
    outline = "<object><name>cat</name><polygon><x1>10</x1><y1>5</y1><x2>30</x2><y2>5</y2><x3>30</x3><y3>20</y3>"
    outline += "</polygon><bndbox><xmin>10</xmin></bndbox></object>"
    points = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in ((10, 5), (30, 5), (30, 20)))
    outline += f"<object><name>dog</name><polygon>{points}</polygon></object><object><name>none</name></object>"
    text = voc(("cat", 5, 5, 5, 9), ("cat", "x", 5, 9, 9), ("cat", 6, 6, 15, 15))
    source = write_voc(tmp_path, a=text.replace("</annotation>", f"{outline}</annotation>"))
    annotations = read_boxes("voc-xml", source, tmp_path)
    found = complaints(annotations)
    assert "object 1 ('cat'): a box from 5, 5 to 5, 9" in found
    assert "object 2 ('cat'): expected a number as xmin, found 'x'" in found
    assert "object 6 ('none'): expected a bndbox, found none" in found
    assert sorted((one.category, one.boxed) for one in annotations.photos[0].read()) == [
        ("cat", False), ("cat", True), ("dog", False),
    ]  # fmt: skip


def test_voc_refuses_entities_and_mixed_folders(tmp_path):
    save_photo(tmp_path / "images" / "a.png")
    source = write_voc(tmp_path, a='<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>')
    with pytest.raises(UserError, match="declares types"):
        make_masks(str(source), out=str(tmp_path / "m"), from_="voc-xml", images=str(tmp_path / "images"))
    save_photo(source / "a.png")
    with pytest.raises(UserError, match="say --from voc-xml to read the XML files"):
        read_annotations("voc", source, tmp_path / "images")


def test_folders_of_earlier_versions_go_on(tmp_path):
    save_photo(tmp_path / "images" / "a.png")
    source, out = write_json(coco(), tmp_path / "a.json"), tmp_path / "m"
    options = {"from_": "coco", "images": str(tmp_path / "images")}
    make_masks(str(source), out=str(out), **options)
    settings = json.loads((out / "settings.json").read_text())
    old = {name: settings[name] for name in ("from", "categories", "label_from", "orientation")}
    (out / "settings.json").write_text(json.dumps(old))
    assert make_masks(str(source), out=str(out), **options).made == 0
    with pytest.raises(UserError, match="boxes ellipse, not box"):
        make_masks(str(source), out=str(out), boxes="box", **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"boxes": "circle"}, "--boxes"), ({"feather": 1.5}, "--feather from 0 to 1"),
     ({"box_units": "px"}, "--box-units"),
     ({"min_confidence": 20}, "--min-confidence from 0 to 1"), ({"boxes": "sam", "feather": 0.1}, "leave it out"),
     ({"boxes": "ellipse", "from_": None}, "--boxes belongs to annotations"),
     ({"min_confidence": 0.1, "from_": "binary"}, "--min-confidence is for boxes, which --from binary")],
)  # fmt: skip
def test_options_are_checked(tmp_path, options, words):
    with pytest.raises(UserError, match=words):
        make_masks(str(tmp_path), out=str(tmp_path / "m"), **{"from_": "coco", **options})


TEXTS = {
    "coco": json.dumps({**coco_boxes(), "annotations": [*coco_boxes(score=0.5, iscrowd=1)["annotations"]]}),
    "megadetector": json.dumps(megadetector()),
    "voc-xml": voc(("cat", 5, 5, 15, 9)),
    "yolo": f"0 {CENTRED} 0.9\n1 0.5 0.5 0.2 0.2\n",
}


@pytest.mark.parametrize("form", TEXTS)
def test_random_changes_of_text_never_crash(tmp_path, form):
    save_photo(tmp_path / "images" / "a.png")
    path = tmp_path / "labels" / ("a.txt" if form == "yolo" else "a.xml" if form == "voc-xml" else "a.json")
    path.parent.mkdir()
    rng, usable = random.Random(0), 0
    refused: list[str] = []
    for _ in range(200):
        text = list(TEXTS[form])
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(text))
            text[at] = rng.choice(["", "-", "e9", "9", ".", "x", "null", "[]", "NaN", "\x00", "é", "<a>", '"', "1e999"])
        path.write_text("".join(text))
        try:
            annotations = read_boxes(form, tmp_path if form == "yolo" else path, tmp_path)
            for photo in annotations:
                usable += any(one.mask.any() for one in photo.read())
        except UserError as error:
            refused.append(str(error))
    assert usable
    assert all(len(line.splitlines()) == 1 for line in refused)


def test_species_are_said_not_to_be_used(tmp_path):
    save_photo(tmp_path / "photos" / "a.png")
    box = [10 / WIDTH, 5 / HEIGHT, 20 / WIDTH, 15 / HEIGHT]
    found = {"category": "1", "label": "animal", "conf": 0.9, "bbox": box}
    speciesnet = {"predictions": [{"filepath": "x/a.png", "detections": [found], "prediction": "lion"}]}
    classified = megadetector({**found, "classifications": [["7", 0.9]]}, classification_categories={"7": "lion"})
    for content in (speciesnet, classified):
        source = write_json(content, tmp_path / "results.json")
        annotations = read_annotations("auto", source, tmp_path / "photos", boxes=BoxReading(shape="box", feather=0))
        assert "species are not used" in complaints(annotations)
        (one,) = annotations.photos[0].read()
        assert one.category == "animal"
        assert np.array_equal(one.mask > 0.5, box_mask())
