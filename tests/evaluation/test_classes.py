"""``robustvit classes`` as a user gets it: from the command line to the page, on a set and on your own photos."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from torch.nn import functional

from helpers.browser import chromium, opened
from helpers.drawn_photos import CLASSES, write_photos
from helpers.miniatures import draw_image, write_imagenet_val
from helpers.small_models import tiny_network
from robustvit import UserError, classes, load_model, relevance
from robustvit.cli import main as cli
from robustvit.common.pictures import jpeg_url, overlay
from robustvit.common.wording import signed, with_minus
from robustvit.data.datasets import enlarge_input, evaluation_transform
from robustvit.data.read_photos import read_photo
from robustvit.evaluation.on_sets import loop
from robustvit.evaluation.sets import BENCHMARKS
from robustvit.evaluation.sets.answers import AllClasses, MemberMaxima, SubsetAnswers
from robustvit.evaluation.sets.benchmark import Hub
from robustvit.evaluation.sets.class_tables import imagenet_subset, imagenet_wnids, unique_imagenet_names
from robustvit.models.classifier import Classifier
from robustvit.models.save import save_model

LABELS = (0, 1, 10, 999)
EACH = 8
# Images of each class that are right before, and after, by their place.
RIGHT = {
    0: ({0, 1}, {0, 1, 2, 3, 4, 5, 6, 7}),
    1: ({0, 1, 2, 3, 4, 5, 6}, {0, 3}),
    10: ({1, 2}, {2, 3}),
    999: ({0}, {0}),
}
WRONG = 500


def answering(paths, answers, num_classes=1000):
    """A transformer whose head was solved to give these answers to these images, with a margin of 9."""
    network = tiny_network(num_classes, embed_dim=48, depth=1)
    transform = evaluation_transform(Classifier(network).preprocessing)
    with torch.no_grad():
        images = torch.stack([transform(read_photo(path)).as_subclass(torch.Tensor) for path in paths])
        features = network.forward_head(network.forward_features((images - 0.5) / 0.5), pre_logits=True).double()
        wanted = 9 * torch.nn.functional.one_hot(torch.tensor(answers), num_classes).double()
        network.head.weight.copy_(torch.linalg.lstsq(features, wanted, driver="gelsd").solution.T.float())
        network.head.bias.zero_()
        assert network.head(features.float()).argmax(1).tolist() == answers
    return Classifier(network)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A miniature of ImageNet's validation set, and the models ``before`` and ``after`` that answer it so."""
    root = tmp_path_factory.mktemp("classes")
    made = write_imagenet_val(root, LABELS, EACH)
    paths = [made["folder"] / name for name in made["right"]]
    for place, name in enumerate(("before", "after")):
        answers = [
            label if number in RIGHT[label][place] else WRONG + place for label in LABELS for number in range(EACH)
        ]
        save_model(answering(paths, answers), root / name)
    return root


def run(capsys, *arguments):
    code = cli.main(["classes", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def on_the_set(world, out, *more, model="after", baseline="before"):
    models = ["--model", world / model, "--baseline", baseline if baseline == "original" else world / baseline]
    return [*models, "--on", "imagenet-val", "--root", world, "--records", out.parent / "records", "--out", out, *more]


def test_on_a_set_every_class_and_every_figure(capsys, world, tmp_path):
    out = tmp_path / "pages" / "classes.html"
    code, said, error = run(capsys, *on_the_set(world, out))
    assert code == 0, error
    record = json.loads(out.with_suffix(".json").read_text())
    rows = {row["name"]: row for row in record["classes"]}
    assert list(rows) == [unique_imagenet_names()[label] for label in (0, 10, 999, 1)]
    for label, (before, after) in RIGHT.items():
        row = rows[unique_imagenet_names()[label]]
        assert (row["helped"], row["harmed"]) == (len(after - before), len(before - after))
        assert row["before"]["mean"] == len(before) / EACH
        assert row["after"]["mean"] == len(after) / EACH
        assert row["images"] == EACH
        assert row["seen"] is None
    assert record["overall"]["before"]["mean"] == 12 / 32
    assert record["overall"]["after"]["mean"] == 13 / 32
    assert (record["overall"]["helped"], record["overall"]["harmed"]) == (7, 6)
    assert record["tally"] == {"all": tally(4, 1, 1, 2)}
    assert record["data"]["images"] == 32
    assert record["data"]["expected"] == 50_000
    assert "1 rose, 1 fell and 2 stayed" in record["sentence"]
    assert "tench" in said.partition("changed most, not significantly")[2]
    assert "helped most" not in said
    assert record["sentence"] in said
    assert str(out) in said
    assert len(list((out.parent / "records").glob("*.json"))) == 2


def tally(count, rose, fell, unchanged):
    return {"classes": count, "rose": rose, "fell": fell, "unchanged": unchanged} | {
        "rose_significant": 0, "fell_significant": 0
    }  # fmt: skip


def test_pictures_are_of_the_first_that_turned_in_the_sets_order(capsys, world, tmp_path):
    out = tmp_path / "classes.html"
    assert run(capsys, *on_the_set(world, out, "--classes-shown", 1, "--samples", 3))[0] == 0
    harmed, helped = json.loads(out.with_suffix(".json").read_text())["panels"]
    assert (harmed["direction"], harmed["name"], harmed["total"]) == ("harmed", "goldfish", 5)
    assert (helped["direction"], helped["name"], helped["total"]) == ("helped", "tench", 6)
    names = [f"{imagenet_wnids()[1]}/ILSVRC2012_val_{EACH + 1 + place:08d}.JPEG" for place in (1, 2, 4)]
    assert [Path(one["image"]).parts[-2:] for one in harmed["images"]] == [Path(name).parts for name in names]
    for one in harmed["images"]:
        assert (one["before"]["answer"], one["after"]["answer"]) == ("goldfish", unique_imagenet_names()[WRONG + 1])
        assert one["before"]["probability"] == pytest.approx(0.89, abs=0.02)  # e^9 / (e^9 + 999)
    page = out.read_text()
    assert page.count("data:image/jpeg;base64,") == 3 * 6


def test_what_is_recorded_is_not_asked_again(capsys, world, tmp_path, monkeypatch):
    out = tmp_path / "classes.html"
    assert run(capsys, *on_the_set(world, out))[0] == 0
    first = json.loads(out.with_suffix(".json").read_text())
    monkeypatch.setattr(loop, "_answer_batch", None)
    assert run(capsys, *on_the_set(world, out, "--count", 1, "--samples", 0))[0] == 0
    again = json.loads(out.with_suffix(".json").read_text())
    assert again["classes"] == first["classes"]
    assert again["overall"] == first["overall"]
    assert again["shown"] == {"helped": [], "harmed": []}, "no change is significant"
    assert "No class changed significantly" in out.read_text()
    assert again["panels"] == []
    assert "Images whose answer changed" not in out.read_text()


def test_the_same_model_twice_changes_nothing_and_the_page_says_so(capsys, world, tmp_path):
    out = tmp_path / "classes.html"
    code, said, _ = run(capsys, *on_the_set(world, out, baseline="after"))
    assert code == 0
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["same_weights"]
    assert record["sentence"].startswith("Nothing changed: on all 32 images")
    assert "Nothing changed" in said
    page = out.read_text()
    assert "Nothing changed" in page
    assert "Model and baseline have the same weights." in page
    assert "<svg" not in page
    assert record["panels"] == []


def test_maps_are_of_the_answers_that_were_given(capsys, tmp_path):
    """On ImageNet-A only its 200 classes can be answered, also where another class has the highest logit."""
    labels = imagenet_subset("a")[:3]
    places = [tmp_path / "imagenet-a" / imagenet_wnids()[label] / f"{n}.jpg" for label in labels for n in range(3)]
    for number, place in enumerate(places):
        place.parent.mkdir(parents=True, exist_ok=True)
        draw_image(number).save(place)
    right = [label for label in labels for _ in range(3)]
    wrong = [right[3], *right[1:]]
    models = [answering(places, said) for said in (right, wrong)]
    with torch.no_grad():
        for model in models:
            weight = model.network.head.weight  # the first class, tench, is none of the 200
            weight[0] = 2 * weight[labels[0]] + weight[labels[2]]
    for name, model in zip(("before", "after"), models, strict=True):
        save_model(model, tmp_path / name)
    out = tmp_path / "classes.html"
    arguments = ["--on", "imagenet-a", "--root", tmp_path, "--records", tmp_path / "records", "--out", out]
    code, _, error = run(capsys, "--model", tmp_path / "after", "--baseline", tmp_path / "before", *arguments)
    assert code == 0, error
    (panel,) = json.loads(out.with_suffix(".json").read_text())["panels"]
    assert [one["after"]["answer"] for one in panel["images"]] == [unique_imagenet_names()[labels[1]]]
    image = evaluation_transform(models[0].preprocessing)(read_photo(places[0])).as_subclass(torch.Tensor)
    larger = enlarge_input(models[0].preprocessing, 280)
    sharp = evaluation_transform(larger)(read_photo(places[0])).as_subclass(torch.Tensor)
    expected = []
    for model, target in zip(models, (labels[0], labels[1]), strict=True):
        found = relevance(model, image[None], torch.tensor([target])).detach()
        expected.append(jpeg_url(overlay(sharp, functional.interpolate(found, sharp.shape[1:], mode="bilinear")[0])))
    assert re.findall(r"data:image/jpeg;base64,[^\"]+", out.read_text())[1:] == expected
    best = int(models[0](image[None]).argmax())
    assert best == 0
    assert jpeg_url(overlay(image, relevance(models[0], image[None])[0].detach())) != expected[0]


@pytest.fixture(scope="module")
def trained(world):
    """A run folder that started from ``before``, was trained on two of the classes and has ``after`` as its best."""
    folder = world / "run"
    save_model(load_model(f"local-dir:{world / 'after'}"), folder / "best")
    settings = {"robustvit": "0.1.0", "model": f"local-dir:{world / 'before'}", "recipe": None, "checkpoint": None}
    settings |= {"num_classes": None, "class_names": None, "normalization": None, "images": "photos"}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    with (folder / "selection.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["image", "mask", "label", "split"], *(["x", "y", label, "train"] for label in (0, 999))])
    verdict = {"accepted": True, "sentence": "Better.", "comparisons": [], "notes": []}
    for place in (folder, folder / "best"):
        (place / "verdict.json").write_text(json.dumps(verdict))
    return folder


def test_classes_seen_in_finetuning_are_marked(capsys, world, trained, tmp_path):
    out = tmp_path / "classes.html"
    code, _, error = run(capsys, *on_the_set(world, out, model="run", baseline="original"))
    assert code == 0, error
    record = json.loads(out.with_suffix(".json").read_text())
    names = unique_imagenet_names()
    assert {row["name"]: row["seen"] for row in record["classes"]} == {
        names[0]: True, names[999]: True, names[1]: False, names[10]: False
    }  # fmt: skip
    assert record["tally"]["seen"] == tally(2, 1, 0, 1)
    assert record["tally"]["other"] == tally(2, 0, 1, 1)
    page = out.read_text()
    assert page.count("● tench") == 2  # beside its bar and in the table
    assert "● goldfish" not in page


def test_streamed_sets_are_read_again_for_the_pictures(capsys, world, tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    hub = Hub(str(world / "imagenet-val"), "validation")
    monkeypatch.setitem(BENCHMARKS, "imagenet-val", replace(BENCHMARKS["imagenet-val"], hub=hub))
    pages = []
    for name, source in (("disk", ["--root", world]), ("hub", ["--stream"])):
        out = tmp_path / f"{name}.html"
        models = ["--model", world / "after", "--baseline", world / "before", "--on", "imagenet-val"]
        code, _, error = run(capsys, *models, *source, "--records", tmp_path / name, "--out", out)
        assert code == 0, error
        pages.append((json.loads(out.with_suffix(".json").read_text()), out.read_text()))
    (disk, page), (other, streamed) = pages
    assert other["classes"] == disk["classes"]
    assert [len(panel["images"]) for panel in other["panels"]] == [len(panel["images"]) for panel in disk["panels"]]
    pictures = [re.findall(r"data:image/jpeg;base64,[^\"]+", text) for text in (page, streamed)]
    assert pictures[0] == pictures[1]
    assert pictures[0]


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Photos with masks in three class folders, and two models with those classes."""
    folder = tmp_path_factory.mktemp("own")
    images, masks = write_photos(folder, 6)
    paths = sorted(images.rglob("*.png"))
    for name, broken in (("before", {0, 1, 7}), ("after", {7, 12, 13, 14})):
        answers = [(n // 6 + 1) % 3 if n in broken else n // 6 for n in range(18)]
        model = answering(paths, answers, 3)
        model.class_names = CLASSES
        save_model(model, folder / name)
    return folder, images, masks


def on_own(own, out, *more):
    folder, images, _ = own
    return ["--model", folder / "after", "--baseline", folder / "before", "--images", images, "--out", out, *more]


def test_on_photos_of_ones_own_with_masks(capsys, own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "classes.html"
    code, said, error = run(capsys, *on_own(own, out, "--masks", own[2]))
    assert code == 0, error
    record = json.loads(out.with_suffix(".json").read_text())
    changes = {row["name"]: (row["helped"], row["harmed"], row["images"]) for row in record["classes"]}
    assert changes == {"disc": (2, 0, 6), "frame": (0, 0, 6), "stripe": (0, 3, 6)}
    assert [one["image"] for panel in record["panels"] for one in panel["images"]] == [
        "stripe/000.png", "stripe/001.png", "stripe/002.png", "disc/000.png", "disc/001.png"
    ]  # fmt: skip
    assert [one["after"]["answer"] for one in record["panels"][0]["images"]] == ["disc"] * 3
    assert "changed most, not significantly" in said
    assert sorted(place.name for place in tmp_path.iterdir()) == ["classes.html", "classes.json"]
    plain = tmp_path / "plain.html"
    assert run(capsys, *on_own(own, plain))[0] == 0
    first = [re.findall(r"data:image/jpeg;base64,[^\"]+", page.read_text()) for page in (out, plain)]
    assert first[0][0] != first[1][0], "the outline of the mask is drawn in"
    assert first[0][1:3] == first[1][1:3]


def test_a_photo_that_is_broken_is_named_and_left_out(capsys, own, tmp_path):
    images, _ = write_photos(tmp_path, 6)
    (images / "frame" / "003.png").write_bytes(b"no image")
    out = tmp_path / "classes.html"
    arguments = ["--model", own[0] / "after", "--baseline", own[0] / "before", "--images", images, "--out", out]
    assert run(capsys, *arguments)[0] == 0
    record = json.loads(out.with_suffix(".json").read_text())
    assert (record["data"]["images"], record["data"]["expected"]) == (17, 18)
    assert len(record["data"]["problems"]) == 1
    assert "003.png" in out.read_text()
    assert "17 of 18 images" in out.read_text()


def test_names_of_classes_are_text_on_the_page(tmp_path):
    images, _ = write_photos(tmp_path, 4, classes=("<b>x", "猫 $5^2$", "a" * 50))
    paths = sorted(images.rglob("*.png"))
    for name, broken in (("before", {0, 1, 7}), ("after", {3, 4})):
        save_model(
            answering(paths, [(n // 4 + 1) % 3 if n in broken else n // 4 for n in range(12)], 3), tmp_path / name
        )
    out = tmp_path / "classes.html"
    found = classes(model=str(tmp_path / "after"), baseline=str(tmp_path / "before"), images=str(images), out=str(out))
    page = out.read_text()
    assert "<b>x" not in page
    assert "&lt;b&gt;x" in page
    assert "猫 $5^2$ (4)" in page
    assert "a" * 29 + "… (4)" in page
    assert {row.name for row in found.changes.classes} == {"<b>x", "猫 $5^2$", "a" * 50}


def test_page_in_a_browser_on_a_desk_and_on_a_phone(capsys, world, trained, tmp_path):
    out = tmp_path / "classes.html"
    assert run(capsys, *on_the_set(world, out, model="run", baseline="original"))[0] == 0
    record = json.loads(out.with_suffix(".json").read_text())
    with chromium() as browser:
        for width in (1200, 390):
            with opened(browser, out, width) as page:
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                text = page.inner_text("body")
                assert with_minus(record["sentence"]) in text
                for row in record["classes"]:
                    change = row["difference"]
                    assert signed(100 * change["mean"]) in text
                    assert f"[{signed(100 * change['low'])}, {signed(100 * change['high'])}]" in text
                    assert f"{row['name']} ({row['images']})" in page.text_content("figure svg")
                assert "Classes with few images vary by chance" in text
                assert page.evaluate("[...document.images].every(x => x.complete && x.naturalWidth > 0)")
                assert page.locator(".triple img").count() == 3 * sum(len(p["images"]) for p in record["panels"])
                page.screenshot(path=str(tmp_path / f"{width}.png"), full_page=True)


MISTAKES = {
    "unknown set": (["--on", "imagenet_a", "--root", "."], "did you mean imagenet-a or"),
    "several sets": (["--on", "si-score", "--root", "."], "expected one set, si-score stands for si-score/location"),
    "no set in the folder": (["--on", "imagenet-a", "--root", "."], "expected ImageNet-A below"),
    "set without a folder": (["--on", "imagenet-a"], "expected --root FOLDER"),
    "no source": ([], "expected one of --on SET"),
    "two sources": (["--on", "imagenet-a", "--images", "photos"], "expected one of --on SET"),
    "masks beside a set": (["--on", "imagenet-a", "--root", ".", "--masks", "m"], "expected no --masks"),
    "protocol beside photos": (["--images", "photos", "--protocol", "paper"], "expected no --protocol"),
    "root beside photos": (["--images", "photos", "--root", "."], "expected no --root with --images"),
    "no photos": (["--images", "nowhere"], "expected a folder of photos"),
    "count": (["--images", "nowhere", "--count", "0"], "expected --count of at least 1"),
    "relevance": (["--images", ".", "--relevance", "cam"], "expected the relevance method"),
}


@pytest.mark.parametrize("mistake", list(MISTAKES))
def test_mistakes_are_one_line_and_nothing_is_written(capsys, world, tmp_path, monkeypatch, mistake):
    monkeypatch.chdir(tmp_path)
    arguments, expected = MISTAKES[mistake]
    code, said, error = run(
        capsys, "--model", world / "after", "--baseline", world / "before", "--out", "classes.html", *arguments
    )
    assert code == 2
    assert said == ""
    assert expected in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("classes.*"))


def test_models_of_other_classes_are_refused(capsys, own, world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, error = run(capsys, *on_own(own, "c.html")[:2], "--baseline", world / "before", *on_own(own, "c.html")[4:])
    assert code == 2
    assert "expected a model of 3 classes (softmax) to compare with" in error
    code, _, error = run(
        capsys, "--model", world / "after", "--baseline", own[0] / "before", "--on", "imagenet-val", "--root", world,
        "--out", "c.html",
    )  # fmt: skip
    assert code == 2
    assert "expects a model with ImageNet's 1000 classes, got one with 3" in error
    assert not list(tmp_path.glob("c.*"))


@pytest.mark.parametrize("theirs", ["thesis.html", "thesis.json"])
def test_a_file_that_is_not_ours_is_left_alone(capsys, own, tmp_path, theirs):
    (tmp_path / theirs).write_text("{}")
    code, _, error = run(capsys, *on_own(own, tmp_path / "thesis.html"))
    assert code == 2
    assert "not" in error
    assert (tmp_path / theirs).read_text() == "{}"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_photo_of_two_classes_and_photos_of_none_are_refused(own, tmp_path):
    models = {"model": str(own[0] / "after"), "baseline": str(own[0] / "before"), "out": str(tmp_path / "c.html")}
    draw_image(0).save(tmp_path / "x.png")
    listing = tmp_path / "photos.csv"
    listing.write_text("image,label\nx.png,disc\nx.png,frame\n")
    with pytest.raises(UserError, match="as disc and as frame"):
        classes(**models, images=str(listing))
    (tmp_path / "flat").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "flat" / "x.png")
    with pytest.raises(UserError, match="expected a class for every photo"):
        classes(**models, images=str(tmp_path / "flat"))


def test_an_answer_stands_for_classes_of_the_head():
    assert AllClasses().classes_of(7) == [7]
    subset = imagenet_subset("a")
    assert SubsetAnswers(subset).classes_of(7) == [subset[7]]
    grouped = MemberMaxima({"a": (3, 4), "b": (9,)})
    assert grouped.classes_of(0) == [3, 4]
    assert len(grouped.classes_of(2)) == 997
