"""Sets of the Hugging Face hub, or such a set in a local folder, read row by row through ``datasets``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from robustvit.common.errors import UserError, did_you_mean
from robustvit.common.extras import import_extra
from robustvit.common.files import read_settings, write_json
from robustvit.common.progress import warn
from robustvit.data.tables.source import HUB
from robustvit.data.tables.table import PhotoTable, table_of_records
from robustvit.data.tables.unpacked import UnpackedPhotos


def read_hub(name: str, part: str | None) -> PhotoTable:
    """Read the rows of a set: ``OWNER/NAME``, ``OWNER/NAME/CONFIG``, or a folder of pictures or of parquet files here.

    Pictures become files; see ``UnpackedPhotos``. The rows of a set of the hub are kept, and used as long as
    the hub has no newer revision.
    """
    return _read(name, part) if Path(name).exists() else _read_remote(name, part)


def _read_remote(name: str, part: str | None) -> PhotoTable:
    file = UnpackedPhotos(f"{HUB}{name}#{part}", Path()).place.with_suffix(".rows.json")
    revision, kept = _find_revision(name), _read_kept_rows(file)
    if kept is not None and revision in (kept[0], None):
        if revision is None:
            warn(f"{HUB}{name}: the hub cannot be reached, the rows kept in {file} are used")
        return kept[1]
    table = _read(name, part, revision)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json({"revision": revision, "table": asdict(table) | {"folder": str(table.folder)}}, file)
    return table


def _find_revision(name: str) -> str | None:
    """Return the newest revision of a set on the hub; None if it cannot be reached."""
    from huggingface_hub import HfApi

    with suppress(Exception):  # reading the set says why
        return HfApi().dataset_info(_with_configuration(name)[0]).sha
    return None


def _read_kept_rows(file: Path) -> tuple[str, PhotoTable] | None:
    """Return the rows of an earlier call with their revision, if all their pictures are still there."""
    found = read_settings(file) or {}
    try:
        columns = found["table"]
        held = [Path(row[name]) for row in columns["rows"] for name in columns["pictures"] if row.get(name)]
        table = PhotoTable(**columns | {"folder": Path(columns["folder"])})
    except (KeyError, TypeError):
        return None
    return (str(found["revision"]), table) if all(path.is_file() for path in held) else None


def _read(name: str, part: str | None, revision: str | None = None) -> PhotoTable:
    datasets = import_extra("datasets", "sets", f"reading {HUB}{name}")
    local = Path(name).exists()
    way_out = "check the files" if local else "check the name, the connection, and whether the set asks you to log in"
    source = f"{HUB}{Path(name).absolute() if local else name}"
    with reaching(f"cannot read {HUB}{name}", way_out):
        rows, features, part = _open(datasets, name, part, revision)
        names = {column: kind.names for column, kind in features.items() if isinstance(kind, datasets.ClassLabel)}
        pictures = [column for column, kind in features.items() if isinstance(kind, datasets.Image)]
        unpacked = UnpackedPhotos(f"{source}#{part}", Path())
        table = table_of_records(rows, names, unpacked, Path(), pictures)
    if not table.rows:
        raise UserError(f"expected photos in {HUB}{name}#{part}, found no rows: name another part")
    return table


def _open(
    datasets: ModuleType, name: str, part: str | None, revision: str | None
) -> tuple[Iterable[Any], Mapping[str, Any], str]:
    """Return rows with undecoded pictures, the types of the columns, and the part that was taken."""
    folder = Path(name)
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        found = datasets.load_from_disk(name)
    else:
        places = [name] if folder.exists() else _with_configuration(name)
        found = datasets.load_dataset(*places, streaming=True, **({"revision": revision} if revision else {}))
    parts: Mapping[str, Any] = found if isinstance(found, Mapping) else {str(found.split or "train"): found}
    chosen = choose_part(list(parts), part, f"{HUB}{name}")
    data = parts[chosen]
    features = dict(data.features or {})
    for column, kind in features.items():
        if isinstance(kind, datasets.Image):
            data = data.cast_column(column, datasets.Image(decode=False))
    return data, features, chosen


def _with_configuration(name: str) -> list[str]:
    """Split ``OWNER/NAME/CONFIG`` into the name and the configuration."""
    owner, _, rest = name.partition("/")
    inner, _, configuration = rest.partition("/")
    return [f"{owner}/{inner}", configuration] if configuration else [name]


def choose_part(parts: list[str], wanted: str | None, source: str) -> str:
    """Return the named part of a set, or its only part."""
    if wanted is None and len(parts) == 1:
        return parts[0]
    if wanted in parts:
        return str(wanted)
    there = f"{source} has the parts {', '.join(parts)}"
    if wanted is None:
        raise UserError(f"{there}: name one, {source}#{parts[0]}")
    raise UserError(f"expected a part of {source} behind #, got {wanted!r}: {there}. {did_you_mean(wanted, parts)}")


@contextmanager
def reaching(failed: str, way_out: str) -> Iterator[None]:
    """Turn errors of datasets, huggingface_hub, fsspec and HTTP libraries into one line with the fix ``way_out``."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        line = " ".join((str(error) or type(error).__name__).split())[:200]
        raise UserError(f"{failed}: {line}; {way_out}") from error
