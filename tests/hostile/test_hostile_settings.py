"""Settings, lists and records that are broken or made to harm; a test for each row of
docs/reference/hostile-files.md."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from helpers.hostile import BOMB, refusal, said
from robustvit import load_model
from robustvit.common.csv_files import read_csv
from robustvit.common.files import read_json
from robustvit.common.yaml_files import read_mapping
from robustvit.data.find_photos import find_photos
from robustvit.data.manifest import read_manifest
from robustvit.data.review import read_review
from robustvit.evaluation.records.record import read_record
from robustvit.experiments.sweeps.experiment_grid import read_experiment


def by_config(capsys, folder: Path, text: str | bytes, command: str = "finetune") -> str:
    path = folder / "options.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return said(capsys, command, "--config", path)


def test_config_unknown_option(tmp_path, capsys):
    assert "did you mean samples_per_class?" in by_config(capsys, tmp_path, "sample-per-class: 3\n")
    assert "did you mean run?" in by_config(capsys, tmp_path, "ru: 3\n", "report")


@pytest.mark.parametrize("tag", ["object/apply:os.system ['touch {}']", "name:os.system", "module:os"])
def test_config_python_tag(tmp_path, capsys, tag):
    mark = tmp_path / "ran"
    assert "as YAML" in by_config(capsys, tmp_path, f"seed: !!python/{tag.format(mark)}\n")
    assert not mark.exists()


@pytest.mark.parametrize("text", ["", "- 1\n", "3", "a: [\n", "a: 'b\n", "\ta: 3\n"])
def test_config_no_mapping(tmp_path, capsys, text):
    by_config(capsys, tmp_path, text)


@pytest.mark.parametrize("text", [b"\xff\xfe\0\1", b"a: \0", b"\x89PNG\r\n"])
def test_config_no_text(tmp_path, capsys, text):
    assert "cannot read" in by_config(capsys, tmp_path, text)


def test_config_alias_bomb(tmp_path, capsys):
    assert "aliases stand for more than" in by_config(capsys, tmp_path, BOMB)


def test_config_nested_deeply(tmp_path, capsys):
    assert "nested too deeply" in by_config(capsys, tmp_path, "a: " + "[" * 1200)


@pytest.mark.parametrize("end", ["", "b: *a"])
def test_config_long_list(tmp_path, end):
    (tmp_path / "o.yaml").write_text("a: &a [" + "x, " * 1_500_000 + f"]\n{end}\n")
    words = refusal(lambda: read_mapping(tmp_path / "o.yaml"))
    assert "holds more than 100,000 values" in words
    assert "aliases" not in words
    (tmp_path / "p.yaml").write_text("a: [" + "x, " * 120_000 + "]\n")
    assert "it holds more than 100,000 values" in refusal(lambda: read_mapping(tmp_path / "p.yaml"))
    (tmp_path / "q.yaml").write_text("a: [" + "x, " * 50_000 + "]\n")
    assert len(read_mapping(tmp_path / "q.yaml")["a"]) == 50_000


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_config_pipe_or_device(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        assert "it is a pipe or a device" in said(capsys, "finetune", "--config", path)
        assert "it is a pipe or a device" in refusal(lambda path=path: read_csv(path))
        assert "it is a pipe or a device" in refusal(lambda path=path: read_json(path))
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", 2_600_000_000)
    assert "2,600,000,000 bytes" in said(capsys, "finetune", "--config", tmp_path / "huge")
    assert "2,600,000,000 bytes" in refusal(lambda: read_csv(tmp_path / "huge"))


def test_config_too_large(tmp_path):
    (tmp_path / "o.yaml").write_text("a: " + "x" * 10_000_001)
    assert "refused to read" in refusal(lambda: read_mapping(tmp_path / "o.yaml"))


@pytest.mark.parametrize("line", ["epochs: many", "epochs: true", "seed: 2020-13-45", "lr: .nan", "lr: .inf", "lr: -1"])
def test_config_value_of_wrong_kind(tmp_path, capsys, model_folder, photos, line):
    given = f"model: {model_folder}\nimages: {photos[0]}\nmasks: {photos[1]}\nout: {tmp_path / 'r'}\n{line}\n"
    by_config(capsys, tmp_path, given)
    assert not (tmp_path / "r").exists()


def test_config_number_of_5000_digits(tmp_path, capsys):
    by_config(capsys, tmp_path, "epochs: " + "9" * 5000)


@pytest.mark.parametrize("option", ["seed", "batch-size", "epochs", "workers", "swaps", "panels"])
def test_option_beyond_63_bits(tmp_path, capsys, model_folder, photos, option):
    words = ["--model", model_folder, "--images", photos[0], "--masks", photos[1], "--out", tmp_path / "r"]
    words += ["--tracker", "none", f"--{option}"]
    assert f"--{option} of at most 9223372036854775807" in said(capsys, "finetune", *words, 2**70)
    assert f"--{option} of at least" in said(capsys, "finetune", *words, -1)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("line", ["null: 3", "3: 3", "? [a]\n: 3", "config: other.yaml"])
def test_config_odd_key(tmp_path, capsys, line):
    by_config(capsys, tmp_path, line + "\n")


@pytest.mark.parametrize("name", ["", "none.yaml"])
def test_config_missing(tmp_path, capsys, name):
    assert "cannot read" in said(capsys, "finetune", "--config", tmp_path / name)


@pytest.mark.parametrize(
    "text", ["", "[]", "bse: {}", "base: !!python/name:os.system\n", BOMB, "base: {seed: 2020-13-45}", "[" * 1200, "\0"]
)
def test_experiment_broken(tmp_path, text):
    (tmp_path / "e.yaml").write_text(text)
    refusal(lambda: read_experiment(tmp_path / "e.yaml"))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"robustvit_record": 9}', '{"robustvit_record": 1}', "[" * 99_999]
)
def test_record_broken(tmp_path, text):
    (tmp_path / "r.json").write_text(text)
    refusal(lambda: read_record(tmp_path / "r.json"))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe\0",
        "image,label\n".encode("utf-16"),
        b"a,b\n1,2\n",
        b"image;label\na.png;d\n",
        b"image,label\n" + b"x" * 200_000 + b",d\n",
    ],
)
def test_list_broken(tmp_path, text):
    (tmp_path / "l.csv").write_bytes(text)
    refusal(lambda: find_photos(tmp_path / "l.csv"))


@pytest.mark.parametrize(
    "head", [b"\xef\xbb\xbfimage,mask,label\n", b"image, mask ,label\r\n", b" image,mask,label,\n"]
)
def test_list_with_marks_and_spaces_in_its_header(tmp_path, photos, head):
    photo, mask = (next((folder / "disc").iterdir()) for folder in photos)
    (tmp_path / "l.csv").write_bytes(head + f"{photo},{mask},disc\n".encode())
    (found,) = find_photos(tmp_path / "l.csv")
    assert (found.image, found.mask, found.class_name) == (photo, mask, "disc")


def test_list_with_a_column_twice(tmp_path, photos):
    photo, mask = (next((folder / "disc").iterdir()) for folder in photos)
    (tmp_path / "l.csv").write_text(f"image,image,label\n{photo},{mask},disc\n")
    assert "more than one column image" in refusal(lambda: find_photos(tmp_path / "l.csv"))


@pytest.mark.parametrize("name", ["none.png", "a\0b.png", "x" * 5000, "", "/nonexistent.png", "../../none.png"])
def test_list_names_no_file(tmp_path, name):
    (tmp_path / "l.csv").write_text(f"image,label\n{name},disc\n")
    words = refusal(lambda: find_photos(tmp_path / "l.csv"))
    expected = "not text" if "\0" in name else "does not exist" if name else "a row without a photo"
    assert expected in words
    assert len(words) < 1000


def test_list_names_another_kind_of_file(tmp_path, model_folder, capsys):
    (tmp_path / "secret.txt").write_text("a password")
    (tmp_path / "l.csv").write_text("image,label\n" + "../" * 3 + f"{tmp_path}/secret.txt,disc\nsecret.txt,disc\n")
    words = said(capsys, "evaluate", "--model", model_folder, "--images", tmp_path / "l.csv")
    assert "password" not in words


@pytest.mark.parametrize(
    "text",
    [b"", b"\xff\xff", b"image,decision\n", b"a,b\n1,2\n", b"image,decision\na.png,maybe\n", b"image,decision\n,keep\n",
     b"image,decision\na.png,keep\na.png,drop\n", b"image,decision\na\0.png,keep\n",
     b"image,decision\n" + b"x" * 200_000 + b",keep\n"],
)  # fmt: skip
def test_review_broken(tmp_path, text):
    (tmp_path / "review.csv").write_bytes(text)
    refusal(lambda: read_review(tmp_path / "review.csv"))


HEAD = b"image,mask,label,verdict,confidence\n"


@pytest.mark.parametrize(
    "text",
    [b"\xff\xff\n", b"a,b\n1,2\n", HEAD + b"a.png,,d,great,1\n", HEAD + b"a.png,,d,good,x\n", HEAD + b"a\0,,d,good,1\n",
     HEAD + b",,d,good,1\n", HEAD + b"x" * 200_000 + b",,d,good,1\n"],
)  # fmt: skip
def test_manifest_broken(tmp_path, text):
    (tmp_path / "manifest.csv").write_bytes(text)
    refusal(lambda: read_manifest(tmp_path / "manifest.csv"))


@pytest.mark.parametrize("text", [b"", b"one\n", b"a\na\na\n", b"\xff\xfe\0"])
def test_class_names_broken(tmp_path, model_folder, text):
    (tmp_path / "names.txt").write_bytes(text)
    assert "class names" in refusal(lambda: load_model(str(model_folder), class_names=tmp_path / "names.txt"))
