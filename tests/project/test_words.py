"""The checker of phrases finds them, across lines too, and lets ordinary English pass."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import check_words


@pytest.mark.parametrize(
    "text",
    [
        "drawn by lot",
        "it mends the file",
        "a call goes on\n    with the rest",
        "# held\n# against the mask",
        "was passed over",
        "a file that is no image",
    ],
)
def test_phrases_are_found(text):
    assert list(check_words.hits(text))


@pytest.mark.parametrize(
    "text",
    [
        "it goes on",
        "a recommended amendment",
        "as far as possible",
        "there is no image",
        "`imagenet-9` stands for eight",
    ],
)
def test_ordinary_english_passes(text):
    assert not list(check_words.hits(text))


def test_a_hit_names_line_and_replacement(tmp_path, monkeypatch, capsys):
    (tmp_path / "README.md").write_text("First line.\nMend it.\n")
    monkeypatch.setattr(check_words, "ROOT", tmp_path)
    assert check_words.main() == 1
    assert capsys.readouterr().out == 'README.md:2: "Mend": write "fix"\n'
    (tmp_path / "README.md").write_text("Fix it.\n")
    assert check_words.main() == 0
