"""The benchmark sets, a row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from robustvit.common.errors import UserError, did_you_mean
from robustvit.common.options import Protocol
from robustvit.evaluation.sets.answers import AllClasses, Answers, MemberMaxima, MemberMeans, OwnHead, SubsetAnswers
from robustvit.evaluation.sets.benchmark import Benchmark, Hub
from robustvit.evaluation.sets.class_tables import imagenet_subset, member_classes
from robustvit.evaluation.sets.grouped_layouts import (
    CHEXPERT,
    IWILDCAM_CLASSES,
    METASHIFT,
    read_chexpert,
    read_iwildcam,
    read_metashift,
)
from robustvit.evaluation.sets.layouts import (
    WATERBIRDS,
    read_cue_conflict,
    read_imagenet_9,
    read_number_folders,
    read_waterbirds,
    read_wnid_folders,
)
from robustvit.evaluation.sets.objectnet import crop_border, read_objectnet
from robustvit.evaluation.sets.si_score import Factor, read_si_score

T = TypeVar("T")
_RESEARCH = "ImageNet's terms, non-commercial research"


def _both(value: T) -> Mapping[Protocol, T]:
    return {"paper": value, "standard": value}


def _within(subset: str) -> Mapping[Protocol, Callable[[], Answers]]:
    return {"paper": AllClasses, "standard": lambda: SubsetAnswers(imagenet_subset(subset))}


_V2_VARIANTS = ("matched-frequency", "threshold0.7", "top-images")
_SI_FACTORS: tuple[tuple[Factor, int, str, str], ...] = (
    ("location", 541_548, "location20_area02_min0pc", "19.6 GB"),
    ("rotation", 39_540, "rotation", "1.5 GB"),
    ("size", 92_884, "area", "3.5 GB"),
)
_IN9_VARIANTS = ("original", "mixed_same", "mixed_rand", "mixed_next", "only_fg", "no_fg", "only_bg_b", "only_bg_t")


def _imagenet_v2(variant: str) -> Benchmark:
    archive = f"imagenetv2-{variant}-format-val"
    return Benchmark(
        name=f"imagenet-v2/{variant}",
        title=f"ImageNet-V2 ({variant})",
        images=10_000,
        classes=1000,
        folder=f"imagenet-v2/{variant}",
        other_folders=(archive, f"imagenet-v2/{archive}"),
        reader=read_number_folders,
        scoring=_both(AllClasses),
        summary=_both("accuracy"),
        source="https://huggingface.co/datasets/vaishaal/ImageNetV2",
        size="1.3 GB",
        licence="MIT",
    )


def _si_score(factor: Factor, images: int, archive: str, size: str) -> Benchmark:
    return Benchmark(
        name=f"si-score/{factor}",
        title=f"SI-Score ({factor})",
        images=images,
        classes=61,
        folder=f"si-score/{factor}",
        other_folders=(f"si-score/{archive}", f"si-score/object_{factor}", archive, f"object_{factor}"),
        reader=partial(read_si_score, factor=factor),
        scoring=_both(AllClasses),
        summary={"paper": "accuracy", "standard": "group-mean"},
        source="https://github.com/google-research/si-score",
        size=size,
        licence="Apache 2.0",
    )


def _imagenet_9(variant: str) -> Benchmark:
    return Benchmark(
        name=f"imagenet-9/{variant}",
        title=f"ImageNet-9 ({variant})",
        images=4050,
        classes=9,
        folder=f"imagenet-9/{variant}",
        other_folders=(f"bg_challenge/{variant}",),
        reader=read_imagenet_9,
        scoring=_both(lambda: MemberMaxima(member_classes("imagenet_9"))),
        summary=_both("accuracy"),
        source="https://github.com/MadryLab/backgrounds_challenge/releases",
        size="0.3 GB with all variants",
        licence=_RESEARCH,
    )


_ROWS = (
    Benchmark(
        name="imagenet-val",
        title="ImageNet validation",
        images=50_000,
        classes=1000,
        folder="imagenet-val",
        other_folders=("imagenet/val", "ILSVRC2012_img_val", "val"),
        reader=read_wnid_folders,
        scoring=_both(AllClasses),
        summary=_both("accuracy"),
        source="https://image-net.org/download.php",
        size="6.7 GB",
        licence=_RESEARCH,
    ),
    Benchmark(
        name="imagenet-a",
        title="ImageNet-A",
        images=7500,
        classes=200,
        folder="imagenet-a",
        other_folders=(),
        reader=partial(read_wnid_folders, subset="a"),
        scoring=_within("a"),
        summary=_both("accuracy"),
        source="https://github.com/hendrycks/natural-adv-examples",
        size="0.7 GB",
        licence="MIT",
        hub=Hub("barkermrl/imagenet-a", "train"),
    ),
    Benchmark(
        name="imagenet-r",
        title="ImageNet-R",
        images=30_000,
        classes=200,
        folder="imagenet-r",
        other_folders=(),
        reader=partial(read_wnid_folders, subset="r"),
        scoring=_within("r"),
        summary=_both("accuracy"),
        source="https://github.com/hendrycks/imagenet-r",
        size="2.2 GB",
        licence="MIT",
        hub=Hub("axiong/imagenet-r", "test"),
    ),
    Benchmark(
        name="imagenet-sketch",
        title="ImageNet-Sketch",
        images=50_889,
        classes=1000,
        folder="imagenet-sketch",
        other_folders=("sketch", "imagenet-sketch/sketch"),
        reader=read_wnid_folders,
        scoring=_both(AllClasses),
        summary=_both("accuracy"),
        source="https://github.com/HaohanWang/ImageNet-Sketch",
        size="about 8 GB",
        licence="MIT",
        hub=Hub("songweig/imagenet_sketch", "test", archive="data/ImageNet-Sketch.zip"),
    ),
    *map(_imagenet_v2, _V2_VARIANTS),
    Benchmark(
        name="objectnet",
        title="ObjectNet",
        images=18_574,
        classes=113,
        folder="objectnet",
        other_folders=("objectnet-1.0", "objectnet/objectnet-1.0"),
        reader=read_objectnet,
        scoring=_both(AllClasses),
        summary=_both("accuracy"),
        source="https://objectnet.dev/download.html",
        size="about 190 GB",
        licence="CC BY 4.0 with its own conditions",
        hub=Hub("timm/objectnet-720p-in1k", "test"),
        prepare=crop_border,
        note="it may only be evaluated: its licence forbids tuning anything on it",
    ),
    *(_si_score(*row) for row in _SI_FACTORS),
    *map(_imagenet_9, _IN9_VARIANTS),
    Benchmark(
        name="waterbirds",
        title="Waterbirds",
        images=5794,
        classes=2,
        folder="waterbirds",
        other_folders=("waterbird_complete95_forest2water2", "waterbirds/waterbird_complete95_forest2water2"),
        reader=read_waterbirds,
        scoring=_both(lambda: OwnHead(WATERBIRDS)),
        summary=_both("worst-group"),
        source="https://nlp.stanford.edu/data/dro/waterbird_complete95_forest2water2.tar.gz",
        size="about 0.5 GB",
        licence="of CUB-200-2011 and Places, non-commercial research",
        num_classes=None,
    ),
    Benchmark(
        name="iwildcam",
        title="iWildCam (WILDS, new cameras)",
        images=42_791,
        classes=IWILDCAM_CLASSES,
        folder="iwildcam",
        other_folders=("iwildcam_v2.0",),
        reader=read_iwildcam,
        scoring=_both(lambda: OwnHead([str(label) for label in range(IWILDCAM_CLASSES)])),
        summary=_both("accuracy"),
        source="https://wilds.stanford.edu/datasets/#iwildcam",
        size="about 12 GB",
        licence="CDLA Permissive 1.0",
        num_classes=None,
    ),
    Benchmark(
        name="metashift",
        title="MetaShift (cats and dogs, indoors and outdoors)",
        images=0,
        classes=2,
        folder="metashift",
        other_folders=("MetaShift-Cat-Dog-indoor-outdoor", "metashift/MetaShift-Cat-Dog-indoor-outdoor"),
        reader=read_metashift,
        scoring=_both(lambda: OwnHead(METASHIFT)),
        summary=_both("worst-group"),
        source="https://github.com/Weixin-Liang/MetaShift",
        size="made from Visual Genome",
        licence="CC BY 4.0",
        num_classes=None,
    ),
    Benchmark(
        name="chexpert",
        title="CheXpert (no finding)",
        images=234,
        classes=2,
        folder="chexpert",
        other_folders=("CheXpert-v1.0-small", "CheXpert-v1.0", "chexpert/CheXpert-v1.0-small"),
        reader=read_chexpert,
        scoring=_both(lambda: OwnHead(CHEXPERT)),
        summary=_both("worst-group"),
        source="https://stanfordmlgroup.github.io/competitions/chexpert",
        size="about 11 GB (small)",
        licence="Stanford's research use agreement",
        num_classes=None,
    ),
    Benchmark(
        name="cue-conflict",
        title="cue-conflict (shape against texture)",
        images=1280,
        classes=16,
        folder="cue-conflict",
        other_folders=("style-transfer-preprocessed-512", "stimuli/style-transfer-preprocessed-512"),
        reader=read_cue_conflict,
        scoring=_both(lambda: MemberMeans(member_classes("cue_conflict"))),
        summary=_both("shape"),
        source="https://github.com/rgeirhos/texture-vs-shape (stimuli/style-transfer-preprocessed-512)",
        size="about 0.2 GB",
        licence="see the repository",
    ),
)

BENCHMARKS: dict[str, Benchmark] = {row.name: row for row in _ROWS}
SHORT_NAMES: dict[str, tuple[str, ...]] = {
    "imagenet-v2": ("imagenet-v2/matched-frequency",),
    "si-score": tuple(f"si-score/{row[0]}" for row in _SI_FACTORS),
    "imagenet-9": tuple(f"imagenet-9/{variant}" for variant in _IN9_VARIANTS),
}


def benchmarks_named(names: str | Sequence[str], besides: Sequence[str] = ()) -> list[Benchmark]:
    """The sets of some names, each once: a list, or a text with commas or spaces between.

    ``imagenet-v2`` is matched-frequency, ``si-score`` all three parts, ``imagenet-9`` all variants.

    Args:
        names: of the sets.
        besides: names of further sets that the caller knows, to suggest where one is unknown.
    """
    wanted = names.replace(",", " ").split() if isinstance(names, str) else list(names)
    if not wanted:
        raise UserError(f"expected the name of a benchmark set, got none: one or more of {', '.join(_known(besides))}")
    found: dict[str, Benchmark] = {}
    for name in wanted:
        for full in SHORT_NAMES.get(name, (name,)):
            if full not in BENCHMARKS:
                raise UserError(f"unknown benchmark set {name!r}: {_nearest(name, besides)}")
            found[full] = BENCHMARKS[full]
    return list(found.values())


def _known(besides: Sequence[str]) -> list[str]:
    parts = {part for whole in SHORT_NAMES.values() for part in whole}
    return sorted([*SHORT_NAMES, *(name for name in BENCHMARKS if name not in parts), *besides])


def _nearest(name: str, besides: Sequence[str]) -> str:
    """The known names that come nearest, then all."""
    choices = dict.fromkeys([*SHORT_NAMES, *BENCHMARKS, *besides])
    return f"{did_you_mean(name, choices, count=3)} expected one of {', '.join(_known(besides))}".strip()
