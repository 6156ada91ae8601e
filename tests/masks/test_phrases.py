"""What --prompt says, and how the names of classes are worded."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustvit import UserError
from robustvit.masks.phrases import Phrase, choose_phrases, read_prompt, word_class_names

PHOTOS = {Path("cat/1.jpg"): "cat", Path("dog/1.jpg"): "dog"}


def found(prompt, photos=PHOTOS):
    return [[str(phrase) for phrase in some] for some in choose_phrases(prompt, photos).values()]


@pytest.mark.parametrize(
    ("prompt", "of_cat", "of_dog"),
    [
        ("classes", ["cat"], ["dog"]),
        ("cat, dog", ["cat", "dog"], ["cat", "dog"]),
        (["a cat, lying", "dog"], ["a cat, lying", "dog"], ["a cat, lying", "dog"]),  # a list is not split
        ("cat=tabby cat", ["tabby cat"], ["dog"]),
        ("classes,cat=tabby cat", ["tabby cat"], ["dog"]),
        ("cat=tabby cat,cat=kitten", ["tabby cat", "kitten"], ["dog"]),
        ("bird beak:3, bird:1", ["bird beak:3", "bird:1"], ["bird beak:3", "bird:1"]),
        ("cat=whiskers:2,cat=cat:0.5", ["whiskers:2", "cat:0.5"], ["dog:1"]),  # a soft mask for every photo
    ],
)
def test_prompts(prompt, of_cat, of_dog):
    assert found(prompt) == [of_cat, of_dog]


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("", "got none"),
        (" , ", "got none"),
        ([], "got none"),
        ("boxes.csv", "--prompts boxes.csv"),
        ("cat=", "expected PHRASE"),
        ("...", "expected PHRASE"),
        ("cat:many", "a weight above 0"),
        ("cat:0", "a weight above 0"),
        ("cat:-1", "a weight above 0"),
        ("cat:nan", "a weight above 0"),
        (":3", "expected PHRASE"),
        ("beak:3,bird", "'bird' has none: bird:1"),
        ("cat=tabby,dog", "CLASS=dog"),
        ("classes,dog", "CLASS=dog"),
        ("catt=tabby", "did you mean cat?"),
        ("bird=beak", "the classes are cat, dog"),
    ],
)
def test_prompts_that_cannot_be_read(prompt, words):
    with pytest.raises(UserError) as caught:
        choose_phrases(prompt, PHOTOS)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_classes_need_class_folders():
    assert found("cat", {Path("1.jpg"): None}) == [["cat"]]
    assert found("classes", {Path("1.jpg"): None} | PHOTOS)[0] == []
    with pytest.raises(UserError, match="class folders"):
        choose_phrases("classes", {Path("1.jpg"): None})


def test_a_class_is_found_however_its_letters_are_composed():
    folder, typed = "mu\u0308cke", "m\u00fccke"
    assert found(f"{typed}=midge", {Path("a.jpg"): folder}) == [["midge"]]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["sheep", "polar_bear"], ["sheep", "polar bear"]),
        (["n02123045", "n02123045-tabby_cat"], ["tabby", "tabby cat"]),
        (["001.Black_footed_Albatross", "002.Laysan_Albatross"], ["Black footed Albatross", "Laysan Albatross"]),
        (["1-cat", "2_dog"], ["cat", "dog"]),
        (["7_up", "cola"], ["7 up", "cola"]),  # not every name begins with a number
        (["boeing_747", "A320"], ["boeing 747", "A320"]),
        (["AnnualCrop", "iPhone", "McDonald", "USA"], ["Annual Crop", "iPhone", "McDonald", "USA"]),
        (["black-footed_cat", "  two  words "], ["black-footed cat", "two words"]),
        (["羊"], ["羊"]),
    ],
)
def test_names_are_worded(names, words):
    assert list(word_class_names(names).values()) == words


@pytest.mark.parametrize("name", ["3", "001", "n99999999", "__"])
def test_names_that_are_no_words(name):
    with pytest.raises(UserError, match=f"'{name}=WORDS'"):
        word_class_names([name, "cat"])


def test_a_class_without_words_may_be_named():
    photos = {Path("a.jpg"): "0", Path("b.jpg"): "1"}
    assert found("0=cat,1=dog", photos) == [["cat"], ["dog"]]
    with pytest.raises(UserError, match="'1=WORDS'"):
        found("0=cat", photos)


def test_numbers_are_running_numbers_if_all_names_have_one():
    photos = {Path("a.jpg"): "1_cat", Path("b.jpg"): "2_dog"}
    assert found("1_cat=tabby", photos) == [["tabby"], ["dog"]]


def test_weights_are_kept():
    wanted = read_prompt("bird beak:3,bird:0.5")
    assert wanted.everywhere == (Phrase("bird beak", 3.0), Phrase("bird", 0.5))
    assert wanted.weighted
