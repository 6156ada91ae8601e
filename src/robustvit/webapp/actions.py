"""The actions of a visitor, as functions of the values on the page, without Gradio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from robustvit.common.errors import UserError
from robustvit.common.pictures import fit_side
from robustvit.data.trained_photos import SAYS_LITTLE, UNKNOWN, TrainedPhotos
from robustvit.masks.sources.tokencut import TokenCut
from robustvit.models.classifier import Classifier
from robustvit.webapp.examples import Example
from robustvit.webapp.limits import read_limited
from robustvit.webapp.memory import Recent, Results
from robustvit.webapp.prediction import Explorer, Inputs, ModelAnswer, Picture
from robustvit.webapp.rendering import render_answers, write_panel
from robustvit.webapp.swapped import (
    find_mask,
    make_background,
    read_drawing,
    read_mask_file,
    swap_background,
)

Drawing = dict[str, Any]  # of Gradio's editor
Choice = Any  # a value of the page: text, a drawing or a file
OWN_PHOTO = "your own photo"
_NO_PHOTO = "<p>Choose a photo above, or an example.</p>"


class Actions:
    """Everything that a visitor can do with a photo.

    ``mask_model``: backbone for TokenCut, which is not offered if the model does not support it. ``trained``: photos
    that the models were trained on, if known.
    """

    OWN, FOUND = "the example's mask", "found by TokenCut"
    DRAWN, FILE = "drawn with the brush", "a mask file"

    def __init__(
        self,
        explorer: Explorer,
        examples: list[Example],
        results: Results,
        mask_model: Classifier,
        trained: TrainedPhotos = UNKNOWN,
    ) -> None:
        self.explorer, self.examples, self.results = explorer, examples, results
        self.class_names, self.methods = explorer.class_names, explorer.methods
        self._masks: Recent[np.ndarray] = Recent(24)
        self.trained, self._seen = trained, Recent[str](24)
        try:
            # TokenCut uses keys; small supervised models separate objects in centred tokens only.
            self._finders = [TokenCut(mask_model), TokenCut(mask_model, feature="tokens", centre=True)]
        except UserError:
            self._finders = []
        own = [self.OWN] * any(example.mask is not None for example in examples)
        self.mask_sources = [*own, *[self.FOUND] * bool(self._finders), self.DRAWN, self.FILE]

    def example_file(self, name: str | None) -> str | None:
        """Return the file of an example."""
        return next((str(example.file) for example in self.examples if example.name == name), None)

    def show(self, photo: str | None, target: int, method: str, opacity: float) -> str:
        """Return the models' answers as HTML; ``opacity`` in percent, ``target`` -1 for the predicted class."""
        if photo is None:
            return _NO_PHOTO
        picture = self.explorer.read(photo)
        answers = self.explorer.explain(picture.inputs, _class(target), method)
        return self._training_note(photo, picture.digest) + render_answers(answers, _share(opacity))

    def _training_note(self, photo: str, digest: str) -> str:
        """Return an HTML line if a model was trained on the photo."""

        def write() -> str:
            copies = self.trained.among([Path(photo)]).copies
            if not copies.either:
                return ""
            of = "this photo" if copies.same else "a photo that looks like this one"
            return f"<p>A model shown here was trained on {of}: {SAYS_LITTLE}.</p>"

        return self._seen.get_or_make(digest, write)

    def open_photo(self, photo: str | None, side: int) -> tuple[str, Any, bool, str]:
        """Reset the swap for a new photo: source of masks, picture to draw on, and no swap.

        If the photo cannot be read, there is no picture; ``show`` says why.
        """
        usual = next(source for source in self.mask_sources if source != self.OWN)
        try:
            picture = None if photo is None else self.explorer.read(photo)
        except UserError:
            picture = None
        if picture is None:
            return usual, None, False, ""
        source = usual if self._own_mask(picture.digest) is None else self.OWN
        return source, fit_side(picture.photo, side), False, ""

    def swap(self, photo: str | None, target: int, method: str, opacity: float, *how: Choice) -> tuple[str, bool]:
        """Return the models' answers to the object on another background as HTML; see ``show``.

        ``how``: source of the mask, drawing, mask file, background, background photo.
        """
        before, after, mask = self._swap_photo(photo, target, method, *how)
        where = " on another background"
        return render_answers(after, _share(opacity), before=before, mask=mask, where=where), True

    def swap_again(self, photo: str | None, target: int, method: str, opacity: float, made: bool, *how: Choice) -> str:
        """Repeat the swap with other settings, if one was made; see ``swap``."""
        return self.swap(photo, target, method, opacity, *how)[0] if made else ""

    def panel(self, photo: str | None, target: int, method: str, opacity: float, made: bool, *how: Choice) -> str:
        """Write a panel of the photo, and of the swap if one was ``made``; returns the PNG file."""
        if made:
            before, after, _ = self._swap_photo(photo, target, method, *how)
            rows = [("photo", before), ("other background", after)]
        else:
            rows = [("photo", self.explorer.explain(self._read(photo).inputs, _class(target), method))]
        path = self.results.new_path("robustvit-panel.png")
        write_panel(rows, _share(opacity), path)
        return str(path)

    def _read(self, photo: str | None) -> Picture:
        if photo is None:
            raise UserError("expected a photo: choose one, or an example")
        return self.explorer.read(photo)

    def _swap_photo(
        self, photo: str | None, target: int, method: str, *how: Choice
    ) -> tuple[list[ModelAnswer], list[ModelAnswer], Tensor]:
        picture = self._read(photo)
        source, drawing, mask_file, background, own_background = how
        mask = self._mask(picture, source, drawing, mask_file)
        inputs, masks = swap_background(picture, mask, self._background(background, own_background))
        wanted = _class(target)
        before = self.explorer.explain(picture.inputs, wanted, method)
        return before, self.explorer.explain(inputs, wanted, method), next(iter(masks.values()))

    def _own_mask(self, digest: str) -> np.ndarray | None:
        """Return the mask of an example, identified by its content; None for other photos."""
        return next((example.mask for example in self.examples if example.digest == digest), None)

    def _mask(self, picture: Picture, source: str, drawing: Drawing | None, mask_file: str | None) -> np.ndarray:
        if source == self.OWN:
            own = self._own_mask(picture.digest)
            if own is None:
                raise UserError("only examples come with a mask: use TokenCut, draw one, or choose a mask file")
            return own
        if source == self.FOUND and self._finders:
            return self._masks.get_or_make(picture.digest, lambda: find_mask(self._finders, picture, self.explorer))
        if source == self.DRAWN:
            return read_drawing((drawing or {}).get("layers") or [], picture.photo)
        if mask_file is None:
            raise UserError("expected a mask file: choose an image that is white on the object and black elsewhere")
        return read_mask_file(mask_file, picture.photo, self.explorer.limits)

    def _background(self, name: str, own: str | None) -> Inputs:
        if name != OWN_PHOTO:
            return self.explorer.prepare(make_background(name))
        if own is None:
            raise UserError("expected a background photo: choose a file, or a background from the list")
        return self.explorer.prepare(read_limited(own, self.explorer.limits, self.explorer.pixels))


def _class(target: int) -> int | None:
    return None if target is None or target < 0 else int(target)


def _share(percent: float) -> float:
    return min(1.0, max(0.0, percent / 100))
