"""What the steps of an audit share: the models, the photos in memory, the budget, and what was spent of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robustvit.audits.budget import Spending, settle_budget
from robustvit.audits.companions import read_companions
from robustvit.audits.memory import Memory
from robustvit.audits.options import AuditRequest
from robustvit.common.errors import printable
from robustvit.common.progress import warn
from robustvit.data.cached_photos import CachedPhotos, ReadOnce
from robustvit.data.objects_seen import check_objects, describe_objects
from robustvit.data.photo import Photo
from robustvit.data.several_labels import NO_LABEL
from robustvit.evaluation.measuring import MeasureSettings
from robustvit.models.classifier import Classifier


class AuditRun:
    """An audit of one or two models on photos.

    Args:
        request: options of the audit.
        models: the model and, if there is one, the baseline, on one device.
        grouper: backbone that tells backgrounds apart.
        photos: with masks and labels.
        notes: for the reader; a line is added for each thing that cannot be measured.
        backgrounds: files to place objects on; empty to use the photos' backgrounds.
        memory: answers of an audit that was stopped, and of this one.
    """

    def __init__(
        self,
        request: AuditRequest,
        models: Sequence[Classifier],
        grouper: Classifier,
        photos: Sequence[Photo],
        notes: list[str],
        backgrounds: Sequence[Path],
        memory: Memory,
    ) -> None:
        self.request, self.models, self.grouper, self.notes = request, list(models), grouper, notes
        self.photos, self.backgrounds = list(photos), list(backgrounds)
        self.budget, self.memory = settle_budget(request.auditing), memory
        networks = dict(zip(("model", "baseline"), (one.network for one in self.models), strict=False))
        if grouper.network not in networks.values():
            networks["groups"] = grouper.network
        self.measuring = MeasureSettings(
            swaps=request.judging.swaps, seed=request.running.seed, method=request.maps.relevance,
            batch_size=request.running.batch_size, asking=memory,
        )  # fmt: skip
        self.spending = Spending(networks, self.memory, len(self.photos))
        workers, mask_format = request.running.workers, request.photos.mask_format
        self._read = ReadOnce(self.photos, mask_format, classes_of=self.models[0], room=None, workers=workers)
        first, *_ = [self.photos_for(model) for model in self.models]  # all are read before anything is measured
        objects = request.auditing.objects
        self.companions = {} if objects is None else read_companions(objects, str(request.photos.images), first)
        for note in describe_objects(check_objects(first), first.preprocessing):
            notes.append(note)
            warn(note)

    @property
    def names(self) -> list[str]:
        """The class of each photo, or all its classes, printable."""
        if self.several:
            name_of = self.models[0].name_of
            shown = [" + ".join(map(name_of, photo.labels or ())) for photo in self.photos]
            return [printable(one or NO_LABEL) for one in shown]
        return [printable(str(photo.class_name)) for photo in self.photos]

    @property
    def several(self) -> bool:
        """Whether photos have several labels."""
        return self.models[0].head_kind == "multi-label"

    def photos_for(self, model: Classifier) -> CachedPhotos:
        """Return the photos as a model sees them; models with the same preprocessing share them."""
        return self._read.seen_by(model)

    def settings(self) -> dict[str, object]:
        """Return the options of the call, and the numbers that the budget settled."""
        settled = {"tries": self.budget.tries, "shifted": self.budget.shifted}
        return {name: _plain(value) for name, value in (dict(self.request.settings) | settled).items()}

    def passes_left(self) -> int | None:
        """Return how many passes blurring may take; finding regions takes one a photo, and one more without masks."""
        count, limits = len(self.photos), []
        if self.budget.region_passes is not None:
            limits.append(int(self.budget.region_passes * count))
        if self.budget.passes is not None:
            finding = 1 + self.request.auditing.without_masks
            limits.append((self.budget.passes - finding) * count - self.spending.passes("model"))
        return max(0, min(limits)) if limits else None


def _plain(value: object) -> object:
    """Convert an option to a JSON value; models given from Python become the name of their class."""
    return value if value is None or isinstance(value, (str, int, float, list)) else type(value).__name__
