"""Execute examples/own_photos.ipynb and store its outputs, without stderr and without paths of this machine.

    python scripts/execute_notebook.py

Needs nbformat, nbclient and ipykernel.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from robustvit.sharing.machine_paths import machine_paths

NOTEBOOK = Path(__file__).parents[1] / "examples" / "own_photos.ipynb"


def execute(folder: str) -> nbformat.NotebookNode:
    """Run the notebook in a folder; raises if a cell fails."""
    book = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(book, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    book.metadata.pop("widgets", None)
    for cell in book.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_message(output)]
    return book


def _is_message(output: nbformat.NotebookNode) -> bool:
    """Whether an output is what a command says on the error stream, which rich shows as coloured text in a notebook."""
    coloured = output.output_type == "display_data" and not any(kind.startswith("image/") for kind in output.data)
    return coloured or output.get("name") == "stderr"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        text = nbformat.writes(execute(folder))
    if found := machine_paths(text.replace("\\n", "\n")):
        raise SystemExit(f"the outputs contain a path of this machine: {found[0]}")
    NOTEBOOK.write_text(text + "\n", encoding="utf-8")
    print(f"{NOTEBOOK.name}: {len(text) // 1000} kB")
