"""The whole workflow in a second: the embedded model predicts, is explained, guided, saved and loaded."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from robustvit.common.errors import printable
from robustvit.explanation.maps import relevance
from robustvit.guidance.registry import guided_loss
from robustvit.models.classifier import Classifier
from robustvit.models.load import load_model
from robustvit.models.save import save_model

_SCENES = 8
_STEPS, _RATE = 3, 1e-4


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: what was checked.
        passed: whether the check passed.
        detail: what was measured.
        seconds: duration.
    """

    name: str
    passed: bool
    detail: str
    seconds: float


def self_test(device: torch.device) -> list[Check]:
    """Test the embedded model on embedded scenes, without network; return the checks up to the first that failed."""
    bench = _Bench(device)
    checks: list[Check] = []
    for name, work in (
        ("the embedded model predicts", bench.answers),
        ("relevance maps are finite and lie in [0, 1]", bench.explains),
        ("guided steps lower the loss", bench.learns),
        ("a saved model loads again", bench.keeps),
    ):
        checks.append(run_check(name, work))
        if not checks[-1].passed:
            break
    return checks


def run_check(name: str, work: Callable[[], tuple[bool, str]]) -> Check:
    """Run a check; any exception becomes a failure with its reason."""
    start = time.perf_counter()
    try:
        passed, detail = work()
    except Exception as error:
        passed, detail = False, f"{type(error).__name__}: {error}"
    return Check(name, passed, printable(" ".join(detail.split())), time.perf_counter() - start)


class _Bench:
    """The embedded model and a few scenes; each check builds on those before."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.model: Classifier

    def answers(self) -> tuple[bool, str]:
        with as_file(files("robustvit.data.embedded") / "model") as folder:
            self.model = load_model(f"local-dir:{folder}").to(self.device)
        self.images, self.masks, self.labels = (part.to(self.device) for part in _scenes())
        with torch.inference_mode():
            logits = self.model(self.images)
        right = int((logits.argmax(dim=1) == self.labels).sum())
        # It classifies 996 of 1,000 such scenes correctly; if half are wrong, the computation is broken.
        return bool(torch.isfinite(logits).all()) and 2 * right > _SCENES, f"{right} of {_SCENES} scenes right"

    def explains(self) -> tuple[bool, str]:
        maps = relevance(self.model, self.images).detach()
        inside = float((maps * self.masks).sum() / maps.sum())
        whole = bool(torch.isfinite(maps).all()) and float(maps.min()) >= 0 and float(maps.max()) <= 1
        alive = bool((maps.amax(dim=(1, 2, 3)) > 0).all())
        return whole and alive, f"{100 * inside:.0f} % of the relevance on the object"

    def learns(self) -> tuple[bool, str]:
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=_RATE)
        step = partial(guided_loss, self.model, self.images, self.masks, self.labels)
        losses, finite = [], True
        for _ in range(_STEPS):
            optimizer.zero_grad()
            loss = step().loss
            loss.backward()
            losses.append(float(loss.detach()))
            gradients = [one.grad for one in self.model.parameters() if one.grad is not None]
            finite &= bool(gradients) and all(bool(torch.isfinite(one).all()) for one in gradients)
            optimizer.step()
        losses.append(float(step().loss.detach()))
        said = f"{losses[0]:.3f} to {losses[-1]:.3f} in {_STEPS} steps"
        return finite and losses[-1] < losses[0], said if finite else f"{said}, but a gradient is not finite"

    def keeps(self) -> tuple[bool, str]:
        with tempfile.TemporaryDirectory(prefix="robustvit-") as folder:
            kept = save_model(self.model, Path(folder) / "model")
            size = sum(one.stat().st_size for one in kept.iterdir())
            again = load_model(f"local-dir:{kept}").to(self.device).state_dict()
        same = all(torch.equal(again[name], value) for name, value in self.model.state_dict().items())
        return same, f"{size / 1e6:.1f} MB in {Path(folder).parent}"


def _scenes() -> tuple[Tensor, Tensor, Tensor]:
    """Images ``(B, 3, H, W)`` in [0, 1], masks ``(B, 1, H, W)`` of 0 and 1, and labels."""
    from robustvit.data.embedded.scenes import make_scene

    rng = np.random.default_rng(0)
    scenes = [make_scene(label, label, rng) for label in range(_SCENES)]
    images = torch.from_numpy(np.stack([one.image for one in scenes])).permute(0, 3, 1, 2).float() / 255
    masks = torch.from_numpy(np.stack([one.mask for one in scenes]))[:, None].float() / 255
    return images, masks, torch.tensor([one.label for one in scenes])
