"""Names of columns that people use, and columns found by them; the table of names is in ``docs/howto/photos.md``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

IMAGE_COLUMNS = (
    "image", "file_name", "filename", "file", "path", "file_path", "image_path", "img_path", "image_name", "img_name",
    "image_file", "img", "photo", "image_id", "id_code", "img_filename", "id", "name",
)  # fmt: skip
MASK_COLUMNS = ("mask", "mask_path", "mask_file", "mask_name", "mask_file_name")
LABEL_COLUMNS = (
    "label", "labels", "class", "class_name", "label_name", "category", "target", "diagnosis", "species", "breed",
    "class_id", "label_id", "y",
)  # fmt: skip

GROUP_COLUMNS = ("group",)


def plain_name(name: str) -> str:
    """Return the name of a column without capitals, spaces, hyphens and underscores."""
    return re.sub(r"[\s_-]", "", name.casefold())


def fitting_columns(columns: Iterable[str], known: Sequence[str]) -> list[str]:
    """Return the columns with known names, whatever their capitals and hyphens, in the order of the known names."""
    rank = {plain_name(name): place for place, name in reversed(list(enumerate(known)))}
    return sorted((name for name in columns if plain_name(name) in rank), key=lambda name: rank[plain_name(name)])


def find_column(columns: Iterable[str], known: Sequence[str]) -> str | None:
    """Return the column with the first of the known names that is there, whatever its capitals, spaces and hyphens."""
    return next(iter(fitting_columns(columns, known)), None)
