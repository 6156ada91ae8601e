"""Options shared by several commands, each defined and described once; commands receive them as objects.

A command that differs in a single option overrides it: the field in a subclass, the default in ``command``, or the
description in its docstring. Nothing heavy is imported.
"""

from __future__ import annotations

from dataclasses import dataclass

from robustvit.common.errors import expect_at_least, expect_points
from robustvit.common.options import (
    AtInference,
    Device,
    Engine,
    ExportFormat,
    MetricName,
    ObjectBy,
    Precision,
    Protocol,
)


@dataclass(frozen=True, kw_only=True)
class SetOptions:
    """Evaluation sets.

    Attributes:
        root: folder that holds the sets.
        stream: read the sets from the Hugging Face hub, image by image, instead of from --root.
        protocol: evaluation protocol: standard (the usual one) or paper (that of RobustViT's tables).
        records: folder for the results on sets.
        seen: run folder whose training classes are reported separately; default: the model's own run.
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
        relevance: method of the relevance map: gae (the paper's), attnlrp (attnlrp:0.1 with the gamma rule, gamma 0.1),
            legrad, rollout or raw_attention for vision transformers, grad_cam or input_gradient for any classifier.
    """

    relevance: str | None = None


@dataclass(frozen=True, kw_only=True)
class MapOptions(RelevanceOptions):
    """Relevance maps."""

    relevance: str = "gae"


@dataclass(frozen=True, kw_only=True)
class JudgingOptions:
    """Verdict.

    Attributes:
        max_drop: accuracy that may be lost, in percentage points; the verdict rejects a model that lost more.
        swaps: swapped backgrounds per photo, of the same class and as many of other classes.
    """

    max_drop: float = 2.0
    swaps: int = 2

    def __post_init__(self) -> None:
        expect_points(max_drop=self.max_drop)
        expect_at_least(0, swaps=self.swaps)


@dataclass(frozen=True, kw_only=True)
class MetricOption:
    """Verdict.

    Attributes:
        metric: metric of the verdict: accuracy, balanced-accuracy (mean recall of the classes), macro-f1, auroc or
            average-precision (means over the classes; these two rank the photos by score), or worst-group (accuracy in
            the worst group). A multi-label model has average-precision instead of accuracy.
    """

    metric: MetricName = "accuracy"


@dataclass(frozen=True, kw_only=True)
class VerdictOnPhotos(JudgingOptions, MetricOption):
    """Verdict.

    Attributes:
        backgrounds: also judge on backgrounds from outside the photos: textures (those of the package), a folder of
            photos without your objects, or none. They decide the verdict if a model was trained on swapped backgrounds.
    """

    backgrounds: str = "textures"


@dataclass(frozen=True, kw_only=True)
class AtInferenceOption:
    """Without training.

    Attributes:
        at_inference: also test the model on the object alone, without training: crop (to the object), mask (the rest is
            black), blur (the rest is blurred), several, such as crop,mask,blur, or none. Each is measured alone and
            averaged with the answer to the whole photo. With a baseline, the baseline is tested this way.
    """

    at_inference: AtInference | None = None


@dataclass(frozen=True, kw_only=True)
class InferenceOptions(AtInferenceOption):
    """Without training.

    Attributes:
        object_by: how that test finds the object: relevance (where the model's own map of each picture exceeds its
            mean) or masks (those of the photos, which are not available when a model is deployed).
    """

    object_by: ObjectBy = "relevance"


@dataclass(frozen=True, kw_only=True)
class RunningOptions:
    """Running.

    Attributes:
        batch_size: photos per batch.
        workers: processes that load photos; 0 loads them in the main process.
        device: auto (a GPU if there is one) or cpu.
        precision: no (float32), bf16 or fp16.
        seed: random seed.
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
        engine: local (one run after another, in this process) or ray (Ray Tune: several at once).
        trials_at_once: with ray: maximum number of runs at the same time.
        cpus: with ray: CPUs per run (default 1).
        gpus: with ray: GPUs per run (default 0); with 0.5, two runs share a GPU.
        ray_address: with ray: cluster to join (auto, or HOST:PORT); default: start Ray on this machine.
    """

    engine: Engine = "local"
    trials_at_once: int | None = None
    cpus: float | None = None
    gpus: float | None = None
    ray_address: str | None = None


@dataclass(frozen=True, kw_only=True)
class SharedForm:
    """Format of the model.

    Attributes:
        format: auto (for the library the model comes from), timm (timm models only) or onnx: a model.onnx that takes
            images in [0, 1] in batches of any size; its logits are compared with PyTorch's.
        license: licence of these weights, such as mit; default: that of the original model.
    """

    format: ExportFormat = "auto"
    license: str | None = None


@dataclass(frozen=True, kw_only=True)
class ServingOptions:
    """Address.

    Attributes:
        share: also serve at a public Gradio address, for at most 72 hours.
        host: address to listen on; 0.0.0.0 makes the page reachable from the network.
        port: port to listen on; default: the first free one from 7860.
        auth: NAME:PASSWORD that visitors must enter.
        public_host: host name under which a proxy passes requests on to this machine, such as models.example.org;
            otherwise the page answers only under localhost and 127.0.0.1, unless share or host is given.
    """

    share: bool = False
    host: str = "127.0.0.1"
    port: int | None = None
    auth: str | None = None
    public_host: str | None = None
