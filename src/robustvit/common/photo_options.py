"""Options on photos and masks that commands share; see ``option_groups``."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Self

from robustvit.common.options import (
    Alpha,
    ClassFolders,
    MaskFormat,
    NoObject,
    PixelRange,
)
from robustvit.common.range_option import check_range


@dataclass(frozen=True, kw_only=True)
class PixelOptions:
    """Pixels.

    Attributes:
        range: which numbers are black and white in photos of more than 8 bits: auto (decided for the whole set; you are
            asked if in doubt), bits such as 12 (0 to 4095), 1 (floats from 0 to 1), LOW:HIGH (values outside become
            black or white) or percentile (the 1st and 99th of the set); default: as in the model's finetuning, else
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
        """Those of the two options that are given, as they are written to files."""
        return {name: str(value) for name, value in (("range", self.range), ("alpha", self.alpha)) if value is not None}

    def or_else(self, recorded: PixelOptions) -> Self:
        """Return these options, completed with those recorded with a model."""
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
        class_folders: which of nested folders is the class of a photo: top (directly in the folder of photos, as in
            torchvision's ImageFolder; the default) or inner (the folder that contains the photo).
        image_column: column that holds the photos of a list, parquet file or set, if it has an unusual name.
        label_column: column that holds their classes.
        mask_column: column that holds their masks.
        group_by: which group a photo is from (camera, hospital, lot, background): a column of the list (default: group,
            if it exists), several such as place,class, where class is that of the photo, or for folders a pattern such
            as {site}/{class} or {split}/{site}/{class}, down to the folder that contains the photo.
        label_separator: separator of several classes in one cell, for a multi-label model, such as | or a space;
            default: whichever of | ; , occurs.
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
        """The name of the first option that was given, or an empty string."""
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
