"""``--json``: one document on the standard output, whatever a command returns and whatever is printed on the way."""

from __future__ import annotations

import io
import json
import math
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from robustvit.cli import main as cli
from robustvit.cli.json_output import to_json, to_plain


@dataclass
class Inner:
    value: float
    place: Path


@dataclass
class Outer:
    inner: Inner
    pairs: list[tuple[str, float]]
    by: dict[object, Inner]


def strict(text: str):
    """Read JSON as other languages do, where NaN and Infinity are mistakes."""

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Outer(Inner(math.nan, Path("a/b")), [("x", math.inf)], {3: Inner(0.5, Path("c"))}),
         {"inner": {"value": None, "place": "a/b"}, "pairs": [["x", None]], "by": {"3": {"value": 0.5, "place": "c"}}}),
        (np.array([[1.5, -np.inf], [2.0, 3.0]]), [[1.5, None], [2.0, 3.0]]),
        (np.float32(0.25), 0.25),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (torch.tensor([1, 2]), [1, 2]),
        (torch.tensor(0.5, requires_grad=True), 0.5),
        ({3: {2, 1}}, {"3": [1, 2]}),
        ((one for one in (1, None, True)), [1, None, True]),
        (SimpleNamespace(as_json=lambda: {"rows": Inner(1.0, Path("x"))}), {"rows": {"value": 1.0, "place": "x"}}),
        ("caf\udce9", "caf\udce9"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_values_in_jsons_own_types(value, expected):
    found = to_plain(value)
    assert found == expected
    assert type(found) is type(expected)
    assert strict(json.dumps(found, allow_nan=False)) == expected


def test_what_stands_alone_has_a_name():
    assert strict(to_json(Path("report.html"))) == {"file": "report.html"}
    assert strict(to_json("words")) == {"text": "words"}
    assert to_json(None) == "null"
    assert strict(to_json([Path("a")])) == ["a"]
    with pytest.raises(TypeError, match="object"):
        to_json({"a": object()})


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_offers_it(capsys, name):
    with pytest.raises(SystemExit):
        cli.main([name, "--help"])
    assert "--json" in capsys.readouterr().out


@pytest.fixture(scope="module")
def finetuning(model_folder, photos):
    """A command that lacks its folder."""
    command = ["finetune", "--model", model_folder, "--images", photos[0], "--masks", photos[1], "--epochs", 1]
    command += ["--swaps", 1, "--samples-per-class", 2, "--panels", 1, "--tracker", "none", "--json", "--out"]
    return [str(word) for word in command]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory, finetuning):
    folder = tmp_path_factory.mktemp("json") / "run"
    with redirect_stdout(io.StringIO()) as said:
        assert cli.main([*finetuning, str(folder)]) == 0
    return folder, strict(said.getvalue())


def test_a_run_prints_one_document(run_folder):
    folder, found = run_folder
    assert found["folder"] == str(folder)
    assert found["verdict"] == json.loads((folder / "verdict.json").read_text())


@pytest.mark.slow
def test_a_real_process_prints_one_document(tmp_path, finetuning, server):
    folder = tmp_path / "run"
    assert server.run([*finetuning, folder]) == 0, server.said()
    found = strict(server.printed())
    assert found["folder"] == str(folder)
    assert found["verdict"] == json.loads((folder / "verdict.json").read_text())


# The commands that take seconds; what others return goes the same way.
REAL = {
    "evaluate": ("--model RUN --images IMAGES --masks MASKS --baseline original --swaps 0", "measures"),
    "explain": ("--model MODEL IMAGES/disc/000.png --out OUT/shown", 0),
    "faithfulness": ("--model MODEL --images IMAGES/disc --methods raw_attention --steps 2", "scores"),
    "shifts": ("--images IMAGES --masks MASKS --out OUT/shifted --dry-run", "images"),
    "subset": ("IMAGES/disc/000.png --model MODEL --out OUT/p.png --confidence 0.4 --max-steps 2", "photos"),
    "sweep": ("seeds --base OUT/base.yaml --out OUT/sweep --dry-run", "plan"),
    "report": ("RUN --out OUT/report.html", "file"),
    "table": ("table1", "rows"),
    "reproduce": ("table1 --scale tiny --out OUT/reproduction --dry-run", "plan"),
    "completion": ("zsh", "text"),
    "doctor": ("--device cpu", "checks"),
}


@pytest.mark.parametrize("name", list(REAL))
def test_the_standard_output_is_one_document(capsys, tmp_path, model_folder, photos, run_folder, name):
    line, key = REAL[name]
    for word, place in (("RUN", run_folder[0]), ("MODEL", model_folder), ("IMAGES", photos[0]), ("MASKS", photos[1]),
                        ("OUT", tmp_path)):  # fmt: skip
        line = line.replace(word, str(place))
    base = {"model": str(model_folder), "images": str(photos[0]), "masks": str(photos[1])}
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base))
    code = cli.main([name, *line.split(), "--json"])
    found = strict(capsys.readouterr().out)
    assert code == 0
    assert found[key]


def test_numbers_are_those_of_the_command(capsys, model_folder, photos):
    from robustvit import evaluate

    images, masks = map(str, photos)
    cli.main(["evaluate", "--json", "--model", str(model_folder), "--images", images, "--masks", masks, "--swaps", "0"])
    found = strict(capsys.readouterr().out)
    expected = evaluate(model=str(model_folder), images=images, masks=masks, swaps=0)
    assert found["measures"]["miou"]["mean"] == expected.measures["miou"].mean
    assert [one["image"] for one in found["photos"]] == [one.image for one in expected.photos]
    assert found["verdict"] is None


def test_what_is_printed_on_the_way_goes_to_the_error_stream(capsys, monkeypatch):
    def chatty(*, out: str = "x") -> SimpleNamespace:
        """Chat.

        Args:
            out: any.

        Example:
            robustvit demo
        """
        print("loading annotations into memory")
        return SimpleNamespace(as_json=lambda: {"out": out}, exit_code=1)

    monkeypatch.setattr(cli, "function_of", lambda name: chatty)
    assert cli.main(["demo", "--json", "--out", "y"]) == 1, "the exit code is the command's"
    captured = capsys.readouterr()
    assert strict(captured.out) == {"out": "y"}
    assert captured.err == "loading annotations into memory\n"


def test_a_mistake_leaves_the_standard_output_empty(capsys, tmp_path):
    assert cli.main(["report", str(tmp_path / "none"), "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


def test_it_is_no_setting_but_a_configuration_file_may_ask_for_it(capsys, tmp_path):
    with pytest.raises(SystemExit):
        cli.main(["finetune", "--images", "i", "--out", "o", "--json", "--print_config"])
    assert "json" not in yaml.safe_load(capsys.readouterr().out)
    (tmp_path / "c.yaml").write_text("json: true\n")
    assert cli.main(["table", "table1", "--config", str(tmp_path / "c.yaml")]) == 0
    assert strict(capsys.readouterr().out)["rows"]
