"""Photos as a model sees them: read once, and with all their labels for a multi-label model."""

from __future__ import annotations

from collections.abc import Sequence

from robustvit.common.options import MaskFormat
from robustvit.data.cached_photos import CachedPhotos
from robustvit.data.datasets import MaskedPhotos
from robustvit.data.photo import Photo
from robustvit.data.several_labels import LabelledPhotos
from robustvit.models.classifier import Classifier, Preprocessing

ROOM = 2**29  # bytes that a run keeps of each of its sets of photos: 2,600 photos of 224 pixels


class CachedLabels(CachedPhotos, LabelledPhotos):
    """``LabelledPhotos`` without randomness, each read once; see ``CachedPhotos``. A class's mask has 4 bytes a pixel.

    Args:
        photos: as in ``LabelledPhotos``, as is everything else.
        preprocessing: of the model.
        classes: of the model.
        mask_format: see ``read_mask``.
        room: see ``CachedPhotos``.
    """

    def __init__(
        self,
        photos: Sequence[Photo],
        preprocessing: Preprocessing,
        *,
        classes: int,
        mask_format: MaskFormat = "auto",
        room: int | None = None,
    ) -> None:
        LabelledPhotos.__init__(self, photos, preprocessing, classes=classes, mask_format=mask_format)
        CachedPhotos.__init__(self, photos, preprocessing, mask_format=mask_format, room=room)


def hold_photos(
    photos: Sequence[Photo],
    model: Classifier,
    own: Preprocessing,
    *,
    mask_format: MaskFormat = "auto",
    room: int | None = None,
) -> CachedPhotos:
    """Return photos without randomness, each read once, with all their labels for a multi-label model.

    Args:
        photos: as in ``CachedPhotos``, as are ``mask_format`` and ``room``.
        model: whose classes they have.
        own: preprocessing of the model that sees them.
    """
    if model.head_kind == "multi-label":
        return CachedLabels(photos, own, classes=model.num_classes, mask_format=mask_format, room=room)
    return CachedPhotos(photos, own, mask_format=mask_format, room=room)


def see_photos(
    photos: Sequence[Photo], model: Classifier, *, augment: bool = False, mask_format: MaskFormat = "auto"
) -> MaskedPhotos:
    """Return photos as a model sees them; to train on, those of several labels are read whenever they are used."""
    own = model.preprocessing
    if augment and model.head_kind == "multi-label":
        return LabelledPhotos(photos, own, classes=model.num_classes, augment=True, mask_format=mask_format)
    if augment:
        return CachedPhotos(photos, own, augment=True, mask_format=mask_format, room=ROOM)
    return hold_photos(photos, model, own, mask_format=mask_format, room=ROOM)


class ReadOnce:
    """Photos for several models: read once for all that see them in the same way.

    Args:
        photos: the photos.
        mask_format: see ``read_mask``.
        classes_of: the model whose classes the photos have; left out, each model's own.
        room: see ``CachedPhotos``.
        workers: processes that read all photos as soon as a model is to see them; None reads each when it is used.
    """

    def __init__(
        self,
        photos: Sequence[Photo],
        mask_format: MaskFormat,
        *,
        classes_of: Classifier | None = None,
        room: int | None = ROOM,
        workers: int | None = None,
    ) -> None:
        self.photos, self.mask_format, self.classes_of, self.room = photos, mask_format, classes_of, room
        self.workers = workers
        self._read: dict[Preprocessing, CachedPhotos] = {}

    def seen_by(self, model: Classifier) -> CachedPhotos:
        """Return the photos as a model sees them."""
        own, labelled = model.preprocessing, self.classes_of or model
        if own not in self._read:
            self._read[own] = hold_photos(self.photos, labelled, own, mask_format=self.mask_format, room=self.room)
            if self.workers is not None:
                self._read[own].read(self.workers)
        return self._read[own]
