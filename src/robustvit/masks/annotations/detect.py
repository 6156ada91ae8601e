"""Which format annotations have, recognised by the files in a folder or the content of one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.data.folder_files import files_below
from robustvit.data.mask_pixels import MASK_SUFFIXES
from robustvit.data.tables.columns import MASK_COLUMNS, find_column
from robustvit.masks.annotations.csv_boxes import OF_PART, is_csv_boxes
from robustvit.masks.annotations.csv_rows import read_list
from robustvit.masks.annotations.cvat import is_cvat
from robustvit.masks.annotations.datumaro import is_datumaro
from robustvit.masks.annotations.fiftyone import is_fiftyone
from robustvit.masks.annotations.files import load_json, read_xml
from robustvit.masks.annotations.image_folder import METADATA
from robustvit.masks.annotations.kaggle import is_kaggle
from robustvit.masks.annotations.label_studio_tasks import is_label_studio
from robustvit.masks.annotations.labelme import is_labelme
from robustvit.masks.annotations.megadetector import is_speciesnet
from robustvit.masks.annotations.other_formats import name_format
from robustvit.masks.annotations.sa1b import is_sa1b
from robustvit.masks.annotations.supervisely import is_supervisely
from robustvit.masks.annotations.values import holds
from robustvit.masks.annotations.yolo_folder import hold_labels

_LISTS = frozenset({".csv", ".tsv"})
_TEXTS = frozenset({".json", ".xml", ".yaml", ".yml", ".txt", ".jsonl", ".parquet", *_LISTS})
_IMAGE_FORMATS = "grey, binary, inverted, soft, trimap, voc, imagenet-s"
_LOOKED_AT = 3  # files of a kind
_LABELS = "labels"
_COLUMNS = 8  # in a message


def _is_coco(content: object) -> bool:
    return holds(content, images=list, annotations=list) and not name_format(content)


def _is_megadetector(content: object) -> bool:
    return holds(content, detection_categories=object, images=list) or is_speciesnet(content)


_JSON: dict[str, Callable[[object], bool]] = {
    "coco": _is_coco,
    "labelme": is_labelme,
    "label-studio": is_label_studio,
    "datumaro": is_datumaro,
    "fiftyone": is_fiftyone,
    "sa-1b": is_sa1b,
    "supervisely": is_supervisely,
    "megadetector": _is_megadetector,
}


def detect_format(source: str | Path) -> str:
    """Return the name of the format of annotations; ``source`` is as for ``read_annotations``."""
    place = Path(source)
    if not place.exists():
        raise UserError(f"expected annotations at {place}, found nothing: check the path")
    found = dict.fromkeys(_of_folder(place) if place.is_dir() else _of_file(place))
    if len(found) == 1:
        return next(iter(found))
    if found:
        raise UserError(f"the format of {place} may be {' or '.join(found)}: say which with --from")
    if place.is_dir() and files_below(place, MASK_SUFFIXES):
        raise UserError(
            f"found only images in {place}, which may be masks of several kinds: say --from {_IMAGE_FORMATS}"
        )
    raise UserError(f"expected annotations of a known format in {place}, found {_describe(place)}: name it with --from")


def _describe(place: Path) -> str:
    """Name what was found instead of annotations, for a message."""
    if place.suffix.lower() == ".json":
        return name_format(load_json(place)) or "other JSON"
    if place.suffix.lower() in _LISTS:
        columns = read_list(place, "annotations").columns
        more = ", ..." if len(columns) > _COLUMNS else ""
        return f"a list with the columns {', '.join(columns[:_COLUMNS])}{more}"
    return "a folder without any" if place.is_dir() else "another file"


def _of_file(path: Path) -> Iterator[str]:
    """Yield the formats that a file may have."""
    suffix = path.suffix.lower()
    if suffix == ".json":
        content = load_json(path)
        yield from (name for name, fits in _JSON.items() if fits(content))
    elif suffix == ".xml":
        root = read_xml(path)
        if is_cvat(root) or root.tag == "annotation":
            yield "cvat" if is_cvat(root) else "voc-xml"
    elif suffix in (".yaml", ".yml"):
        yield "yolo"
    elif path.name in METADATA:
        yield "imagefolder"
    elif suffix in _LISTS:
        columns = read_list(path, "annotations").columns
        if is_kaggle(path):
            yield "kaggle"
            return
        if is_csv_boxes(columns):
            yield "csv-boxes"
        if find_column(columns, MASK_COLUMNS):
            yield "imagefolder"


def _of_folder(folder: Path) -> list[str]:
    """Return the formats of the files in a folder; of many files of a kind, only the first few are opened.

    Lists with other names than a format's own count only if there is nothing else.
    """
    found: list[str] = []
    alone: list[str] = []
    files = files_below(folder, _TEXTS)
    if any(_LABELS in place.split("/")[:-1] and place.endswith(".txt") for place in files) or hold_labels(folder):
        found.append("yolo")
    if (folder / "SegmentationClass").is_dir() or any(path.name == "_classes.csv" for path in files.values()):
        found.append("voc")
    first: dict[tuple[str, str], list[Path]] = {}
    for place, path in files.items():
        kind = path.suffix.lower(), place.rpartition("/")[0]
        if kind[0] != ".txt" and len(first.setdefault(kind, [])) < _LOOKED_AT:
            first[kind].append(path)
    for path in (path for paths in first.values() for path in paths):
        if path.name == "_classes.csv" or path.suffix.lower() in (".yaml", ".yml"):
            continue
        try:
            by_name = path.suffix.lower() in _LISTS and path.name not in (OF_PART, *METADATA)
            (alone if by_name else found).extend(_of_file(path))
        except UserError:  # whichever format it is, its reader will say so
            continue
    return found or alone
