"""The plan of a reproduction: runs, steps, images, missing data, and the estimated time on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import timm
import torch

from robustvit.common.devices import make_accelerator
from robustvit.common.errors import UserError
from robustvit.common.wording import pluralize
from robustvit.experiments.paper.evaluating import SEGMENTATION, Evaluator, images_of_set, known_records
from robustvit.experiments.paper.plan import METHOD_OPTIONS, ReproductionPlan, Run
from robustvit.experiments.paper.tiny import make_stand_in
from robustvit.experiments.paper.workspace import Workspace
from robustvit.experiments.trials import state_of
from robustvit.explanation.subsets.search import list_sizes
from robustvit.guidance.method import Guidance
from robustvit.guidance.registry import choose_options, make_guidance
from robustvit.models.classifier import Classifier
from robustvit.models.recipes import model_card, recipe_settings

_BATCH = 8
_WORDS = {"finished": "finished", "begun": "to continue", "new": "to run"}


@dataclass(frozen=True)
class Speed:
    """Seconds per guided step of 8 photos and per image forward, and pixels per image."""

    step: float
    image: float
    pixels: int = 224 * 224


def measure_speed(model: Classifier, run: Run, *, warm: bool = False) -> Speed:
    """Time a guided step and a forward pass on random pixels; two of each on a GPU.

    On a CPU a step is timed with two photos and multiplied by four. The weights do not change. Unless the model is
    ``warm``, because it has run before, a first call of each is not timed.
    """
    device = model.mean.device
    batch, times = (2, 1) if device.type == "cpu" else (_BATCH, 2)
    images = torch.rand(batch, 3, *model.preprocessing.input_size, device=device)
    masks = torch.zeros(batch, 1, *model.preprocessing.input_size, device=device)
    masks[..., : masks.shape[-2] // 2, :] = 1
    labels = torch.zeros(batch, dtype=torch.long, device=device)
    guide = _make_guidance(run)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)

    def step() -> None:
        model.train()
        guide(model, images, masks, labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    def forward() -> None:
        model.eval()
        with torch.inference_mode():
            model(images)

    if not warm:
        forward()
        step()
    height, width = model.preprocessing.input_size
    return Speed(
        _time_call(step, times, device) * _BATCH / batch, _time_call(forward, times, device) / batch, height * width
    )


def _build_architecture(workspace: Workspace, card: str) -> Classifier:
    if workspace.tiny:
        return make_stand_in(card)
    return Classifier(timm.create_model(_timm_name(card), pretrained=False))


def _timm_name(card: str) -> str:
    return model_card(card).timm_name.split(".")[0]


def _make_guidance(run: Run) -> Guidance:
    method = METHOD_OPTIONS.get(run.method, {})
    name = str(method.get("guidance", "robustvit"))
    return make_guidance(name, **choose_options(name, method, recipe_settings(run.card)))


def _time_call(work: Callable[[], None], times: int, device: torch.device) -> float:
    """Return the duration of one call, in seconds."""

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    start = now()
    for _ in range(times):
        work()
    return (now() - start) / times


class _Speeds:
    """Speeds by architecture and guidance, each measured once; only one architecture is in memory."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.known = workspace, dict[tuple[str, str], Speed]()
        self._model: tuple[str, Classifier] | None = None

    def of(self, run: Run) -> Speed:
        guidance = str(METHOD_OPTIONS.get(run.method, {}).get("guidance", "robustvit"))
        name = "stand-in" if self.workspace.tiny else _timm_name(run.card).replace("deit_", "vit_")
        if (name, guidance) not in self.known:  # a DeiT is a ViT with other weights
            warm = self._model is not None and self._model[0] == name
            if self._model is None or not warm:
                device = make_accelerator(device=self.workspace.device).device
                self._model = name, _build_architecture(self.workspace, run.card).to(device)
            self.known[name, guidance] = measure_speed(self._model[1], run, warm=warm)
        return self.known[name, guidance]

    def lines(self) -> list[str]:
        return [
            f"  {name}, {guidance}: {one.step:.2f} s a step of {_BATCH} photos, {1 / one.image:.1f} images/s forward"
            for (name, guidance), one in self.known.items()
        ]


def describe_outlook(workspace: Workspace, plan: ReproductionPlan) -> list[str]:
    """Return the lines of the plan; nothing is written."""
    speeds, trained = _Speeds(workspace), [run for run in plan.runs if run.trained]
    runs = [_run_line(workspace, run, speeds) for run in trained]
    lines = [f"{plan.what} at {workspace.scale.name} scale, into {workspace.out}", "runs:", *(text for text, _ in runs)]
    if not trained:
        lines.append("  none: only original models are shown")
    if trained or plan.sets:
        lines += ["photos to finetune on:", f"  {_photos_line(workspace)}"]
    if any(run.tokencut for run in plan.runs):
        lines.append("  masks: TokenCut's, first made for all ImageNet-S photos (not included in the estimate)")
    lacking = workspace.cards_without_weights(plan)
    if lacking and workspace.checkpoint is None:
        lines.append(
            f"weights: MISSING for {lacking[0]}, which timm no longer provides: give them with --checkpoint FILE"
        )
    sets = _set_lines(workspace, plan, speeds)
    if plan.show == "subsets":
        sets.append(_subset_line(workspace, plan, speeds))
    kind = "stand-in, random pixels" if workspace.tiny else "untrained weights of the architectures, random pixels"
    where = make_accelerator(device=workspace.device).device
    lines += ["sets:", *(text for text, _ in sets), f"speed on this machine ({where}; {kind}):", *speeds.lines()]
    seconds = sum(more for _, more in [*runs, *sets])
    return [*lines, f"left to do: about {_format_duration(seconds)}, without reading and writing files"]


def _run_line(workspace: Workspace, run: Run, speeds: _Speeds) -> tuple[str, float]:
    photos, held_out = run.classes * run.samples, workspace.scale.available - run.classes
    steps = workspace.scale.epochs * math.ceil(photos / _BATCH)
    state = state_of(workspace.run_folder(run))
    # A held-out photo takes a forward pass and a backward pass to the attention: about half of its share of a step.
    checks = (workspace.scale.epochs + 3) * held_out
    speed = speeds.of(run)
    seconds = 0.0 if state == "finished" else steps * speed.step + checks * speed.step / _BATCH / 2
    work = f"{pluralize(photos, 'photo')}, {pluralize(workspace.scale.epochs, 'epoch')}, {pluralize(steps, 'step')}"
    text = f"  {_WORDS[state]:<12} {run.name}: {work}"
    return text + f", {pluralize(held_out, 'photo')} to choose the epoch, {_format_duration(seconds)}", seconds


def _photos_line(workspace: Workspace) -> str:
    if workspace.tiny and not workspace.data.is_dir():
        return f"{workspace.scale.available} classes of drawn scenes, to be drawn"
    try:
        return f"ImageNet-S at {workspace.imagenet_s.photos.parent}, {len(workspace.imagenet_s.classes)} classes"
    except UserError as error:
        return f"MISSING: {error}"


def _set_lines(workspace: Workspace, plan: ReproductionPlan, speeds: _Speeds) -> list[tuple[str, float]]:
    """Return for each set what is on disk, which models are recorded, and the seconds that the others take."""
    known, evaluator, lines = known_records(workspace), Evaluator(workspace, plan), []
    undrawn = workspace.tiny and not workspace.data.is_dir()
    for name in dict.fromkeys([*plan.sets, *plan.images]):
        try:
            there = 20 if undrawn else evaluator.on_disk(name)
            state = "to be drawn" if undrawn else f"{pluralize(there, 'image')} on disk"
        except UserError as error:
            there, state = images_of_set(name), f"MISSING: {error}"
        runs = plan.runs if name in plan.sets else ()
        recorded = [known.get((workspace.name_of(run), name)) for run in runs]
        left = [run for run, one in zip(runs, recorded, strict=True)
                if one is None or not (one.complete or one.samples >= there)]  # fmt: skip
        more = sum(there * _seconds_an_image(speeds.of(run), name) for run in left)
        what = (
            f"{len(runs) - len(left)} of {len(runs)} models recorded, {_format_duration(more)}"
            if runs
            else "images shown"
        )
        size = there if workspace.tiny else images_of_set(name)
        lines.append((f"  {name}, {size:,} images: {what}; {state}", more))
    return lines


def _subset_line(workspace: Workspace, plan: ReproductionPlan, speeds: _Speeds) -> tuple[str, float]:
    """Estimate the search: each step takes a forward and a backward pass, about three forward passes."""
    files = [(run, workspace.out / f"{plan.what}-{run.card}.png") for run in plan.runs]
    left = [run for run, file in files if not (file.is_file() and file.with_suffix(".json").is_file())]
    searches = plan.row["count"] * (1 + len(workspace.scale.forced))
    passes = [len(list_sizes(speeds.of(run).pixels, workspace.scale.remove)) for run in left]
    seconds = sum(3 * searches * number * speeds.of(run).image for run, number in zip(left, passes, strict=True))
    steps = f" of {pluralize(passes[0] - 1, 'step')}" if passes else ""
    return f"subsets: {searches * len(left)} searches{steps}, {_format_duration(seconds)}", seconds


def _seconds_an_image(speed: Speed, name: str) -> float:
    """Estimate an image: in the segmentation test it is explained, about half of its share of a guided step."""
    return speed.step / _BATCH / 2 if name == SEGMENTATION else speed.image


def _format_duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 360 else f"{seconds / 60:.1f} min"
