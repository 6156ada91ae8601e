"""What happens when a visitor does something: from the page's values to the page's values, without Gradio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from robustvit.common.errors import UserError
from robustvit.data.trained_photos import SAYS_LITTLE, UNKNOWN, TrainedPhotos
from robustvit.masks.sources.tokencut import TokenCut
from robustvit.models.classifier import Classifier
from robustvit.webapp.examples import Example
from robustvit.webapp.limits import read_limited
from robustvit.webapp.markup import answers_html
from robustvit.webapp.memory import Recent, Results
from robustvit.webapp.panel import write_panel
from robustvit.webapp.prediction import Answer, Explorer, Inputs, Picture
from robustvit.webapp.swapped import (
    background_inputs,
    background_photo,
    drawn_mask,
    found_mask,
    mask_of_file,
    swapped_inputs,
)

OWN_PHOTO = "a photo of your own"
_NO_PHOTO = "<p>Choose a photo above, or take an example.</p>"


class Actions:
    """Everything that a visitor can ask about a photo.

    Args:
        explorer: the models.
        examples: photos to begin with.
        results: where files for visitors go.
        mask_model: backbone by which TokenCut finds objects; where it cannot, TokenCut is not offered.
        trained: photos that the models were trained on, as far as that is known.
    """

    OWN, FOUND = "the example's own mask", "found by TokenCut"
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
            # Keys are TokenCut's own choice; small supervised models tell objects apart in their centred tokens only.
            self._finders = [TokenCut(mask_model), TokenCut(mask_model, feature="tokens", centre=True)]
        except UserError:
            self._finders = []
        own = [self.OWN] * any(example.mask is not None for example in examples)
        self.mask_sources = [*own, *[self.FOUND] * bool(self._finders), self.DRAWN, self.FILE]

    def example_file(self, name: str | None) -> str | None:
        """The file of an example."""
        return next((str(example.file) for example in self.examples if example.name == name), None)

    def show(self, photo: str | None, target: int, method: str, opacity: float) -> str:
        """The models' answers to a photo, as HTML; ``opacity`` in percent, ``target`` -1 for what is predicted."""
        if photo is None:
            return _NO_PHOTO
        picture = self.explorer.read(photo)
        answers = self.explorer.explain(picture.inputs, _class(target), method)
        return self._said_of(photo, picture.digest) + answers_html(answers, _share(opacity))

    def _said_of(self, photo: str, digest: str) -> str:
        """A line, as HTML, where a model was trained on the photo."""

        def look() -> str:
            copies = self.trained.among([Path(photo)]).copies
            if not copies.either:
                return ""
            of = "this photo" if copies.same else "a photo that looks like this one"
            return f"<p>A model shown here was trained on {of}: {SAYS_LITTLE}.</p>"

        return self._seen.get_or_make(digest, look)

    def opened(self, photo: str | None, side: int) -> tuple[str, Any, bool, str]:
        """What a new photo makes of the swap: the source of masks, a picture to draw on, and nothing swapped yet.

        A photo that cannot be read leaves the drawing empty; ``show`` says why.
        """
        found = next(one for one in self.mask_sources if one != self.OWN)
        try:
            picture = None if photo is None else self.explorer.read(photo)
        except UserError:
            picture = None
        if picture is None:
            return found, None, False, ""
        source = found if self._own_mask(picture.digest) is None else self.OWN
        drawn_on = picture.photo
        scale = side / max(drawn_on.size)
        size = (max(1, round(drawn_on.width * scale)), max(1, round(drawn_on.height * scale)))
        return source, drawn_on.resize(size, Image.Resampling.BICUBIC), False, ""

    def swap(self, photo: str | None, target: int, method: str, opacity: float, *how: Any) -> tuple[str, bool]:
        """The models' answers to a photo's object on another background, as HTML.

        Args:
            photo: as in ``show``, with the three after it.
            target: see there.
            method: see there.
            opacity: see there.
            how: source of the mask, drawing, mask file, background, own background.
        """
        before, after, mask = self._swapped(photo, target, method, *how)
        where = " on another background"
        return answers_html(after, _share(opacity), before=before, mask=mask, where=where), True

    def swap_again(self, photo: str | None, target: int, method: str, opacity: float, made: bool, *how: Any) -> str:
        """The swap anew with other settings, if one was made; see ``swap``."""
        return self.swap(photo, target, method, opacity, *how)[0] if made else ""

    def panel(self, photo: str | None, target: int, method: str, opacity: float, made: bool, *how: Any) -> str:
        """Write the panel of a photo, and of the swap where one was ``made``; returns the PNG file."""
        if photo is None:
            raise UserError("expected a photo to make a panel of: choose one, or take an example")
        if made:
            before, after, _ = self._swapped(photo, target, method, *how)
            rows = [("photo", before), ("other background", after)]
        else:
            rows = [("photo", self.explorer.explain(self.explorer.read(photo).inputs, _class(target), method))]
        place = self.results.place("robustvit-panel.png")
        write_panel(rows, _share(opacity), place)
        return str(place)

    def _swapped(
        self, photo: str | None, target: int, method: str, *how: Any
    ) -> tuple[list[Answer], list[Answer], Tensor]:
        if photo is None:
            raise UserError("expected a photo whose background to swap: choose one, or take an example")
        picture = self.explorer.read(photo)
        source, drawing, mask_file, background, own_background = how
        mask = self._mask(picture, source, drawing, mask_file)
        inputs, masks = swapped_inputs(picture, mask, self._background(background, own_background))
        wanted = _class(target)
        before = self.explorer.explain(picture.inputs, wanted, method)
        return before, self.explorer.explain(inputs, wanted, method), next(iter(masks.values()))

    def _own_mask(self, digest: str) -> np.ndarray | None:
        """The mask of an example, known by its content; None for photos that visitors bring."""
        return next((example.mask for example in self.examples if example.digest == digest), None)

    def _mask(self, picture: Picture, source: str, drawing: Any, mask_file: str | None) -> np.ndarray:
        if source == self.OWN:
            own = self._own_mask(picture.digest)
            if own is None:
                raise UserError("this photo has no mask of its own: have it found, draw it, or choose a mask file")
            return own
        if source == self.FOUND and self._finders:
            return self._masks.get_or_make(picture.digest, lambda: found_mask(self._finders, picture, self.explorer))
        if source == self.DRAWN:
            return drawn_mask((drawing or {}).get("layers") or [], picture.photo)
        if mask_file is None:
            raise UserError("expected a mask file: choose one that is white on the object and black elsewhere")
        return mask_of_file(mask_file, picture.photo, self.explorer.limits)

    def _background(self, name: str, own: str | None) -> Inputs:
        if name != OWN_PHOTO:
            return background_inputs(background_photo(name), self.explorer.preprocessings)
        if own is None:
            raise UserError("expected a background photo: choose a file, or one of the backgrounds in the list")
        return background_inputs(read_limited(own, self.explorer.limits), self.explorer.preprocessings)


def _class(target: int) -> int | None:
    return None if target is None or target < 0 else int(target)


def _share(percent: float) -> float:
    return min(1.0, max(0.0, percent / 100))
