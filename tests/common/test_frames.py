"""Results as pandas tables."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from robustvit import UserError, evaluate, explain
from robustvit.cli import main
from robustvit.common.frames import Tabular
from robustvit.common.intervals import Interval
from robustvit.evaluation.records.table import TableText

NO_TABLE = {"Path", "None"}  # a file, a page that is served


@dataclass(frozen=True)
class Pair:
    left: int
    right: Path


class Both(Tabular):
    def frame_rows(self):
        yield {"name": "a", "value": Interval(0.5, 0.25, 0.75, 8), "pair": Pair(1, Path("x")), "more": {"mean": 2}}
        yield {"name": "b", "value": None}


def test_an_interval_becomes_four_columns_and_nested_values_one_each():
    pandas = pytest.importorskip("pandas")
    frame = Both().to_frame()
    assert list(frame.columns) == [
        "name", "value", "value low", "value high", "value count", "pair left", "pair right", "more",
    ]  # fmt: skip
    assert frame.loc[0].tolist() == ["a", 0.5, 0.25, 0.75, 8, 1, "x", 2]
    assert frame.loc[1, "name"] == "b"
    assert pandas.isna(frame.loc[1, "value low"])


def test_without_pandas_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match=r"to_frame\(\) needs pandas.*pip install 'robustvit\[frames\]'"):
        Both().to_frame()


def test_every_result_of_a_command_can_be_a_table():
    """The classes that commands say they return; some are imported for type checkers only."""
    checked = set()
    for one in (command(name) for name in main.COMMANDS):
        returned = str(inspect.signature(one).return_annotation)
        for name in {name.strip() for name in returned.split("|")} - NO_TABLE - {"str"}:
            found = returned_class(inspect.getmodule(one), name)
            assert issubclass(found, Tabular), f"{one.__name__} returns {name}, which has no to_frame()"
            checked.add(name)
    assert "Evaluation" in checked
    assert issubclass(TableText, Tabular), "the text that table returns"


def returned_class(module, name):
    """A class by its name in a module, also if only a type checker imports it there."""
    if hasattr(module, name):
        return getattr(module, name)
    imports = (node for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.ImportFrom))
    (source,) = {node.module for node in imports if name in (alias.name for alias in node.names)}
    return getattr(importlib.import_module(source), name)


def command(name):
    module, _, function = main.COMMANDS[name].rpartition(".")
    return getattr(importlib.import_module(f"robustvit.{module}"), function)


def test_measures_and_explanations_are_tables(photos, model_folder, tmp_path):
    pytest.importorskip("pandas")
    images, masks = map(str, photos)
    model = str(model_folder)
    frame = evaluate(model=model, baseline=model, images=images, masks=masks, swaps=1, backgrounds="none").to_frame()
    assert frame["measure"].tolist()[:2] == ["ordinary", "mixed-other"]
    assert (frame["value"] == frame["baseline"]).all()
    assert (frame["change"] == 0).all()
    photo = str(sorted(Path(images).rglob("*.png"))[0])
    found = explain([photo], model=model, out=str(tmp_path / "pictures")).to_frame()
    assert found["rank"].tolist() == [1, 2, 3]
    assert found["value"].sum() == pytest.approx(1, abs=1e-5)
