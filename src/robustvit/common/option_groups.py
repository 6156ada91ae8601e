"""Options that several commands share, each defined and described once; a command's function takes them as objects.

A command that differs in a single option says so where it is defined: by a class of its own that overrides the field,
by another default in ``command``, or by a line in its own docstring. Nothing heavy is imported.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from robustvit.common.errors import expect_at_least
from robustvit.common.options import Device, Engine, ExportFormat, MaskFormat, Precision, Protocol


@dataclass(frozen=True, kw_only=True)
class PhotoOptions:
    """Photos and masks.

    Attributes:
        images: folder with one folder of photos per class, or a CSV file (image,mask,label).
        masks: folder of masks that mirrors images by class and name; not for a CSV file.
        mask_format: auto, soft, ids (class ids, 255 void) or imagenet-s.
        skip_unmasked: leave photos without a mask out instead of refusing them.
        doubtful: also use masks that their manifest.csv calls doubtful; they are left out otherwise.
    """

    images: str | None = None
    masks: str | None = None
    mask_format: MaskFormat = "auto"
    skip_unmasked: bool = False
    doubtful: bool = False

    @property
    def given(self) -> str:
        """The first option that is not left out, or nothing."""
        return next((one.name for one in fields(self) if getattr(self, one.name) != one.default), "")


@dataclass(frozen=True, kw_only=True)
class MeasuredPhotos(PhotoOptions):
    """Photos and masks.

    Attributes:
        include_trained: measure photos too that the model's run was trained on (the same files, or photos that look the
            same). They are left out otherwise, and with them no verdict accepts a model.
    """

    include_trained: bool = False


@dataclass(frozen=True, kw_only=True)
class GivenPhotos(PhotoOptions):
    """Photos and masks."""

    images: str = field()  # required: the default of the group that it is derived from does not hold


@dataclass(frozen=True, kw_only=True)
class SetOptions:
    """Sets that robustness is reported on.

    Attributes:
        root: folder that holds the sets.
        stream: take the sets from the Hugging Face hub, image by image, instead of from --root.
        protocol: of the sets: paper (what RobustViT's tables report) or standard (what everybody else does).
        records: folder that results on sets are written to.
        seen: run folder whose training classes are reported apart from the others; the model itself when left out.
    """

    root: str | None = None
    stream: bool = False
    protocol: Protocol = "standard"
    records: str = "records"
    seen: str | None = None


@dataclass(frozen=True, kw_only=True)
class RelevanceOptions:
    """Relevance maps.

    Attributes:
        relevance: method of the relevance map: gae (the paper's), attnlrp, rollout or raw_attention for vision
            transformers, grad_cam or input_gradient for any classifier.
    """

    relevance: str | None = None


@dataclass(frozen=True, kw_only=True)
class MapOptions(RelevanceOptions):
    """Relevance maps."""

    relevance: str = "gae"


@dataclass(frozen=True, kw_only=True)
class JudgingOptions:
    """Judging.

    Attributes:
        max_drop: points of ordinary accuracy that may be lost; the verdict refuses a model that lost more.
        swaps: swapped backgrounds per photo, of its own class and as many of other classes.
    """

    max_drop: float = 2.0
    swaps: int = 2

    def __post_init__(self) -> None:
        expect_at_least(0, max_drop=self.max_drop, swaps=self.swaps)


@dataclass(frozen=True, kw_only=True)
class RunningOptions:
    """Running.

    Attributes:
        batch_size: photos at a time.
        workers: processes that read photos.
        device: auto (a GPU where there is one) or cpu.
        precision: no (float32), bf16 or fp16.
        seed: fixes every random choice.
    """

    batch_size: int = 32
    workers: int = 0
    device: Device = "auto"
    precision: Precision = "no"
    seed: int = 0

    def __post_init__(self) -> None:
        expect_at_least(1, batch_size=self.batch_size)
        expect_at_least(0, workers=self.workers, seed=self.seed)


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Several runs at once.

    Attributes:
        engine: local (one run after the other, in this process) or ray (Ray Tune: several at once).
        trials_at_once: with ray: at most this many runs at the same time.
        cpus: with ray: processors for each run (default 1).
        gpus: with ray: GPUs for each run (default 0); 0.5 lets two runs share one.
        ray_address: with ray: cluster to join (auto, or HOST:PORT); otherwise Ray is started on this machine.
    """

    engine: Engine = "local"
    trials_at_once: int | None = None
    cpus: float | None = None
    gpus: float | None = None
    ray_address: str | None = None


@dataclass(frozen=True, kw_only=True)
class SharedForm:
    """Form of the model.

    Attributes:
        format: auto (as the model's own library loads it), timm (refused for models of other libraries) or onnx: one
            model.onnx that takes images in [0, 1], any number at a time, and is compared with the original.
        license: licence that you state for these weights, such as mit; that of the original model when left out.
    """

    format: ExportFormat = "auto"
    license: str | None = None


@dataclass(frozen=True, kw_only=True)
class ServingOptions:
    """Address.

    Attributes:
        share: also serve through a public address of Gradio's, for 72 hours at most.
        host: address to listen on; 0.0.0.0 lets the whole network in.
        port: to listen on; the first free one from 7860 when left out.
        auth: NAME:PASSWORD that visitors must give.
    """

    share: bool = False
    host: str = "127.0.0.1"
    port: int | None = None
    auth: str | None = None
