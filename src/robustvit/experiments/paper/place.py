"""Where a reproduction's data, models, runs and results lie, and how they are run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from robustvit.common.errors import UserError
from robustvit.common.files import check_own_folder, read_json, write_json, write_text
from robustvit.common.options import Device
from robustvit.common.yaml_files import read_mapping
from robustvit.data.manifest import SETTINGS
from robustvit.experiments.paper.imagenet_s import ImageNetS, find_imagenet_s
from robustvit.experiments.paper.plan import Plan, Run
from robustvit.experiments.paper.scales import ReproductionScale
from robustvit.models.recipes import CARDS, model_card

_SETTINGS = "reproduction.yaml"
_WEIGHTS = "weights.json"


@dataclass  # not frozen: what is looked up is kept
class ReproductionPlace:
    """Where everything lies, and how it is run.

    Attributes:
        out: folder that everything is written to.
        data: folder of ImageNet-S and the sets.
        scale: how much is trained.
        checkpoint: weights for the card that timm has no more.
        device: see ``evaluate``; as are ``batch_size`` and ``workers``.
    """

    out: Path
    data: Path
    scale: ReproductionScale
    checkpoint: str | None = None
    device: Device = "auto"
    batch_size: int = 32
    workers: int = 0

    @property
    def tiny(self) -> bool:
        """Whether models and data are stand-ins."""
        return self.scale.name == "tiny"

    @property
    def records(self) -> Path:
        """Folder of the results."""
        return self.out / "records"

    @property
    def found_masks(self) -> Path:
        """Folder of the masks that TokenCut finds."""
        return self.out / "masks-tokencut"

    @property
    def has_older_masks(self) -> bool:
        """Whether its masks are of a version that cut otherwise than the authors: with ViT-S/16 and another rule."""
        settings = self.found_masks / SETTINGS
        return settings.is_file() and read_json(settings).get("protocol") != "paper"

    @cached_property
    def imagenet_s(self) -> ImageNetS:
        """The masked photos."""
        found = find_imagenet_s(self.data)
        found.check(self.scale)
        return found

    def run_folder(self, run: Run) -> Path:
        """Where a run is."""
        return self.out / "runs" / run.name

    def source(self, card: str) -> str:
        """What a card's model is loaded from."""
        return f"local-dir:{self.out / 'stand-ins' / card}" if self.tiny else card

    def weights(self, card: str) -> str | None:
        """File of a card's weights, where timm has none."""
        return self.checkpoint if not self.tiny and model_card(card).needs_checkpoint else None

    def named(self, run: Run) -> str:
        """What records call a model."""
        if run.trained:
            return str(self.run_folder(run))
        return f"stand-in for {run.card}" if self.tiny else run.card

    def check(self, plan: Plan, dry_run: bool = False) -> None:
        """Refuse a folder of something else, or weights that are missing, before anything is written.

        A dry run goes on without weights: it says that they are missing.
        """
        if check_own_folder(self.out, (self.out / _SETTINGS).is_file(), command="reproduce"):
            self._check_same_scale()
        if self.has_older_masks and any(run.tokencut for run in plan.runs):
            raise UserError(
                f"{self.found_masks} holds masks of an older version, which did not cut as RobustViT's authors do: "
                "name another --out, or remove that folder and the runs named robustvit-tokencut"
            )
        lacking = [r.card for r in plan.runs if not self.tiny and model_card(r.card).needs_checkpoint]
        if lacking and self.checkpoint is not None:
            self._check_same_checkpoint()
        if lacking and self.checkpoint is None and not dry_run:
            others = ",".join(dict.fromkeys(run.card for run in plan.runs if run.card not in lacking))
            instead = f", or leave it out with --models {others}" if others else ""
            raise UserError(
                f"timm no longer provides the weights of {lacking[0]}: give them with --checkpoint FILE{instead}"
            )

    def _check_same_scale(self) -> None:
        scale = read_mapping(self.out / _SETTINGS).get("scale")
        if scale != self.scale.name:
            raise UserError(
                f"{self.out} holds a reproduction at scale {scale}, not {self.scale.name}: name another --out"
            )

    def _settings(self) -> dict[str, str]:
        return read_mapping(self.out / _SETTINGS) if (self.out / _SETTINGS).is_file() else {}

    def _check_same_checkpoint(self) -> None:
        """Runs and results are known by their card's name, so weights of another file need another folder."""
        given = [card for card in CARDS if model_card(card).needs_checkpoint]
        used = any(card in self.known_weights() or [*(self.out / "runs").glob(f"{card}-*")] for card in given)
        if self._settings().get("checkpoint", self._hash) != self._hash and used:
            raise UserError(
                f"{self.out} holds results of other weights than {self.checkpoint}: give the same, or another --out"
            )

    @cached_property
    def _hash(self) -> str:
        """Of the checkpoint's bytes."""
        try:
            with Path(str(self.checkpoint)).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"expected a file of weights as --checkpoint, got {self.checkpoint}: {reason}") from error

    def start(self, plan: Plan) -> None:
        """Make the folder, and remember which weights were given for a card of the plan that needs them."""
        self.records.mkdir(parents=True, exist_ok=True)
        settings = {"scale": self.scale.name} | self._settings()
        if any(self.weights(run.card) for run in plan.runs):
            settings["checkpoint"] = self._hash
        text = "".join(f"{name}: {value}\n" for name, value in settings.items())
        if settings != self._settings():
            write_text(text, self.out / _SETTINGS)

    def known_weights(self) -> dict[str, str]:
        """Hashes of the models' weights by what records call them, as far as they were loaded."""
        path = self.out / _WEIGHTS
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def remember_weights(self, run: Run, weights: str | None) -> None:
        """Keep the hash of a model's weights, so that they need not be loaded again; None forgets it."""
        known = self.known_weights()
        others = {name: value for name, value in known.items() if name != self.named(run)}
        now = others if weights is None else others | {self.named(run): weights}
        if now != known:
            write_json(now, self.out / _WEIGHTS)

    def loading(self, card: str) -> dict[str, Any]:
        """Arguments of ``load_model`` for a card's model under the paper's protocol."""
        return {"checkpoint": self.weights(card), "normalization": "paper"}
