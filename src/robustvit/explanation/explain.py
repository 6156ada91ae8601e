"""The ``explain`` command: a model's prediction for a photo, and which part of the photo it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from robustvit.common.command_options import command
from robustvit.common.errors import UserError
from robustvit.common.frames import FrameRow, Tabular
from robustvit.common.option_groups import MapOptions
from robustvit.common.options import HeadKind
from robustvit.common.output_paths import check_own_folder
from robustvit.common.photo_options import ColumnOptions, PixelOptions
from robustvit.explanation.image_files import ImageFiles
from robustvit.explanation.subsets.panel import find_class
from robustvit.models.options import ComparedModels, ShownModels

_SIDE, _DPI = 480, 200  # pixels of a picture, of which 2.4 inches are shown

if TYPE_CHECKING:
    from PIL import Image

    from robustvit.models.classifier import Classifier


@dataclass(frozen=True)
class Explanation:
    """One photo explained.

    Attributes:
        photo: the file.
        top: for each model (``before``, ``after``) its five most probable classes with probabilities.
        picture: the PNG with the photo and each model's relevance laid over it.
        trained: whether a model was trained on this photo or a copy of it, if its run is known.
        numbers: whether the values of ``top`` are a regression's numbers, not probabilities.
    """

    photo: Path
    top: dict[str, list[tuple[str, float]]]
    picture: Path
    trained: bool = False
    numbers: bool = False

    def __str__(self) -> str:
        rows = [f"{self.photo}  ->  {self.picture}"]
        for which, classes in self.top.items():
            rows.append(f"  {which}: " + ", ".join(f"{name} {_show_value(p, self.numbers)}" for name, p in classes))
        return "\n".join(rows)


def _show_value(value: float, number: bool, digits: int = 1) -> str:
    """Return a probability in percent, or the number of a regression."""
    return f"{value:.4g}" if number else f"{100 * value:.{digits}f} %"


class Explanations(list[Explanation], Tabular):
    """A list of explanations that prints as text."""

    def frame_rows(self) -> Iterator[FrameRow]:
        """A row for each photo, model and one of its five most probable classes."""
        for one in self:
            for which, classes in one.top.items():
                for rank, (name, value) in enumerate(classes, start=1):
                    row = {"photo": one.photo, "model": which, "rank": rank, "class": name}
                    yield row | {"value": value, "picture": one.picture, "trained": one.trained}

    def __str__(self) -> str:
        return "\n".join(map(str, self))


@dataclass(frozen=True, kw_only=True)
class ExplainedModels(ComparedModels, ShownModels):
    """Models."""


@command(
    first=("photos", "model", "checkpoint", "baseline", "target", "maps", "out"),
    leave_out=("num_classes", "class_folders", "group_by"),
    aliases={"images": "photos"},
)
def explain(
    photos: list[str],
    *,
    models: ExplainedModels,
    target: str | None = None,
    maps: MapOptions,
    pixels: PixelOptions,
    columns: ColumnOptions,
    out: str = "explanations",
) -> Explanations:
    """Show which part of a photo a prediction comes from, before and after finetuning, with the top five classes.

    Writes one picture per photo: the part of it that the model sees, sharp, and each model's relevance laid over it. A
    run folder is compared with the model it started from.

    Args:
        photos: photo files; also folders, lists and sets, as for the images of finetune. In Python also PIL images,
            arrays (H, W, 3) and tensors (3, H, W), with 8-bit numbers or floats from 0 to 1; and one alone, as
            photos or images.
        target: class to explain, by name or index (default: the predicted class).
        out: folder for the pictures.

    Returns:
        One explanation per photo.

    Raises:
        UserError: a photo that cannot be read, an unknown model or class; nothing is written then.

    Example:
        robustvit explain --model runs/mine photo.jpg other.jpg
    """
    from robustvit.data.photo_scales import read_together
    from robustvit.data.pixels import Pixels

    check_own_folder(out, own=True)
    given = ImageFiles(photos)
    if not given.files:
        raise UserError("expected at least one photo to explain: name image files")
    files = _photo_files(given.files, columns)
    from robustvit.models.load import load_given

    model = load_given(models, get_args(HeadKind))
    pictures = read_together(files, Pixels.of(pixels.or_else(model.pixels)))
    shown = _with_baseline(model, models, maps.relevance)
    label = None if target is None else find_class(model, target)
    trained = _find_trained(files, models)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    found = Explanations()
    for index, (file, picture, name) in enumerate(zip(files, pictures, _picture_names(files, folder), strict=True)):
        one = _explain_one(Path(file), picture, shown, label, maps.relevance, folder / name)
        found.append(replace(one, photo=given.name_of(one.photo), trained=index in trained))
    return found


def _with_baseline(model: Classifier, models: ComparedModels, method: str) -> dict[str, Classifier]:
    """Return the models to explain by title, after checking that the relevance method supports them."""
    from robustvit.explanation.methods import check_method

    before = _load_compared(models)
    shown = {"model": model} if before is None else {"before": before, "after": model}
    for one in shown.values():
        check_method(method, one)
        if one.num_classes != model.num_classes:
            raise UserError(
                f"expected a baseline of {model.num_classes} classes, {models.baseline} has {one.num_classes}"
            )
    return shown


def _find_trained(files: list[str], models: ComparedModels) -> frozenset[int]:
    """Return the indices of photos that a model was trained on, with a warning."""
    from robustvit.common.progress import warn
    from robustvit.data.trained_photos import SAYS_LITTLE, photos_behind

    seen = photos_behind(models.model, models.baseline, models.checkpoint).among([Path(file) for file in files])
    for note in seen.notes(SAYS_LITTLE):
        warn(note)
    return frozenset(seen.copies.either)


def _photo_files(photos: list[str], columns: ColumnOptions) -> list[str]:
    """Return the files of photos; folders, lists and sets are replaced by the photos in them."""
    from robustvit.data.find_photos import find_photos
    from robustvit.data.photo import expect_photos
    from robustvit.data.read_photos import expect_image
    from robustvit.data.tables.source import is_list

    if columns != ColumnOptions() and not any(map(is_list, photos)):
        raise UserError(f"expected a list or a set for --image-column, {photos[0]} is neither: leave the option out")
    files = []
    for given in photos:
        if is_list(given) or Path(given).is_dir():
            expect_photos(given)
            own = columns if is_list(given) else ColumnOptions()
            found = find_photos(given, labelled=False, pixels=None, columns=own)  # settled for all that are given
            files += [str(photo.image) for photo in found]
        else:
            expect_image(given)
            files.append(given)
    return files


def _explain_one(
    photo: Path, picture: Image.Image, models: dict[str, Classifier], target: int | None, method: str, file: Path
) -> Explanation:
    """Explain a photo by each model, and write the picture; the predicted class if there is no ``target``."""
    import torch
    from torch import Tensor

    from robustvit.common.pictures import figure_of_rows
    from robustvit.data.datasets import enlarge_input, evaluation_transform
    from robustvit.explanation.maps import overlay_relevance

    tiles: list = []
    top: dict[str, list[tuple[str, float]]] = {}
    numbers = False
    for which, classifier in models.items():
        image = evaluation_transform(classifier.preprocessing)(picture).as_subclass(Tensor)
        with torch.no_grad():
            probabilities = classifier.probabilities(classifier(image[None]))[0]
        best = probabilities.topk(min(5, classifier.num_classes))
        top[which] = [(classifier.name_of(int(i)), float(p)) for p, i in zip(*best, strict=True)]
        numbers = classifier.head_kind == "regression"
        explained = int(best.indices[0]) if target is None else target
        sharp = evaluation_transform(enlarge_input(classifier.preprocessing, _SIDE))(picture).as_subclass(Tensor)
        tiles = tiles or [(photo.name[:32], sharp.permute(1, 2, 0).numpy())]
        title = f"{which}: {classifier.name_of(explained)} ({_show_value(float(probabilities[explained]), numbers, 0)})"
        tiles.append((title, overlay_relevance(classifier, image, sharp, explained, method)))
    figure_of_rows([tiles], file, dpi=_DPI, legend="relevance for the class above the picture")
    return Explanation(photo, top, file, numbers=numbers)


def _load_compared(models: ComparedModels) -> Classifier | None:
    """Load the model to compare with: the named one, or the original of a run folder, if it can still be loaded."""
    from robustvit.common.progress import warn
    from robustvit.common.run_folder import RunFolder
    from robustvit.models.baseline import load_original
    from robustvit.models.load import load_given

    if models.baseline is not None:
        return load_given(replace(models, model=models.baseline, checkpoint=None), get_args(HeadKind))
    if not isinstance(models.model, (str, Path)) or not RunFolder(models.model).is_run:
        return None
    try:
        return load_original(models.model)
    except UserError as error:
        warn(f"the original model is not shown: {error}")
        return None


def _picture_names(photos: list[str], folder: Path) -> list[str]:
    """Return a new file name for each photo; a name already used, here or in the folder, gets a number."""
    names: list[str] = []
    for photo in photos:
        stem, number = Path(photo).stem, 1
        name = f"{stem}-relevance.png"
        while name in names or (folder / name).exists():
            number += 1
            name = f"{stem}-{number}-relevance.png"
        names.append(name)
    return names
