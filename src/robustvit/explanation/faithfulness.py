"""The ``faithfulness`` command: which relevance method marks the pixels that a model really uses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustvit.common.command_options import command, settings_of
from robustvit.common.errors import expect_at_least
from robustvit.common.frames import FrameRow, Tabular
from robustvit.common.option_groups import RunningOptions
from robustvit.common.options import Fill
from robustvit.common.photo_options import ColumnOptions, PixelOptions
from robustvit.common.wording import list_names, pluralize
from robustvit.models.options import GivenModel

if TYPE_CHECKING:
    from robustvit.common.intervals import Interval
    from robustvit.data.photo import Photo
    from robustvit.explanation.randomisation import Sanity


@dataclass(frozen=True, kw_only=True)
class DeletionOptions:
    """Deletion and insertion.

    Attributes:
        methods: methods to measure, separated by commas (gae,rollout; default all).
        steps: number of equal shares in which pixels are removed.
        fill: value of removed pixels: the photo's mean colour, or the blurred photo.
        randomised: number of photos whose maps are compared with those of randomised weights, and between methods; a
            map that does not change shows the photo, not the model. 0 leaves it out.
    """

    methods: str | None = None
    steps: int = 20
    fill: Fill = "mean"
    randomised: int = 16


@dataclass(frozen=True)
class MethodScore:
    """How faithful a method's maps are.

    Attributes:
        deletion: area under the deletion curve, mean over photos with its 95 % CI; lower is better.
        insertion: area under the insertion curve; higher is better.
        photos: both areas of each photo, in the order of the photos.
    """

    deletion: Interval
    insertion: Interval
    photos: list[tuple[float, float]] = field(repr=False)

    @classmethod
    def of(cls, photos: list[tuple[float, float]]) -> MethodScore:
        """Return the score of the areas of each photo."""
        from robustvit.common.intervals import mean_interval

        deleted, inserted = zip(*photos, strict=True)
        return cls(mean_interval(list(deleted)), mean_interval(list(inserted)), photos)


@dataclass(frozen=True)
class Faithfulness(Tabular):
    """Faithfulness of a model's relevance methods.

    Attributes:
        model: where it came from.
        images: the folder.
        photos: the photos measured.
        scores: by method; ``random`` maps are the control.
        unsupported: why the model does not support some methods, by method.
        notes: what a reader must know about the photos.
        sanity: how the maps change with the weights, and how methods agree; None if not measured.
    """

    model: str
    images: str
    photos: list[str]
    scores: dict[str, MethodScore]
    unsupported: dict[str, str]
    notes: tuple[str, ...] = ()
    sanity: Sanity | None = None

    def frame_rows(self) -> Iterator[FrameRow]:
        """A row for each method."""
        for name, score in self.scores.items():
            yield {"method": name, "deletion": score.deletion, "insertion": score.insertion}

    def __str__(self) -> str:
        lines = [
            f"{self.model} on {pluralize(len(self.photos), 'photo')} of {self.images}: "
            "probability of the predicted class",
            f"  {'method':<16}{'deletion (lower is better)':<30}insertion (higher is better)",
        ]
        for name, score in self.scores.items():
            lines.append(f"  {name:<16}{_show(score.deletion):<30}{_show(score.insertion)}")
        lines += [f"  {name:<16}not measured: {reason}" for name, reason in self.unsupported.items()]
        lines += [] if self.sanity is None else [str(self.sanity)]
        return "\n".join(lines)


@command(
    first=("model", "checkpoint", "images", "methods", "steps", "fill", "out"),
    batch_size=16,
    leave_out=("precision", "class_folders", "group_by"),
)
def faithfulness(
    *,
    given: GivenModel,
    images: str,
    deletion: DeletionOptions,
    pixels: PixelOptions,
    columns: ColumnOptions,
    running: RunningOptions,
    out: str | None = None,
) -> Faithfulness:
    """Measure which relevance method is faithful to a model, by deletion and insertion of pixels.

    Pixels are removed from each photo, most relevant first, and added to an empty photo in the same order. The sooner
    the predicted class's probability falls, and rises, the better a method shows what the model uses. Random maps are
    measured too, as a control. Each method's maps are also compared with those of the same model with random weights,
    which must differ, and with those of the other methods. Neither classes nor masks are needed.

    Args:
        images: folder of photos, flat or one folder per class, or a list or set as for finetune.
        seed: fixes the random maps and the random weights.
        out: new JSON file for all results.

    Returns:
        The scores; printing them gives a table.

    Raises:
        UserError: anything wrong with what was given; nothing is written then.

    Example:
        robustvit faithfulness --model runs/mine --images photos/test --methods gae,rollout
    """
    settings = settings_of(faithfulness, given, deletion, pixels, columns, running, images=images, out=out)
    from robustvit.common.output_paths import check_new_file
    from robustvit.data.photo import expect_photos

    if out is not None:
        check_new_file(out)
    expect_at_least(1, steps=deletion.steps)
    expect_at_least(0, randomised=deletion.randomised)
    expect_photos(images)
    from robustvit.common.devices import make_accelerator
    from robustvit.data.datasets import MaskedPhotos
    from robustvit.explanation.method_scores import check_sanity, measure_areas, unsupported_methods
    from robustvit.models.load import load_given

    wanted = _list_methods(deletion.methods)
    classifier = load_given(given).eval()
    unsupported = unsupported_methods(wanted, classifier)
    measured = [name for name in wanted if name not in unsupported]
    photos, notes = _find_photos(images, given, pixels.or_else(classifier.pixels), columns)
    classifier.to(make_accelerator(device=running.device).device)
    data = MaskedPhotos(photos, classifier.preprocessing)
    areas = measure_areas(classifier, data, measured, deletion.steps, deletion.fill, running)
    scores = {name: MethodScore.of(found) for name, found in areas.items()}
    sanity = check_sanity(classifier, data, measured, deletion.randomised, running.seed)
    names = [str(photo.image) for photo in photos]
    found = Faithfulness(str(given.model), str(images), names, scores, unsupported, notes, sanity)
    if out is not None:
        _write_record(found, Path(out), settings)
    return found


def _list_methods(methods: str | None) -> list[str]:
    from robustvit.explanation.methods import RELEVANCE_METHODS, get_method

    names = list(RELEVANCE_METHODS) if methods is None else list_names(methods) or [methods]
    for name in names:
        get_method(name)
    return list(dict.fromkeys(names))


def _find_photos(
    images: str, given: GivenModel, pixels: PixelOptions, columns: ColumnOptions
) -> tuple[list[Photo], tuple[str, ...]]:
    """Return photos without their masks, which are not needed, and notes on them, which are also shown as warnings."""
    from robustvit.common.progress import warn
    from robustvit.data.find_photos import find_photos
    from robustvit.data.pixels import Pixels
    from robustvit.data.trained_photos import notes_on_photos

    left_out: list[str] = []
    photos = find_photos(images, labelled=False, pixels=Pixels.of(pixels), columns=columns, notes=left_out)
    notes = (*left_out, *notes_on_photos([photo.image for photo in photos], given.model, given.checkpoint))
    for note in notes:
        warn(note)
    return [replace(photo, mask=None) for photo in photos], notes


def _show(area: Interval) -> str:
    return f"{area.mean:.3f} [{area.low:.3f}, {area.high:.3f}]"


def _write_record(found: Faithfulness, path: Path, settings: dict[str, Any]) -> None:
    from robustvit.common.files import write_json
    from robustvit.common.provenance import versions

    path.parent.mkdir(parents=True, exist_ok=True)
    settings = {name: value for name, value in settings.items() if name not in ("model", "images", "out")}
    write_json(asdict(found) | {"settings": settings, "versions": versions()}, path)
