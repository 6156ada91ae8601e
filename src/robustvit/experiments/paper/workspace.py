"""Folders and options of a reproduction: data, models, runs and results."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from robustvit.common.errors import UserError
from robustvit.common.files import read_json, write_json, write_text
from robustvit.common.options import Device
from robustvit.common.output_paths import check_own_folder
from robustvit.common.yaml_files import read_mapping
from robustvit.data.manifest import SETTINGS
from robustvit.experiments.paper.imagenet_s import ImageNetS, find_imagenet_s
from robustvit.experiments.paper.plan import ReproductionPlan, ReproductionScale, Run
from robustvit.models.recipes import CARDS, model_card

_SETTINGS = "reproduction.yaml"
_WEIGHTS = "weights.json"


@dataclass  # not frozen: it caches properties
class Workspace:
    """Folders and options of a reproduction.

    Attributes:
        out: output folder.
        data: folder with ImageNet-S and the sets.
        scale: amount of training.
        checkpoint: weights for the model that timm no longer provides.
        device: see ``evaluate``, also for ``batch_size`` and ``workers``.
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
        """Folder of the masks made by TokenCut."""
        return self.out / "masks-tokencut"

    @property
    def has_older_masks(self) -> bool:
        """Whether the masks are of an older version, which used ViT-S/16 and another rule than the authors."""
        settings = self.found_masks / SETTINGS
        return settings.is_file() and read_json(settings).get("protocol") != "paper"

    @cached_property
    def imagenet_s(self) -> ImageNetS:
        """ImageNet-S, checked."""
        found = find_imagenet_s(self.data)
        found.check(self.scale)
        return found

    def run_folder(self, run: Run) -> Path:
        """Return the folder of a run."""
        return self.out / "runs" / run.name

    def source(self, card: str) -> str:
        """Return the source to load a model from."""
        return f"local-dir:{self.out / 'stand-ins' / card}" if self.tiny else card

    def weights(self, card: str) -> str | None:
        """Return the file of a model's weights, if timm has none."""
        return self.checkpoint if not self.tiny and model_card(card).needs_checkpoint else None

    def cards_without_weights(self, plan: ReproductionPlan) -> list[str]:
        """Return the models of a plan whose weights timm no longer provides, once for each run."""
        return [run.card for run in plan.runs if not self.tiny and model_card(run.card).needs_checkpoint]

    def name_of(self, run: Run) -> str:
        """Return the name of a model in records."""
        if run.trained:
            return str(self.run_folder(run))
        return f"stand-in for {run.card}" if self.tiny else run.card

    def check(self, plan: ReproductionPlan, dry_run: bool = False) -> None:
        """Raise if the output folder contains something else or weights are missing, before anything is written.

        A dry run does not need the weights: it reports that they are missing.
        """
        if check_own_folder(self.out, (self.out / _SETTINGS).is_file(), command="reproduce"):
            scale = self._settings().get("scale")
            if scale != self.scale.name:
                raise UserError(
                    f"{self.out} contains a reproduction at scale {scale}, not {self.scale.name}: name another --out"
                )
        if self.has_older_masks and any(run.tokencut for run in plan.runs):
            raise UserError(
                f"{self.found_masks} contains masks of an older version, which differ from those of the authors: "
                "name another --out, or remove that folder and the runs named robustvit-tokencut"
            )
        lacking = self.cards_without_weights(plan)
        if lacking and self.checkpoint is not None:
            self._check_same_checkpoint()
        if lacking and self.checkpoint is None and not dry_run:
            others = ",".join(dict.fromkeys(run.card for run in plan.runs if run.card not in lacking))
            instead = f", or leave it out with --models {others}" if others else ""
            raise UserError(
                f"timm no longer provides the weights of {lacking[0]}: give them with --checkpoint FILE{instead}"
            )

    def _settings(self) -> dict[str, str]:
        return read_mapping(self.out / _SETTINGS) if (self.out / _SETTINGS).is_file() else {}

    def _check_same_checkpoint(self) -> None:
        """Raise if the folder has results of another checkpoint: runs and results are named by card only."""
        given = [card for card in CARDS if model_card(card).needs_checkpoint]
        used = any(card in self.known_weights() or [*(self.out / "runs").glob(f"{card}-*")] for card in given)
        if self._settings().get("checkpoint", self._hash) != self._hash and used:
            raise UserError(
                f"{self.out} has results of other weights than {self.checkpoint}: give the same, or another --out"
            )

    @cached_property
    def _hash(self) -> str:
        """SHA-256 of the checkpoint."""
        try:
            with Path(str(self.checkpoint)).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"expected a file of weights as --checkpoint, got {self.checkpoint}: {reason}") from error

    def start(self, plan: ReproductionPlan) -> None:
        """Create the folder, and record the checkpoint if a model of the plan needs it."""
        self.records.mkdir(parents=True, exist_ok=True)
        settings = {"scale": self.scale.name} | self._settings()
        if any(self.weights(run.card) for run in plan.runs):
            settings["checkpoint"] = self._hash
        text = "".join(f"{name}: {value}\n" for name, value in settings.items())
        if settings != self._settings():
            write_text(text, self.out / _SETTINGS)

    def known_weights(self) -> dict[str, str]:
        """Return the weight hashes of models loaded so far, by their names in records."""
        path = self.out / _WEIGHTS
        return read_json(path) if path.is_file() else {}

    def remember_weights(self, run: Run, weights: str | None) -> None:
        """Store the hash of a model's weights, so that it need not be loaded again; None removes it."""
        known = self.known_weights()
        others = {name: value for name, value in known.items() if name != self.name_of(run)}
        now = others if weights is None else others | {self.name_of(run): weights}
        if now != known:
            write_json(now, self.out / _WEIGHTS)

    def loading(self, card: str) -> dict[str, Any]:
        """Return the arguments of ``load_model`` under the paper's protocol."""
        return {"checkpoint": self.weights(card), "normalization": "paper"}
