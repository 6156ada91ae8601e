"""Numbers with their nouns, as they stand in messages."""

from __future__ import annotations

import pytest

from robustvit import UserError
from robustvit.common.errors import rename_options, with_renamed_options
from robustvit.common.pages import environment
from robustvit.common.progress import warn
from robustvit.common.wording import list_names, pluralize, signed, with_minus
from robustvit.masks.make import MadeMasks


@pytest.mark.parametrize(
    ("number", "noun", "plural", "text"),
    [
        (0, "photo", "", "0 photos"),
        (1, "photo", "", "1 photo"),
        (2, "photo", "", "2 photos"),
        (1, "class", "", "1 class"),
        (1200, "class", "", "1,200 classes"),
        (3, "entry", "entries", "3 entries"),
        (1, "entry", "entries", "1 entry"),
    ],
)
def test_counted(number, noun, plural, text):
    assert pluralize(number, noun, plural) == text


def test_a_summary_knows_the_singular(tmp_path):
    made = MadeMasks(tmp_path, tmp_path / "manifest.csv", [], ["a problem"], 1, 1, 1.0)
    assert "1 photo done now" in str(made)
    assert "1 photo left out, 1 problem (" in str(made)
    assert "0 photos without an object" in str(made)


def test_a_command_that_another_calls_names_the_options_of_the_caller(capsys):
    def other():
        with rename_options({"--out": "--masks-out"}):
            warn("choose with --out")
            raise UserError("name another --out, --outer stays")

    with pytest.raises(UserError, match="name another --masks-out, --outer stays"):
        other()
    assert "choose with --masks-out" in capsys.readouterr().err
    assert with_renamed_options("--out") == "--out"


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("cat, dog", ["cat", "dog"]),
        (["cat, dog", " x "], ["cat, dog", "x"]),
        (" ,", []),
        (None, []),
        ((1, 2), ["1", "2"]),
    ],
)
def test_names_come_as_a_list_or_as_text_with_commas(given, names):
    assert list_names(given) == names


@pytest.mark.parametrize(
    ("printed", "on_a_page"),
    [
        ("-2.0 points [-4.5, +0.5]", "−2.0 points [−4.5, +0.5]"),
        ("it fell by -1,200, or -3%", "it fell by −1,200, or −3%"),
        ("it fell by -5.", "it fell by −5."),
        ("(-0.1) and -7", "(−0.1) and −7"),
        ("of 2026-11-30, ViT-16, --seed 3, 1e-05, a - b", "of 2026-11-30, ViT-16, --seed 3, 1e-05, a - b"),
        ("-5.jpg and photo -3.jpg", "-5.jpg and photo -3.jpg"),
        ("masks/-1/a.png", "masks/-1/a.png"),
    ],
)
def test_negative_numbers_get_a_minus_sign_and_names_keep_their_hyphens(printed, on_a_page):
    assert with_minus(printed) == on_a_page


def test_a_signed_number_has_one_sign_on_every_page():
    assert [signed(-0.44), signed(1.25, 2), signed(0)] == ["−0.4", "+1.25", "+0.0"]
    for format, shown in (("html", "−0.4 [−1.0]"), ("markdown", "−0.4 [−1.0]"), ("latex", "$-$0.4 {[}$-$1.0{]}")):
        template = environment(format, "robustvit.evaluation.records").from_string(
            "<<value>>" if format == "latex" else "{{ value }}"
        )
        assert template.render(value="-0.4 [-1.0]") == shown
