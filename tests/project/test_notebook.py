"""The notebook: readable without running, and it runs."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from robustvit.sharing.machine_paths import machine_paths

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "own_photos.ipynb"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("execute_notebook", ROOT / "scripts" / "execute_notebook.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def texts(book) -> str:
    found = [output.get("text", "") or str(output.get("data", {}).get("text/markdown", ""))
             for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]  # fmt: skip
    return "\n".join(found)


def pictures(book) -> int:
    return sum("image/jpeg" in output.get("data", {}) or "image/png" in output.get("data", {})
               for cell in book.cells if cell.cell_type == "code" for output in cell.outputs)  # fmt: skip


def check_story(book) -> None:
    """Audit, masks, verdict and explanation are there to read."""
    said = texts(book)
    assert re.search(r"^(no sign|some|strong reliance|cannot tell): ", said, re.MULTILINE)
    assert re.search(r"\d+ masks in masks: \d+ good", said)
    assert re.search(r"\| mixed-rand \| \d+\.\d \[", said)
    assert "before: " in said
    assert "after: " in said
    assert pictures(book) == 3


def test_stored_notebook_is_readable_and_small():
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 500_000
    book = nbformat.reads(text, as_version=4)
    nbformat.validate(book)
    check_story(book)
    assert machine_paths(text.replace("\\n", "\n")) == []
    assert '"output_type": "error"' not in text


@pytest.mark.slow
def test_notebook_runs(script, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    check_story(script.execute(str(tmp_path)))
