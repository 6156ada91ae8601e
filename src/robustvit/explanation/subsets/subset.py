"""The ``subset`` command: how few pixels of a photo make a model confident in its class, or in any other."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustvit.common.command_options import command, settings_of
from robustvit.common.errors import UserError, expect_at_least
from robustvit.common.option_groups import RunningOptions
from robustvit.common.options import Categories, SubsetFill
from robustvit.common.photo_options import PixelOptions
from robustvit.explanation.subsets.panel import (
    ClassSubset,
    SubsetPanel,
    draw_classes,
    draw_rows,
    find_classes,
    shorten,
)
from robustvit.models.options import GivenModel

if TYPE_CHECKING:
    from torch import Tensor

    from robustvit.explanation.subsets.search import SufficientSubsets
    from robustvit.models.classifier import Classifier

_RANDOM = 5  # classes that the paper's Figure 5 forces
_GREY = 0.5


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """Search.

    Attributes:
        confidence: probability that the pixels must reach, between 0 and 1.
        remove: pixels removed at each step: a share of the photo's pixels if below 1, else a number. Fewer give smaller
            subsets and take longer; the method's authors remove 100 of 224 x 224 (0.002).
        max_steps: maximum number of steps; the last one removes all that is left.
        fill: value of removed pixels: grey (the model's mean colour, 0 after normalisation), the photo's mean colour,
            or black. The panel always shows grey.
    """

    confidence: float = 0.9
    remove: float = 0.005
    max_steps: int | None = None
    fill: SubsetFill = "grey"


@command(
    first=("images", "model", "checkpoint", "class_", "random_classes", "confidence", "out"),
    batch_size=8,
    leave_out=("num_classes", "workers", "precision"),
)
def subset(
    images: list[str],
    *,
    given: GivenModel,
    out: str,
    class_: Categories | None = None,
    random_classes: int | None = None,
    searching: SearchOptions,
    pixels: PixelOptions,
    running: RunningOptions,
) -> SubsetPanel:
    """Find the few pixels that alone make a model confident in a photo's class, and in classes that are not in it.

    Draws a panel (the paper's Figure 5): each photo, the subset of its predicted class, and a subset for each forced
    class, with removed pixels in grey; and writes the numbers to a JSON file. Classes that are not in the photo have
    subsets too, much like adversarial examples: a subset does not show what the model used.

    Args:
        images: photo files.
        out: PNG to write, must be new; the numbers go to a JSON file of the same name.
        class_: classes to force, by name or index, separated by commas (gibbon,shovel).
        random_classes: number of further classes to force, drawn at random (default 5 without --class, else none).
        batch_size: subsets searched at a time.
        seed: fixes the classes drawn.

    Returns:
        The subsets; printing them gives a list.

    Raises:
        UserError: a photo that cannot be read, an unknown model or class, an option out of range; nothing is written
            then.

    Example:
        robustvit subset --model runs/mine photo.jpg --class gibbon,shovel --out panel.png
    """
    settings = settings_of(
        subset, given, searching, pixels, running, images=images, out=out, class_=class_, random_classes=random_classes
    )
    record = _check_options(images, out, searching.confidence)
    expect_at_least(0, random_classes=random_classes or 0)
    from robustvit.common.devices import make_accelerator
    from robustvit.models.load import load_given

    classifier = load_given(given)
    photos = _read_inputs(images, classifier, pixels.or_else(classifier.pixels))
    named = find_classes(classifier, class_)
    _list_steps(classifier, searching)  # refuse options that do not fit the model's input
    notes = _note_trained(list(photos), given)
    classifier.to(make_accelerator(device=running.device).device)
    wanted = _RANDOM if random_classes is None and not named else random_classes or 0
    labels = _choose_labels(classifier, photos, named, wanted, running)
    rows = _search(classifier, photos, labels, running.batch_size, searching)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    draw_rows([_pictures(name, image, row) for (name, image), row in zip(photos.items(), rows, strict=True)], out)
    subsets = {name: [one for one, _ in row] for name, row in zip(photos, rows, strict=True)}
    found = SubsetPanel(str(given.model), subsets, Path(out), record, notes)
    _write_record(found, settings, classifier)
    return found


def _note_trained(photos: list[str], given: GivenModel) -> tuple[str, ...]:
    """Return notes on photos that the model was trained on, which are also shown as warnings."""
    from robustvit.common.progress import warn
    from robustvit.data.trained_photos import notes_on_photos

    notes = notes_on_photos([Path(photo) for photo in photos], given.model, given.checkpoint)
    for note in notes:
        warn(note)
    return notes


def _read_inputs(images: list[str], classifier: Classifier, pixels: PixelOptions) -> dict[str, Tensor]:
    """Read photos, by name, as the model takes them."""
    from torch import Tensor

    from robustvit.data.datasets import evaluation_transform
    from robustvit.data.photo_scales import read_together
    from robustvit.data.pixels import Pixels

    pictures = dict(zip(images, read_together(images, Pixels.of(pixels)), strict=False))
    transform = evaluation_transform(classifier.preprocessing)
    return {name: transform(picture).as_subclass(Tensor) for name, picture in pictures.items()}


def _check_options(images: list[str], out: str, confidence: float) -> Path:
    """Check what can be checked without the model; return the path of the JSON file."""
    from robustvit.common.output_paths import check_new_file
    from robustvit.data.read_photos import expect_image

    if not images:
        raise UserError("expected at least one photo: name image files")
    if Path(out).suffix.lower() != ".png":
        raise UserError(f"expected a PNG file as --out, got {out}: name it panel.png")
    if not 0 < confidence < 1:
        raise UserError(f"expected --confidence between 0 and 1, got {confidence}")
    record = Path(out).with_suffix(".json")
    for path in (out, record):
        check_new_file(path)
    for image in images:
        expect_image(image)
    return record


def _list_steps(classifier: Classifier, searching: SearchOptions) -> list[int]:
    """Return the number of pixels left after each step of the search."""
    from robustvit.explanation.subsets.search import list_sizes

    height, width = classifier.preprocessing.input_size
    return list_sizes(height * width, searching.remove, searching.max_steps)[1:]


def _choose_labels(
    classifier: Classifier, photos: dict[str, Tensor], named: list[int], wanted: int, running: RunningOptions
) -> list[list[int]]:
    """Return the classes of each photo: the predicted class, those named, and ``wanted`` drawn at random."""
    import torch

    own: list[int] = []
    with torch.no_grad():
        for batch in torch.stack(list(photos.values())).split(running.batch_size):
            own += classifier(batch.to(classifier.mean.device)).argmax(dim=1).tolist()
    forced = named + draw_classes(classifier.num_classes, own, named, wanted, running.seed)
    return [list(dict.fromkeys([label, *forced])) for label in own]


def _search(
    classifier: Classifier,
    photos: dict[str, Tensor],
    labels: list[list[int]],
    batch_size: int,
    searching: SearchOptions,
) -> list[list[tuple[ClassSubset, Tensor]]]:
    """Return the subsets of each photo with their masks, for its ``labels``, the predicted class first."""
    import torch

    from robustvit.common.progress import bar
    from robustvit.explanation.subsets.search import sufficient_subset

    inputs = torch.stack(list(photos.values()))
    jobs = [(photo, label) for photo, wanted in enumerate(labels) for label in wanted]
    batches = [jobs[start : start + batch_size] for start in range(0, len(jobs), batch_size)]
    steps = len(_list_steps(classifier, searching))
    rows: list[list[tuple[ClassSubset, Tensor]]] = [[] for _ in labels]
    with bar() as progress:
        task = progress.add_task("removing pixels", total=steps * len(batches))
        for batch in batches:
            images = inputs[[photo for photo, _ in batch]].to(classifier.mean.device)
            target = torch.tensor([label for _, label in batch], device=images.device)
            found = sufficient_subset(
                classifier, images, target, after_step=lambda: progress.advance(task), **vars(searching)
            )
            for index, (photo, label) in enumerate(batch):
                one = _describe(classifier, found, index, label, label != labels[photo][0])
                rows[photo].append((one, found.mask[index].cpu()))
    return rows


def _describe(classifier: Classifier, found: SufficientSubsets, index: int, label: int, forced: bool) -> ClassSubset:
    reached = bool(found.found[index])
    size = (int(found.size[index]), float(found.share[index])) if reached else (None, None)
    probabilities = (float(value[index]) for value in (found.confidence, found.whole, found.empty))
    return ClassSubset(label, classifier.name_of(label), forced, reached, *size, *probabilities)


def _pictures(photo: str, image: Tensor, row: list[tuple[ClassSubset, Tensor]]) -> list[tuple[str, Tensor]]:
    own = row[0][0]
    first = (f"{shorten(Path(photo).name)}\n{shorten(own.name)}, {100 * own.whole:.0f} % sure\nwhole photo", image)
    return [first, *((one.title, image.where(mask, image.new_tensor(_GREY))) for one, mask in row)]


def _write_record(found: SubsetPanel, settings: dict[str, Any], classifier: Classifier) -> None:
    from robustvit.common.files import write_json
    from robustvit.common.provenance import versions
    from robustvit.models.weights import weights_hash

    settings = {name.rstrip("_"): value for name, value in settings.items() if name not in ("images", "model", "out")}
    kept = {name: value for name, value in asdict(found).items() if name not in ("picture", "record")}
    facts = {"picture": found.picture.name, "weights": weights_hash(classifier)}
    write_json(kept | facts | {"settings": settings, "versions": versions()}, found.record)
