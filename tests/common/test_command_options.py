"""Options are defined and described once, and every way to give or read them comes from that."""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest
import yaml

import robustvit
from robustvit import UserError
from robustvit.cli import main as cli
from robustvit.cli.help import help_text, option_groups
from robustvit.common.command_options import REQUIRED, command, expand_home, options_of, settings_of, type_in_words
from robustvit.common.errors import option_name
from robustvit.common.former_spellings import FormerSpellings

SOURCE = Path(robustvit.__file__).parent
COMMANDS = {name: cli.function_of(name) for name in cli.COMMANDS}
# Another thing of the same name as an option that commands share.
OTHER_MEANING = {
    ("masks", "images"), ("faithfulness", "images"), ("subset", "images"), ("reproduce", "masks"),
    ("reproduce", "checkpoint"), ("table", "protocol"), ("table", "records"), ("shifts", "format"), ("table", "format"),
    ("shifts", "backgrounds"), ("shifts", "size"), ("demo", "seed"), ("doctor", "device"), ("subset", "fill"),
    ("app", "mask_model"), ("explain", "target"), ("reproduce", "root"), ("masks", "protocol"),
    ("audit", "backgrounds"), ("masks", "objects"),
}  # fmt: skip


def groups_of(function):
    """The groups among the parameters of a command's function, as it is written."""
    bare = getattr(function, "function", function)
    named = [bare.__globals__.get(str(one.annotation)) for one in inspect.signature(bare).parameters.values()]
    return [kind for kind in named if is_dataclass(kind)]


def definitions(function):
    """The options of a command by name, with the class or function that defines each first."""
    found = dict.fromkeys([one.name for one in options_of(function)], function)
    for group in groups_of(function):
        for one in fields(group):
            if one.name in found:
                found[one.name] = [kind for kind in group.__mro__ if one.name in vars(kind).get("__annotations__", {})][
                    -1
                ]
    return found


def test_an_option_is_defined_in_one_place():
    everything = {(name, *one) for name, function in COMMANDS.items() for one in definitions(function).items()}
    counted = {one for one in everything if one[:2] not in OTHER_MEANING}
    shared = {option: home for _, option, home in counted if is_dataclass(home)}
    assert not [one for one in counted if one[1] in shared and one[2] is not shared[one[1]]], "defined again"
    assert not OTHER_MEANING - {one[:2] for one in everything if one[1] in shared and one[2] is not shared[one[1]]}


def test_an_option_is_described_and_nowhere_twice():
    described = Counter()
    said_by = {function.__name__ for function in COMMANDS.values()}
    said_by |= {kind.__name__ for one in COMMANDS.values() for group in groups_of(one) for kind in group.__mro__}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in said_by:
                text = ast.get_docstring(node) or ""
                for entry in re.split(r"^    (?=\w+: )", text, flags=re.MULTILINE)[1:]:
                    described[" ".join(re.split(r"\n\n|\n(?=\w)", entry)[0].split())] += 1
    for name, function in COMMANDS.items():
        for one in options_of(function):
            assert one.text.endswith((".", ")")), f"{name}: {one.name}: {one.text!r}"
            if is_dataclass(definitions(function)[one.name]):
                assert described[f"{one.name}: {one.text}"] == 1, f"{name}: {one.name}"


@pytest.mark.parametrize("name", list(COMMANDS))
def test_signature_docstring_and_help_hold_every_option_once(name):
    function = COMMANDS[name]
    options = options_of(function)
    assert list(inspect.signature(function).parameters) == [one.name for one in options]
    doc, text = inspect.getdoc(function), help_text(name, function, everything=True)
    for one in options:
        assert len(re.findall(rf"^    {one.name}: \S", doc, re.MULTILINE)) == 1, one.name
        shown = one.name if one.positional else option_name(one.name)
        assert len(re.findall(rf"^  {shown}(?= |$)", text, re.MULTILINE)) == 1, one.name
    assert "typing" not in text
    assert "Literal" not in text
    listed = [one.name for members in option_groups(function).values() for one in members]
    assert sorted(listed) == sorted(one.name for one in options)


def test_long_helps_show_the_first_options_and_say_how_to_see_all(capsys):
    for name, function in COMMANDS.items():
        with pytest.raises(SystemExit):
            cli.main([name, "--help"])
        short = capsys.readouterr().out
        assert cli.main([name, "--help-all"]) == 0
        everything = capsys.readouterr().out
        shown, total = short.count("\n  --"), everything.count("\n  --")
        assert (f"{total - shown} more options: robustvit {name} --help-all" in short) == (shown < total), name
        assert shown - 4 <= 15, f"{name} shows {shown} options at once"
        for one in options_of(function):
            if one.default is REQUIRED and not one.positional:
                assert f"\n  {option_name(one.name)} " in short, f"{name} hides {one.name}, which it needs"
    text = help_text("finetune", COMMANDS["finetune"])
    first = [f"\n  --{name} " for name in ("images", "masks", "model", "recipe", "out")]
    assert sorted(first, key=text.index) == first
    assert "\n  --max-drop " in text
    assert "one of loss, robust" in " ".join(help_text("finetune", COMMANDS["finetune"], everything=True).split())


@dataclass(frozen=True, kw_only=True)
class Paint:
    """Paint.

    Attributes:
        colour: of all.
        coats: how many.
        gloss: how it shines.
    """

    colour: str
    coats: int = 1
    gloss: Literal["matt", "silk"] = "matt"


@dataclass(frozen=True, kw_only=True)
class Oil(Paint):
    """Oil paint.

    Attributes:
        coats: as many as dry.
    """

    coats: int = 2
    thinned: bool = False


@command(first=("colour",), leave_out=("gloss",))
def paint(house: str, *, oil: Oil, out: str = "x") -> SimpleNamespace:
    """Paint a house.

    Args:
        house: to paint.
        out: folder.

    Returns:
        What was given.

    Example:
        robustvit demo
    """
    return SimpleNamespace(house=house, oil=oil, out=out, as_json=lambda: None)


def test_flat_keywords_the_command_line_and_a_config_file_give_the_same_objects(monkeypatch, tmp_path):
    given = []

    def kept(*arguments, **keywords):
        given.append(paint(*arguments, **keywords))
        return given[-1]

    kept.options, kept.first = paint.options, paint.first
    monkeypatch.setattr(cli, "function_of", lambda name: kept)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"colour": "red", "coats": 3, "thinned": True}))
    paint_args = {"colour": "red", "coats": 3, "thinned": True}
    assert cli.main(["demo", "mine", "--colour", "red", "--coats=3", "--thinned", "--json"]) == 0
    assert cli.main(["demo", "mine", "--config", str(tmp_path / "c.yaml"), "--json"]) == 0
    for one in [paint("mine", **paint_args), *given]:
        assert one.oil == Oil(colour="red", coats=3, thinned=True)
        assert (one.house, one.out) == ("mine", "x")
    assert len(given) == 2


def test_a_derived_group_overrides_single_fields_in_sight():
    assert [(one.name, one.default, one.text) for one in options_of(paint)] == [
        ("house", REQUIRED, "to paint."),
        ("colour", REQUIRED, "of all."),
        ("coats", 2, "as many as dry."),
        ("thinned", False, ""),
        ("out", "x", "folder."),
    ]
    found = paint("mine", colour="red")
    assert found.oil == Oil(colour="red", gloss="matt"), "what is left out keeps the group's default"
    assert settings_of(paint, found.oil, house="mine", out="x") == {
        "house": "mine", "colour": "red", "coats": 2, "thinned": False, "out": "x",
    }  # fmt: skip


def test_other_defaults_stand_in_the_signature():
    @command(coats=5)
    def quick(*, paint: Paint) -> Paint:
        """Paint."""
        return paint

    assert inspect.signature(quick).parameters["coats"].default == 5
    assert quick(colour="red").coats == 5


def test_what_is_wrong_with_a_call_from_python_is_said():
    with pytest.raises(UserError, match="paint: unknown option 'color'; did you mean colour"):
        paint("mine", color="red")
    with pytest.raises(UserError, match="unknown option 'gloss'"):
        paint("mine", colour="red", gloss="silk")
    with pytest.raises(TypeError, match="colour"):
        paint("mine")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (float | None, "a number"), (int, "a whole number"), (str | None, "text"), (bool, "true or false"),
        (Literal["a", "b"] | None, "one of a, b"), (list[str] | str | None, "a list or text"),
        (Literal["all"] | int | float | list[str] | str, "all or a whole number or a number or a list or text"),
    ],
)  # fmt: skip
def test_types_in_words(kind, words):
    assert type_in_words(kind) == words


def test_the_signature_of_finetune_is_flat():
    parameters = inspect.signature(robustvit.finetune).parameters
    assert parameters["lr"].annotation == float | None
    assert parameters["max_drop"].default == 2.0
    assert parameters["images"].default is inspect.Parameter.empty
    assert all(one.kind is inspect.Parameter.KEYWORD_ONLY for one in parameters.values())


@command(formerly=FormerSpellings(renamed={"to": "out"}, positional=("images",)))
def ship(*, images: str, out: str | None = None) -> tuple[str, str | None]:
    """Ship.

    Args:
        images: what.
        out: where to.
    """
    return images, out


def test_former_spellings_work_with_a_line_that_names_the_new_one(capsys):
    assert ship("a", to="b") == ("a", "b")
    said = capsys.readouterr().err
    assert "images is given by its name now: --images" in said
    assert "--to is called --out now" in said
    assert ship(images="a", out="b") == ("a", "b")
    assert capsys.readouterr().err == ""
    with pytest.raises(UserError, match="--out is given twice"):
        ship(images="a", out="b", to="c")
    with pytest.raises(UserError, match="--images is given twice"):
        ship("a", images="b")


def test_a_leading_tilde_is_the_home_folder_wherever_an_option_comes_from(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert expand_home("~/runs/a") == str(tmp_path / "runs" / "a")
    assert expand_home(["~/a", "b~/c", 3]) == [str(tmp_path / "a"), "b~/c", 3]
    assert expand_home("~") == "~"
    (tmp_path / "given.yaml").write_text("images: ~/none\nout: ~/masks\n")
    for arguments in (["report", "~/none"], ["masks", "--images=~/none", "--out=m"], ["masks", "--config=given.yaml"]):
        assert cli.main(arguments) == 2
        assert f" at {tmp_path}/none: " in capsys.readouterr().err
    with pytest.raises(UserError, match=f" at {tmp_path}/none: "):
        robustvit.make_masks("~/none", out="~/masks")
    assert [path.name for path in tmp_path.iterdir()] == ["given.yaml"]


def test_help_names_other_options_as_they_are_typed():
    shown = " ".join(help_text("finetune", COMMANDS["finetune"], everything=True).split())
    assert "that loses at most --max-drop" in shown
    assert "(see --group-by)" in shown
    assert "rollout or raw_attention" in shown, "a value, not an option"
