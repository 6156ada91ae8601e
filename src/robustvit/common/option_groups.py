"""Options shared by several commands, each defined and described once; commands receive them as objects.

A command that differs in a single option says so in its definition: a subclass that overrides the field, another
default in ``command``, or a line in its docstring. Nothing heavy is imported.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Self

from robustvit.common.errors import expect_at_least
from robustvit.common.options import (
    Alpha,
    AtInference,
    ClassFolders,
    Device,
    Engine,
    ExportFormat,
    MaskFormat,
    MetricName,
    NoObject,
    ObjectBy,
    PixelRange,
    Precision,
    Protocol,
)
from robustvit.common.pixel_scale import check_range


@dataclass(frozen=True, kw_only=True)
class PixelOptions:
    """Pixels.

    Attributes:
        range: which numbers are black and white in photos of more than 8 bits: auto (decided for the whole set; you are
            asked if in doubt), bits such as 12 (0 to 4095), 1 (floats from 0 to 1), LOW:HIGH (values outside become
            black or white) or percentile (the 1st and 99th of the set); default: as the model was finetuned with, else
            auto.
        alpha: white (transparent pixels show a white background) or ignore (the fourth band is dropped, as most
            training programs do); default: white; you are asked if in doubt.
    """

    range: PixelRange | None = None
    alpha: Alpha | None = None

    def __post_init__(self) -> None:
        if self.range is not None:
            check_range(str(self.range))
            object.__setattr__(self, "range", str(self.range))  # 12 and "12" are the same setting

    @property
    def said(self) -> dict[str, str]:
        """What is given of these two options, as it is written to files."""
        return {name: str(value) for name, value in (("range", self.range), ("alpha", self.alpha)) if value is not None}

    def or_else(self, recorded: PixelOptions) -> Self:
        """Return these options; what is not given is taken from those that are recorded with a model."""
        if None not in (self.range, recorded.range) and str(self.range) != str(recorded.range):
            from robustvit.common.progress import warn

            warn(
                f"the model was finetuned with --range {recorded.range}: with --range {self.range} it sees other photos"
            )
        return replace(self, range=self.range or recorded.range, alpha=self.alpha or recorded.alpha)


@dataclass(frozen=True, kw_only=True)
class ColumnOptions:
    """Columns and class folders.

    Attributes:
        class_folders: which of nested folders is the class of a photo: top (the one directly in the folder of photos,
            as torchvision's ImageFolder reads it, the default) or inner (the one that the photo lies in).
        image_column: column that holds the photos of a list, parquet file or set, if it has an unusual name.
        label_column: column that holds their classes.
        mask_column: column that holds their masks.
        group_by: which group a photo is from (camera, hospital, lot, background): a column of the list (default: group,
            if it has one), several such as place,class, where class is that of the photo, or for folders a pattern such
            as {site}/{class} or {split}/{site}/{class}, down to the folder that the photo lies in.
        label_separator: what separates several classes in one cell, for a multi-label model, such as | or a space;
            default: the one of | ; , that is there.
    """

    class_folders: ClassFolders | None = None
    image_column: str | None = None
    label_column: str | None = None
    mask_column: str | None = None
    group_by: str | None = None
    label_separator: str | None = None

    @property
    def columns(self) -> ColumnOptions:
        """These options alone, of a group that has others too."""
        return ColumnOptions(**{one.name: getattr(self, one.name) for one in fields(ColumnOptions)})


@dataclass(frozen=True, kw_only=True)
class NoObjectOption:
    """Photos without an object.

    Attributes:
        no_object: classes whose photos show no object, such as ok,healthy: they need no masks, and any they have are
            ignored; the masks command writes black ones for them. A single photo is marked by an all-black mask, or by
            an empty cell in a list with masks.
    """

    no_object: NoObject | None = None


@dataclass(frozen=True, kw_only=True)
class PhotoOptions(PixelOptions, ColumnOptions, NoObjectOption):
    """Photos and masks.

    Attributes:
        images: folder with one folder of photos per class; a list (CSV with image,mask,label; TSV, JSON lines, parquet,
            or text with a path and a class in each line); hf:OWNER/NAME#SPLIT (a set of the Hugging Face hub, or a
            folder behind hf:) or fiftyone:NAME#TAG. LIST#PART takes the rows whose column split names that part.
        masks: folder of masks that mirrors images by class and name; beside a list, by the paths in it or by name.
        mask_format: what the mask files hold: auto, soft, binary, inverted (black is the object), ids (class ids, 0
            background, 255 void), imagenet-s or trimap (1 object, 2 background, 3 border).
        skip_unmasked: leave out photos without a mask instead of refusing them.
        doubtful: also use masks that manifest.csv marks as doubtful; they are left out by default.
    """

    images: str | None = None
    masks: str | None = None
    mask_format: MaskFormat = "auto"
    skip_unmasked: bool = False
    doubtful: bool = False

    @property
    def given(self) -> str:
        """The first option that was given, or an empty string."""
        return next((one.name for one in fields(self) if getattr(self, one.name) != one.default), "")


@dataclass(frozen=True, kw_only=True)
class MeasuredPhotos(PhotoOptions):
    """Photos and masks.

    Attributes:
        include_trained: also measure photos that the model's run was trained on (the same files, or photos that look
            the same). They are left out by default, and no verdict accepts a model measured with them.
    """

    include_trained: bool = False


@dataclass(frozen=True, kw_only=True)
class GivenPhotos(PhotoOptions):
    """Photos and masks."""

    images: str = field()  # required here, unlike in the parent class


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
        expect_at_least(0, max_drop=self.max_drop, swaps=self.swaps)


@dataclass(frozen=True, kw_only=True)
class MetricOption:
    """Verdict.

    Attributes:
        metric: what the verdict decides by: accuracy, balanced-accuracy (mean recall of the classes), macro-f1, auroc
            or average-precision (means over the classes; these two rank the photos by score), or worst-group (accuracy
            in the group with the lowest). A multi-label model has average-precision instead of accuracy.
    """

    metric: MetricName = "accuracy"


@dataclass(frozen=True, kw_only=True)
class VerdictOnPhotos(JudgingOptions, MetricOption):
    """Verdict.

    Attributes:
        backgrounds: also judge on backgrounds that are in no photo: textures (that come with the package), a folder of
            photos without your objects, or none. They decide the verdict if a model was trained on swapped backgrounds.
    """

    backgrounds: str = "textures"


@dataclass(frozen=True, kw_only=True)
class AtInferenceOption:
    """Without training.

    Attributes:
        at_inference: also test the model on the object alone, without training: crop (to the object), mask (the rest is
            black), blur (the rest is blurred), or several, such as crop,mask,blur; none. Each is measured alone and
            averaged with the answer to the whole photo. With a baseline, the baseline is tested this way.
    """

    at_inference: AtInference | None = None


@dataclass(frozen=True, kw_only=True)
class InferenceOptions(AtInferenceOption):
    """Without training.

    Attributes:
        object_by: how the object is found there: relevance (the model's own map of each picture, above its mean) or
            masks (those of the photos, which are not available when a model is deployed).
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
