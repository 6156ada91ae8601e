"""Execute examples/own_photos.ipynb again and store its outputs, with no path of this machine and nothing of stderr.

    python scripts/execute_notebook.py

Needs nbformat, nbclient and ipykernel.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from robustvit.sharing.machine_paths import machine_paths

PLACE = Path(__file__).parents[1] / "examples" / "own_photos.ipynb"


def executed(folder: str) -> nbformat.NotebookNode:
    """The notebook with new outputs, run in a folder; raises where a cell fails."""
    book = nbformat.read(PLACE, as_version=4)
    NotebookClient(book, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    book.metadata.pop("widgets", None)
    for cell in book.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return book


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        text = nbformat.writes(executed(place))
    if found := machine_paths(text.replace("\\n", "\n")):
        raise SystemExit(f"the outputs name a path of this machine: {found[0]}")
    PLACE.write_text(text + "\n", encoding="utf-8")
    print(f"{PLACE.name}: {len(text) // 1000} kB")
