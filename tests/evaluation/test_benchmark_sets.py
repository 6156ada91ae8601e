"""Benchmark sets on disk: layouts, what counts as right, groups, and what is said when something is missing."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace

import pytest
import torch
from PIL import Image

from helpers import miniatures
from robustvit.common.errors import UserError
from robustvit.evaluation.on_sets.images import DiskImages, Preparation
from robustvit.evaluation.sets import BENCHMARKS, check_head, find_benchmarks
from robustvit.evaluation.sets.class_tables import (
    imagenet_subset,
    imagenet_wnids,
    member_classes,
    unique_imagenet_names,
)
from robustvit.evaluation.sets.table import SHORT_NAMES
from robustvit.models.classifier import Preprocessing

BOTH = ("paper", "standard")
WRITERS = {
    "imagenet-val": miniatures.write_imagenet_val,
    "imagenet-sketch": miniatures.write_imagenet_sketch,
    "imagenet-a": miniatures.write_imagenet_a,
    "imagenet-r": miniatures.write_imagenet_r,
    "imagenet-v2/matched-frequency": miniatures.write_imagenet_v2,
    "imagenet-v2/threshold0.7": lambda root: miniatures.write_imagenet_v2(root, "threshold0.7"),
    "imagenet-v2/top-images": lambda root: miniatures.write_imagenet_v2(root, "top-images"),
    "objectnet": miniatures.write_objectnet,
    "si-score/location": lambda root: miniatures.write_si_score(root, "location"),
    "si-score/rotation": lambda root: miniatures.write_si_score(root, "rotation"),
    "si-score/size": lambda root: miniatures.write_si_score(root, "size"),
    "imagenet-9/mixed_rand": miniatures.write_imagenet_9,
    "waterbirds": miniatures.write_waterbirds,
    "cue-conflict": miniatures.write_cue_conflict,
    "iwildcam": miniatures.write_iwildcam,
    "chexpert": miniatures.write_chexpert,
}


LISTED = ("waterbirds", "iwildcam", "chexpert")  # their images are named by a list


def read(root, name, protocol="standard"):
    return BENCHMARKS[name].read(root, protocol)


def key(sample, name):
    return sample.image.name if name in LISTED else f"{sample.image.parent.name}/{sample.image.name}"


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("name", WRITERS)
def test_every_image_is_listed_once_with_what_is_right(tmp_path, name, protocol):
    made = WRITERS[name](tmp_path)
    listing = read(tmp_path, name, protocol)
    wanted = {(image.split("/")[-1] if name in LISTED else image): right for image, right in made["right"].items()}
    assert len(listing.samples) == len(wanted)
    assert {key(sample, name) for sample in listing.samples} == set(wanted)
    assert all(sample.image.is_file() for sample in listing.samples)
    for sample in listing.samples:
        assert all(0 <= place < len(listing.answers.names) for place in sample.right)
    assert not listing.complete
    assert listing.expected == BENCHMARKS[name].images
    assert any(f"found {len(wanted):,} in" in problem and "incomplete" in problem for problem in listing.problems)
    assert all("\n" not in problem for problem in listing.problems)
    again = read(tmp_path, name, protocol)
    assert again.samples == listing.samples


@pytest.mark.parametrize("name", [name for name in WRITERS if name.startswith("imagenet") and "-9" not in name])
def test_answers_are_named_by_the_class_that_is_right(tmp_path, name):
    made = WRITERS[name](tmp_path)
    for protocol in BOTH:
        listing = read(tmp_path, name, protocol)
        for sample in listing.samples:
            (index,) = made["right"][key(sample, name)]
            assert listing.answers.names[sample.right[0]] == unique_imagenet_names()[index] == sample.class_name


def test_v2_folders_are_numbers_and_not_places_in_a_sorted_list(tmp_path):
    miniatures.write_imagenet_v2(tmp_path, classes=range(12), each=1)
    listing = read(tmp_path, "imagenet-v2/matched-frequency")
    assert [int(sample.image.parent.name) for sample in listing.samples] == list(range(12))
    assert [sample.right for sample in listing.samples] == [(index,) for index in range(12)]
    assert sorted(map(str, range(12)))[2] == "10"  # what a list sorted as text would have taken for class 2


def test_a_subset_restricts_the_standard_answers_only(tmp_path):
    miniatures.write_imagenet_a(tmp_path)
    paper, standard = (read(tmp_path, "imagenet-a", protocol) for protocol in BOTH)
    assert (len(paper.answers.names), len(standard.answers.names)) == (1000, 200)
    assert [sample.right[0] for sample in standard.samples] == list(range(200))
    assert [sample.right[0] for sample in paper.samples] == list(imagenet_subset("a"))


def test_objectnet_takes_the_first_class_for_the_paper_and_any_otherwise(tmp_path):
    miniatures.write_objectnet(tmp_path)
    rows = {name: row[2] for name, row in miniatures.OBJECTNET.items()}
    for protocol in BOTH:
        for sample in read(tmp_path, "objectnet", protocol).samples:
            whole = rows[sample.image.parent.name]
            assert sample.right == (whole[:1] if protocol == "paper" else whole)
            assert sample.class_name == sample.image.parent.name


def test_objectnet_loses_its_red_border_in_the_standard_protocol_only(tmp_path):
    miniatures.write_objectnet(tmp_path)
    prepare = BENCHMARKS["objectnet"].prepare
    for sample in read(tmp_path, "objectnet").samples:
        with Image.open(sample.image) as image:
            assert image.getpixel((1, 1)) == miniatures.RED
            cropped = prepare(image, "standard")
            assert cropped.size == (miniatures.SIDE, miniatures.SIDE)
            assert cropped.getpixel((0, 0)) == image.getpixel((2, 2)) != miniatures.RED
            assert prepare(image, "paper") is image
    small = Image.new("RGB", (4, 9))
    assert prepare(small, "standard") is small
    assert all(row.prepare is None for name, row in BENCHMARKS.items() if name != "objectnet")


@pytest.mark.parametrize("factor", ["location", "rotation", "size"])
def test_si_score_groups_are_values_of_the_factor(tmp_path, factor):
    made = miniatures.write_si_score(tmp_path, factor)
    for protocol in BOTH:
        listing = read(tmp_path, f"si-score/{factor}", protocol)
        assert {key(s, ""): s.group for s in listing.samples} == made["groups"]
        assert {s.right for s in listing.samples if s.class_name == "kite"} == {(21,)}
    assert BENCHMARKS[f"si-score/{factor}"].summary == {"paper": "accuracy", "standard": "group-mean"}


def test_si_score_without_metadata_is_good_for_the_papers_protocol_only(tmp_path):
    made = miniatures.write_si_score(tmp_path, "size", metadata=False)
    assert {s.group for s in read(tmp_path, "si-score/size", "paper").samples} == {""}
    with pytest.raises(UserError, match=r"metadata\.csv.*s3://si-score-dataset/object_size"):
        read(tmp_path, "si-score/size")
    beside = made["folder"].parent / "object_size"
    beside.mkdir()
    (beside / "metadata.csv").write_text("image_id,area\n1,0.01\n2,0.5\n")
    listing = read(tmp_path, "si-score/size")
    assert [s.group for s in listing.samples] == ["area 0.01", "area 0.50"]
    assert any("no row in" in problem and "and 4 more" in problem for problem in listing.problems)
    (beside / "metadata.csv").write_text("image_id,rotation\n1,0.01\n")
    with pytest.raises(UserError, match="expected the columns image_id, area"):
        read(tmp_path, "si-score/size")


def test_waterbirds_are_the_test_split_in_four_groups(tmp_path):
    made = miniatures.write_waterbirds(tmp_path)
    listing = read(tmp_path, "waterbirds")
    found = {s.image.relative_to(made["folder"]).as_posix(): (s.right, s.group) for s in listing.samples}
    assert found == {name: (right, made["groups"][name]) for name, right in made["right"].items()}
    assert len({s.group for s in listing.samples}) == 4
    gone = listing.samples[0].image
    gone.unlink()
    line = (
        f"listed in metadata.csv, but missing in {made['folder'].name}: '{gone.relative_to(made['folder']).as_posix()}'"
    )
    assert line in read(tmp_path, "waterbirds").problems
    (made["folder"] / "metadata.csv").write_text("img_filename,y,split,place\na.jpg,5,2,0\n")
    with pytest.raises(UserError, match="expected 0 or 1 in the column 'y'"):
        read(tmp_path, "waterbirds")
    (made["folder"] / "metadata.csv").write_text("img_filename,y,split\na.jpg,1,2\n")
    with pytest.raises(UserError, match="expected a column 'place'"):
        read(tmp_path, "waterbirds")


@pytest.mark.parametrize("name", ["iwildcam", "chexpert", "metashift"])
def test_sets_with_groups_name_the_group_of_every_image(tmp_path, name):
    made = getattr(miniatures, f"write_{name}")(tmp_path)
    listing = read(tmp_path, name)
    found = {s.image.relative_to(made["images"]).as_posix(): (s.right, s.group) for s in listing.samples}
    assert found == {image: (right, made["groups"][image]) for image, right in made["right"].items()}
    assert {s.class_name for s in listing.samples} == made["classes"]


def test_metashift_has_no_number_of_images_of_its_own(tmp_path):
    miniatures.write_metashift(tmp_path)
    listing = read(tmp_path, "metashift")
    assert listing.complete
    assert listing.problems == []
    shutil.rmtree(tmp_path / "MetaShift-Cat-Dog-indoor-outdoor" / "test" / "dog")
    assert any("no images of 'dog'" in problem for problem in read(tmp_path, "metashift").problems)


def test_lists_of_grouped_sets_that_are_wrong_are_refused(tmp_path):
    folder = miniatures.write_iwildcam(tmp_path)["folder"]
    text = (folder / "metadata.csv").read_text()
    (folder / "metadata.csv").write_text(text.replace(",181,", ",182,"))
    with pytest.raises(UserError, match="expected a class from 0 to 181"):
        read(tmp_path, "iwildcam")
    folder = miniatures.write_chexpert(tmp_path)["folder"]
    text = (folder / "valid.csv").read_text()
    (folder / "valid.csv").write_text(text.replace("PA,1.0", "PA,2.0"))
    with pytest.raises(UserError, match="expected 0 or 1 in the column 'No Finding'"):
        read(tmp_path, "chexpert")


def test_cue_conflict_knows_shape_and_texture(tmp_path):
    made = miniatures.write_cue_conflict(tmp_path)
    (tmp_path / "cue-conflict" / "cat" / "cat1.png").write_bytes(b"")
    listing = read(tmp_path, "cue-conflict")
    found = {key(s, ""): (s.right, s.texture) for s in listing.samples}
    assert found == {name: (right, made["textures"][name]) for name, right in made["right"].items()}
    assert any("'cat1.png'" in problem for problem in listing.problems)


def test_imagenet_9_variants_are_told_by_the_number_of_their_folders(tmp_path):
    made = miniatures.write_imagenet_9(tmp_path, ("only_fg", "original"))
    for name in ("imagenet-9/only_fg", "imagenet-9/original"):
        listing = read(tmp_path, name)
        assert {key(s, ""): s.right for s in listing.samples} == made["right"]
        assert {s.class_name for s in listing.samples} == set(listing.answers.names) - {"other"}
    shutil.move(made["folder"] / "original" / "val", made["folder"] / "original" / "test")
    with pytest.raises(UserError, match="expected the folder val"):
        read(tmp_path, "imagenet-9/original")


@pytest.mark.parametrize("name", list(BENCHMARKS))
def test_a_missing_set_says_where_to_get_it(tmp_path, name):
    row = BENCHMARKS[name]
    with pytest.raises(UserError) as caught:
        row.read(tmp_path, "paper")
    line = str(caught.value)
    assert "\n" not in line
    assert all(part in line for part in (str(tmp_path), row.folder, row.source, row.size, row.licence))
    assert ("only be evaluated" in line) == (name == "objectnet")
    assert ("stream it" in line) == (row.hub is not None)
    (tmp_path / row.folder).mkdir(parents=True)
    with pytest.raises(UserError):
        row.read(tmp_path, "paper")


def test_the_root_may_be_the_sets_own_folder(tmp_path):
    folder = miniatures.write_imagenet_val(tmp_path)["folder"]
    assert len(read(folder, "imagenet-val").samples) == 8


def test_what_does_not_belong_is_named_and_left_out(tmp_path):
    folder = miniatures.write_imagenet_val(tmp_path)["folder"]
    (folder / "n00000001").mkdir()
    (folder / "n01440764" / "notes.txt").write_text("x")
    (folder / "n01440764" / ".hidden").write_text("x")
    (folder / "stray.jpg").write_bytes(b"")
    listing = read(tmp_path, "imagenet-val")
    text = "\n".join(listing.problems)
    assert len(listing.samples) == 8
    assert all(f"'{name}'" in text for name in ("n00000001", "notes.txt", "stray.jpg"))
    assert ".hidden" not in text
    assert "no folder for 996 of 1000 classes" in text
    assert "did you mean" not in text


def test_the_nearest_class_is_suggested_for_a_name(tmp_path):
    folder = miniatures.write_si_score(tmp_path, "size")["folder"]
    (folder / "Zuchini").mkdir()
    assert any("did you mean 'zucchini'" in problem for problem in read(tmp_path, "si-score/size").problems)


def test_images_without_class_folders_are_refused(tmp_path):
    (tmp_path / "imagenet-val").mkdir()
    miniatures.draw_image(0).save(tmp_path / "imagenet-val" / "ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(UserError, match="sort them into folders"):
        read(tmp_path, "imagenet-val")


def test_a_whole_set_is_complete_and_too_many_images_are_not(tmp_path):
    miniatures.write_imagenet_9(tmp_path, ["original"])
    row = replace(BENCHMARKS["imagenet-9/original"], images=18)
    listing = row.read(tmp_path, "standard")
    assert listing.complete
    assert listing.problems == []
    too_many = replace(row, images=17).read(tmp_path, "standard")
    assert not too_many.complete
    assert "a folder of its own" in too_many.problems[0]


@pytest.mark.parametrize("file", [
    "folder_to_objectnet_label.json", "objectnet_to_imagenet_1k.json", "pytorch_to_imagenet_2012_id.json",
    "imagenet_to_label_2012_v2",
])  # fmt: skip
@pytest.mark.parametrize("text", [None, "[]", "{", '{"Bench": "park bank"}'])
def test_broken_objectnet_mappings_are_one_line(tmp_path, file, text):
    path = miniatures.write_objectnet(tmp_path)["folder"] / "mappings" / file
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(UserError) as caught:
        read(tmp_path, "objectnet")
    assert "\n" not in str(caught.value)


def test_counts_of_the_class_tables():
    nine, shapes, si = (member_classes(name) for name in ("imagenet_9", "cue_conflict", "si_score"))
    assert [len(v) for v in nine.values()] == [116, 52, 42, 36, 35, 27, 26, 20, 16]  # Xiao et al., ICLR 2021
    assert {k: len(v) for k, v in shapes.items()} == {
        "airplane": 1, "bear": 4, "bicycle": 2, "bird": 49, "boat": 5, "bottle": 7, "car": 3, "cat": 6, "chair": 4,
        "clock": 3, "dog": 109, "elephant": 2, "keyboard": 2, "knife": 1, "oven": 1, "truck": 8,
    }  # fmt: skip
    assert len(si) == 61
    assert si["kite"] == (21,)
    assert all(len(v) == 1 for v in si.values())
    assert list(shapes) == sorted(shapes)
    assert list(si) == sorted(si)
    for table in (nine, shapes, si):
        members = [index for indices in table.values() for index in indices]
        assert len(set(members)) == len(members)
        assert set(members) <= set(range(1000))
    assert {n: unique_imagenet_names()[i] for n, (i,) in si.items() if n in ("kite", "taxi", "pig", "hedgehog")} == {
        "kite": "kite", "taxi": "cab", "pig": "hog", "hedgehog": "porcupine",
    }  # fmt: skip


def test_imagenet_classes_come_from_timm():
    assert len(imagenet_wnids()) == len(set(unique_imagenet_names())) == 1000
    assert list(imagenet_wnids()) == sorted(imagenet_wnids())
    assert (imagenet_wnids()[21], unique_imagenet_names()[21]) == ("n01608432", "kite")
    for name in "ar":
        assert len(set(imagenet_subset(name))) == 200
        assert list(imagenet_subset(name)) == sorted(imagenet_subset(name))
    with pytest.raises(UserError, match="pip install"):
        imagenet_subset("z")


def test_sets_are_found_by_name():
    def names(wanted):
        return [row.name for row in find_benchmarks(wanted)]

    assert names("imagenet-v2, objectnet") == ["imagenet-v2/matched-frequency", "objectnet"]
    assert names(["si-score", "si-score/size"]) == ["si-score/location", "si-score/rotation", "si-score/size"]
    assert len(names("imagenet-9")) == 8
    assert {part for whole in SHORT_NAMES.values() for part in whole} <= set(BENCHMARKS)
    assert all(name == row.name for name, row in BENCHMARKS.items())
    with pytest.raises(UserError, match=r"did you mean imagenet-sketch.*\? expected one of chexpert, .*waterbirds"):
        find_benchmarks("imagenet-sketsh")
    with pytest.raises(UserError, match="did you mean imagenet-a"):
        find_benchmarks(["ImageNet_A"])
    with pytest.raises(UserError, match=r"expected one of .*waterbirds"):
        find_benchmarks("qqq")
    with pytest.raises(UserError, match="got none"):
        find_benchmarks([])


def test_a_head_of_other_classes_is_refused():
    check_head(BENCHMARKS["imagenet-a"], 1000)
    check_head(BENCHMARKS["waterbirds"], 2)
    with pytest.raises(UserError, match=r"1000 classes, got one with 21841.*in1k"):
        check_head(BENCHMARKS["imagenet-a"], 21841)
    with pytest.raises(UserError, match=r"own 2 classes, got one with 1000: finetune"):
        check_head(BENCHMARKS["waterbirds"], 1000)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_images_of_every_set_can_go_to_another_process(tmp_path, name):
    draw = Image.effect_noise((40, 30), 50).convert("RGB")
    images = DiskImages([], tmp_path, Preparation(BENCHMARKS[name], "standard", Preprocessing((24, 24))))
    there = pickle.loads(pickle.dumps(images))  # noqa: S301  as spawned readers get them, on macOS and Windows
    assert torch.equal(there.prepare(draw), images.prepare(draw))
