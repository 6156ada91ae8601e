"""Formats that have a JSON file for each photo."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.data.folder_files import files_below
from robustvit.masks.annotations.listing import load_json


def read_json_files(
    source: Path, form: str, problems: list[str], leave_out: Collection[str] = ()
) -> dict[Path, object]:
    """Return the contents of the JSON files anywhere in a folder, or of one; those that are broken become problems.

    Args:
        source: the folder or file.
        form: name of the format.
        problems: lines that the user sees.
        leave_out: names of files that describe no photo.
    """
    if not source.exists():
        article = "an" if form.startswith(("SA", "A")) else "a"
        raise UserError(
            f"expected {article} {form} file or a folder of them at {source}, found nothing: check the path"
        )
    paths = [source]
    if source.is_dir():
        paths = [path for path in files_below(source, {".json"}).values() if path.name not in leave_out]
    if not paths:
        raise UserError(f"expected {form} files (.json) in {source}, found none: check the path and the format")
    found = {}
    for path in paths:
        try:
            found[path] = load_json(path)
        except UserError as error:
            problems.append(str(error))
    return found
