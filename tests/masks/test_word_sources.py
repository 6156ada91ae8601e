"""Masks from words: tiny models of the real classes, and what users see."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from helpers.small_sams import FilledBoxes, save_sam2
from helpers.word_models import library, save_clipseg, save_grounding, save_sam3
from plain.concept_masks import plain_concept_mask
from robustvit import UserError, make_masks
from robustvit.cli.main import main
from robustvit.data.mask_files import read_mask
from robustvit.data.mask_values import FAINT
from robustvit.masks.phrases import Phrase
from robustvit.masks.sources import word_models
from robustvit.masks.sources.heat import Heat, concept_mask
from robustvit.masks.sources.words import WordJob, WordSource

SIZE = (40, 60)


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(rng.integers(0, 90, (*SIZE, 3), dtype=np.uint8))
        ImageDraw.Draw(image).ellipse((20, 10, 40, 30), fill=(220, 200, 40))
        image.save(path)
    return tmp_path / "photos"


@pytest.fixture(scope="module")
def clipseg(tmp_path_factory):
    return save_clipseg(tmp_path_factory.mktemp("clipseg"))


@pytest.fixture(scope="module")
def grounding(tmp_path_factory):
    return save_grounding(tmp_path_factory.mktemp("grounding"))


@pytest.fixture(scope="module")
def sam2(tmp_path_factory):
    return save_sam2(tmp_path_factory.mktemp("sam2"))


@pytest.fixture(scope="module")
def sam3(tmp_path_factory):
    return save_sam3(tmp_path_factory.mktemp("sam3"))


def run(photos, **options):
    return make_masks(str(photos), out=str(photos.parent / "masks"), device="cpu", **options)


def rows(made):
    with made.manifest.open() as file:
        return {row["image"].rpartition("photos/")[2]: row for row in csv.DictReader(file)}


def heat_of(folder, image, texts):
    """CLIPSeg's heat by transformers alone."""
    models = library()
    network = models.CLIPSegForImageSegmentation.from_pretrained(folder).eval()
    processor = models.CLIPSegProcessor.from_pretrained(folder)
    found = []
    for text in texts:
        inputs = processor(images=[image], text=[text], return_tensors="pt")
        with torch.no_grad():
            logits = network(**inputs).logits.reshape(1, 1, 64, 64)
        heat = torch.nn.functional.interpolate(logits.sigmoid(), SIZE, mode="bilinear", antialias=True)
        found.append(heat[0, 0].double().numpy())
    return found


def test_clipseg_masks_are_its_heat_above_the_threshold(photos, clipseg):
    image = Image.open(photos / "cat" / "1.png")
    (heat,) = heat_of(clipseg, image, ["a photo of a cat"])
    middle = float(np.median(heat))
    made = run(photos, prompt="classes", model=str(clipseg), threshold=middle, refine=False)
    mask = read_mask(photos.parent / "masks" / "cat" / "1.png")
    unsure = np.abs(heat - middle) < 1e-4
    assert ((mask == (heat > middle)) | unsure).all()
    assert 0.3 < mask.mean() < 0.7
    row = rows(made)["cat/1.png"]
    assert (row["prompt"], row["source"], row["model"]) == ("a photo of a cat", "clipseg", str(clipseg))
    assert float(row["threshold"]) == pytest.approx(middle, abs=1e-4)
    assert rows(made)["dog/1.png"]["prompt"] == "a photo of a dog"
    settings = json.loads((photos.parent / "masks" / "settings.json").read_text())
    assert (settings["method"], settings["prompt"]) == ("clipseg", "classes")


def test_concept_masks_are_weighted_heat(photos, clipseg):
    made = run(photos, prompt="bird beak:3,bird:1", prompt_template="{}", model=str(clipseg), threshold=0.01)
    image = Image.open(photos / "dog" / "1.png")
    expected = np.array(plain_concept_mask(heat_of(clipseg, image, ["bird beak", "bird"]), [3, 1]))
    mask = read_mask(photos.parent / "masks" / "dog" / "1.png")
    clear = expected > (FAINT + 1) / 255
    assert 0.5 < clear.mean() < 1
    assert np.abs(mask - expected)[clear].max() < 2 / 255
    assert len(np.unique(mask)) > 20
    assert rows(made)["dog/1.png"]["prompt"] == "bird beak:3, bird:1"


@pytest.mark.parametrize("count", [1, 2, 5])
def test_concept_mask_against_a_plain_one(count):
    rng = np.random.default_rng(count)
    heats, weights = rng.random((count, 7, 9)).astype(np.float32), rng.random(count) + 0.1
    found = concept_mask(list(heats), list(weights))
    assert np.abs(found - np.array(plain_concept_mask(heats, weights))).max() < 1e-6
    assert (found.min(), found.max()) == (0, 1)


def test_concept_mask_of_even_heat_is_that_heat():
    even = np.full((3, 4), 0.25, np.float32)
    plain = np.array(plain_concept_mask([even, 3 * even], [1, 1]))
    assert concept_mask([even, 3 * even], [1, 1]) == pytest.approx(plain)
    assert concept_mask([even], [2]) == pytest.approx(even)


def job(heats, phrases, threshold=0.5, level=0.5):
    photo = np.zeros((20, 30, 3), np.uint8)
    return WordJob(tuple(phrases), heats, photo, threshold, level, refine=False)


def block(rows, columns, score, value=0.9):
    values = np.zeros((20, 30), np.float32)
    values[rows, columns] = value
    return Heat(values, score)


def test_objects_are_united_and_counted():
    one, two = block(slice(2, 8), slice(2, 8), 0.8), block(slice(10, 18), slice(12, 25), 0.9)
    found = WordSource.finish(job([one, two], [Phrase("cat"), Phrase("dog")]))
    assert found.mask.sum() == 6 * 6 + 8 * 13
    assert found.measures["objects"] == 2
    assert found.verdict == "good"


def test_a_sure_source_is_believed_more():
    sure = WordSource.finish(job([block(slice(5, 15), slice(5, 20), 0.9)], [Phrase("cat")]))
    unsure = WordSource.finish(job([block(slice(5, 15), slice(5, 20), 0.4)], [Phrase("cat")], threshold=0.35))
    assert sure.confidence == pytest.approx(0.9)
    assert (unsure.verdict, unsure.reason) == ("doubtful", "its source is not sure of it")


def test_a_good_concept_mask_is_rated_by_its_objects_and_stays_soft():
    body, beak = block(slice(4, 16), slice(5, 25), 0.8), block(slice(8, 12), slice(20, 25), 0.8)
    found = WordSource.finish(job([body, beak], [Phrase("bird", 1.0), Phrase("beak", 3.0)], level=None))
    assert found.verdict == "good"
    assert found.measures["share"] == pytest.approx(12 * 20 / 600)
    assert sorted(np.unique(found.mask)) == pytest.approx([0, 0.25, 1])


def test_what_is_not_found_is_counted_by_its_words(photos, clipseg):
    with pytest.raises(UserError, match="nothing stands out"):
        run(photos, prompt="classes", model=str(clipseg), threshold=0.999)
    made_of = rows_of(photos)
    assert made_of["cat/1.png"]["reason"].startswith("no cat was found (highest score 0.")
    assert made_of["dog/1.png"]["verdict"] == "none"


def rows_of(photos):
    with (photos.parent / "masks" / "manifest.csv").open() as file:
        return {row["image"].rpartition("photos/")[2]: row for row in csv.DictReader(file)}


def test_photos_without_a_class_are_named(photos, clipseg):
    Image.open(photos / "cat" / "1.png").save(photos / "loose.png")
    made = run(photos, prompt="classes", model=str(clipseg), threshold=0.05)
    assert rows(made)["loose.png"]["reason"] == "it lies in no class folder, and --prompt names classes"
    assert "1 photo: it lies in no class folder" in str(made)


def test_grounding_boxes_become_masks_of_sam(photos, grounding, sam2):
    made = run(photos, method="grounding", prompt="classes", model=str(grounding), segmenter=str(sam2), threshold=0.05)
    models = library()
    image = Image.open(photos / "cat" / "1.png")
    network = models.GroundingDinoForObjectDetection.from_pretrained(grounding).eval()
    processor = models.GroundingDinoProcessor.from_pretrained(grounding)
    inputs = processor(images=image, text="cat.", return_tensors="pt")
    with torch.no_grad():
        output = network(**inputs)
    scores = output.logits[0].sigmoid().amax(dim=-1)
    row = rows(made)["cat/1.png"]
    assert float(row["objects"]) == int((scores > 0.05).sum()) > 1
    assert (row["prompt"], row["model"]) == ("cat", str(grounding))
    assert float(row["agreement"]) <= float(scores.max()) + 1e-6
    mask = read_mask(photos.parent / "masks" / "cat" / "1.png")
    assert mask.shape == SIZE
    assert mask.any()


def test_grounding_unites_what_sam_finds_in_each_box(photos, grounding, monkeypatch):
    segmenter, named = FilledBoxes(), []
    monkeypatch.setattr(word_models, "load_sam", lambda name, *_, **__: named.append(name) or segmenter)
    options = {"method": "grounding", "prompt": "cat", "model": str(grounding), "segmenter": "a/sam3"}
    run(photos, threshold=0.2, **options)
    assert named == ["a/sam3"]
    assert max(len(boxes) for boxes in segmenter.asked) > 1
    for boxes, name in zip(segmenter.asked, ("cat/1.png", "cat/2.png", "dog/1.png"), strict=True):
        union = np.zeros(SIZE, bool)
        for left, top, right, bottom in boxes:
            assert 0 <= left < right <= SIZE[1]
            assert 0 <= top < bottom <= SIZE[0]
            union[round(top) : round(bottom), round(left) : round(right)] = True
        assert np.array_equal(read_mask(photos.parent / "masks" / name), union)


def test_grounding_finds_nothing_above_a_high_threshold(photos, grounding, sam2):
    with pytest.raises(UserError, match="no mask could be made"):
        run(photos, method="grounding", prompt="cat", model=str(grounding), segmenter=str(sam2), threshold=0.99)
    assert rows_of(photos)["dog/1.png"]["reason"].startswith("no cat was found")


def test_sam3_unites_its_objects(photos, sam3):
    made = run(photos, method="sam3", prompt="cat,dog", model=str(sam3), threshold=0.05)
    models = library()
    image = Image.open(photos / "dog" / "1.png")
    network, processor = models.Sam3Model.from_pretrained(sam3).eval(), models.Sam3Processor.from_pretrained(sam3)
    union, objects = np.zeros(SIZE, bool), 0
    for word in ("cat", "dog"):
        inputs = processor(images=image, text=word, return_tensors="pt")
        with torch.no_grad():
            output = network(**{name: inputs[name] for name in ("pixel_values", "input_ids", "attention_mask")})
        (found,) = processor.post_process_instance_segmentation(output, threshold=0.05, target_sizes=[SIZE])
        union |= found["masks"].bool().any(dim=0).numpy()
        objects += len(found["masks"])
    mask = read_mask(photos.parent / "masks" / "dog" / "1.png")
    assert (mask.astype(bool) != union).mean() < 0.01  # Pillow and PyTorch round otherwise
    assert float(rows(made)["dog/1.png"]["objects"]) == objects > 0


def test_a_second_call_makes_only_what_is_missing_and_new_words_need_another_folder(photos, clipseg):
    options = {"model": str(clipseg), "threshold": 0.05}
    run(photos, prompt="classes", **options)
    assert run(photos, prompt="classes", **options).made == 0
    with pytest.raises(UserError, match="made with prompt classes, not cat"):
        run(photos, prompt="cat", **options)


def test_the_same_number_of_photos_at_a_time_changes_nothing(photos, clipseg):
    for size in (1, 3):
        make_masks(str(photos), out=str(photos.parent / f"by{size}"), prompt="cat,dog,bird", model=str(clipseg),
                   threshold=0.3, batch_size=size, device="cpu", refine=False)  # fmt: skip
    for name in ("cat/1.png", "dog/1.png"):
        one, three = (read_mask(photos.parent / f"by{size}" / name) for size in (1, 3))
        assert (one != three).mean() < 0.01


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "clipseg"}, "expected --prompt"),
        ({"method": "tokencut", "prompt": "cat"}, "--prompt is for --method clipseg, grounding, sam3"),
        ({"method": "sam3", "prompt": "cat", "segmenter": "x"}, "--segmenter is for --method grounding"),
        ({"prompt": "cat", "weights": "x.pt"}, "--weights is for --method found"),
        ({"prompt": "cat", "prompts": "x.csv"}, "--prompts is for --method sam2"),
        ({"prompt": "cat", "checkpoint": "x.pt"}, "takes a folder as --model"),
        ({"prompt": "cat", "prompt_template": "a photo"}, "--prompt-template with {}"),
        ({"prompt": "cat", "threshold": 1.0}, "above 0 and below 1"),
        ({"prompt": "cat", "from_": "binary"}, "leave one of them out"),
        ({"prompt": "cat", "model": "./nothing"}, "found no folder ./nothing"),
        ({"prompt": "catt=x"}, "did you mean cat"),
    ],
)
def test_mistakes_write_nothing(photos, options, words):
    with pytest.raises(UserError) as caught:
        run(photos, **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (photos.parent / "masks").exists()


def test_other_models_are_refused(photos, clipseg, sam3, grounding):
    with pytest.raises(UserError, match=r"type clipseg for this --method, .* is sam3"):
        run(photos, prompt="cat", model=str(sam3))
    with pytest.raises(UserError, match="--segmenter"):
        run(photos, method="grounding", prompt="cat", model=str(grounding), segmenter="nowhere/at-all")


def test_weights_that_lack_a_part_are_refused(photos, clipseg, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "half"
    folder.mkdir()
    for path in clipseg.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    state = load_file(folder / "model.safetensors")
    save_file({n: t for n, t in state.items() if "decoder" not in n}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"not whole, they lack decoder\."):
        run(photos, prompt="cat", model=str(folder))


def test_long_prompts_are_refused(photos, clipseg):
    with pytest.raises(UserError, match="at most 16 tokens"):
        run(photos, prompt="cat " * 20, model=str(clipseg))


def test_without_network_the_line_says_what_to_do(photos, capsys, monkeypatch):
    def refuse(*_, **__):
        raise OSError("We couldn't connect")

    for name in ("CLIPSegForImageSegmentation", "Sam3Model", "AutoModelForZeroShotObjectDetection", "AutoConfig"):
        monkeypatch.setattr(getattr(library(), name), "from_pretrained", refuse)
    for method in ("clipseg", "sam3", "grounding"):
        words = [str(photos), "--out", str(photos.parent / "m"), "--method", method, "--prompt", "classes"]
        assert main(["masks", *words]) == 2
        line = capsys.readouterr().err.strip()
        assert "\n" not in line
        assert "cannot fetch the weights" in line
        assert "a folder with its files as --model" in line
    assert not (photos.parent / "m").exists()


def test_an_article_is_not_doubled(photos, clipseg):
    made = run(photos, prompt="a cat,tabby cat", model=str(clipseg), threshold=0.05)
    assert rows(made)["cat/1.png"]["prompt"] == "a photo of a cat, a photo of a tabby cat"
