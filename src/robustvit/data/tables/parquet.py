"""Photos in a parquet file: pictures within it, as ``datasets`` writes them, or paths of files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustvit.common.errors import UserError
from robustvit.common.extras import import_extra
from robustvit.data.tables.table import PhotoTable, table_of_records
from robustvit.data.tables.unpacked import UnpackedPhotos

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

_AT_ONCE = 64  # rows: pictures of a whole file need not fit into memory


def read_parquet(path: Path) -> PhotoTable:
    """Read the rows of a parquet file; numbers get the names of their classes if ``datasets`` noted them."""
    with open_parquet(path) as file:
        features = _features(file)
        names = {name: kind["names"] for name, kind in features.items() if kind.get("_type") == "ClassLabel"}
        pictures = [name for name, kind in features.items() if kind.get("_type") == "Image"]
        unpacked = UnpackedPhotos(str(path.absolute()), path.parent)
        return table_of_records(parquet_rows(file), names, unpacked, path.parent, pictures)


@contextmanager
def open_parquet(path: Path) -> Iterator[ParquetFile]:
    """Open a parquet file; errors inside the block become one line."""
    arrow = import_extra("pyarrow", "parquet", f"reading {path}")
    parquet = import_extra("pyarrow.parquet", "parquet")
    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except (arrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # of the disk, not of the file
            raise
        reason = " ".join(str(error).split())[:150]
        raise UserError(f"cannot read {path} as parquet ({reason}): check the file, or write it again") from error


def parquet_rows(file: ParquetFile) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file as dicts, a few in memory at a time."""
    for batch in file.iter_batches(batch_size=_AT_ONCE):
        yield from batch.to_pylist()


def _features(file: ParquetFile) -> dict[str, dict[str, Any]]:
    """Return the types of columns that ``datasets`` notes in its files; empty for other files."""
    noted = (file.schema_arrow.metadata or {}).get(b"huggingface")
    try:
        found = json.loads(noted or b"{}")["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return {str(name): kind for name, kind in found.items() if isinstance(kind, dict)}
