"""Other shortcuts: how a model's answers change when a text, a frame, a colour cast or a file is put into photos."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import functional as TF

from robustvit.common.errors import UserError
from robustvit.common.progress import track
from robustvit.evaluation.asking import Asking
from robustvit.models.forward_pass import evaluating

Insertion = Callable[[Tensor], Tensor]  # images (B, 3, H, W) in [0, 1]
CONTROL = " (control)"  # its pixels out of order, its colours exchanged, or a frame of the photo's mean colour
TEXT = "SAMPLE"
_MOST_MARK = 40_000_000  # pixels of a file to insert


def text_mark(size: tuple[int, int], text: str, faint: bool = False) -> Tensor:
    """Draw a text across the middle: RGBA ``(4, H, W)`` in [0, 1].

    It is white with a black rim, so that it stands out anywhere. With ``faint`` it is half-transparent and has no rim,
    as a watermark and as in ImageNet-W.
    """
    height, width = size
    layer = Image.new("RGBA", (width, height))
    font = _font_for(text, max(8, round(1.6 * width / max(1, len(text)))))
    rim, opacity = (0, 160) if faint else (max(1, width // 90), 255)
    ImageDraw.Draw(layer).text((width / 2, height / 2), text, (255, 255, 255, opacity), font, anchor="mm",
                               stroke_width=rim, stroke_fill=(0, 0, 0, opacity))  # fmt: skip
    return TF.to_dtype(TF.pil_to_tensor(layer), torch.float32, scale=True)


def _font_for(text: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's own font, or matplotlib's if that lacks letters (it has little but English)."""
    if not text.strip():
        raise UserError(f"expected --text with letters, got {text!r}")
    letters = [letter for letter in text if not letter.isspace()]
    dejavu = Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    for font in (ImageFont.load_default(size), ImageFont.truetype(dejavu, size)):
        unknown = bytes(font.getmask("\uffff"))
        missing = [letter for letter in letters if bytes(font.getmask(letter)) == unknown]
        if not missing:
            return font
    raise UserError(f"--text {text!r} has {missing[0]!r}, which the fonts here lack: put it in as a PNG with --insert")


def file_mark(size: tuple[int, int], path: str | Path) -> Tensor:
    """Read a picture to insert, a third of the frame wide, in its lower right corner; its transparency is kept."""
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > _MOST_MARK:
                raise UserError(f"--insert {path} has more than {_MOST_MARK:,} pixels: make it smaller")
            mark = picture.convert("RGBA")
    except (OSError, UnidentifiedImageError, ValueError) as error:
        raise UserError(f"cannot read --insert {path}: expected an image file, such as a PNG") from error
    height, width = size
    mark.thumbnail((max(1, width // 3), max(1, height // 3)))
    layer = Image.new("RGBA", (width, height))
    layer.paste(mark, (width - mark.width, height - mark.height))
    return TF.to_dtype(TF.pil_to_tensor(layer), torch.float32, scale=True)


def lay_over(mark: Tensor) -> Insertion:
    """Return a function that lays RGBA ``(4, H, W)`` over images."""
    colour, opacity = mark[:3], mark[3:]
    return lambda images: images * (1 - opacity.to(images)) + (colour * opacity).to(images)


def shuffle_mark(mark: Tensor) -> Tensor:
    """Return a mark ``(4, H, W)`` with the pixels of its box out of order and its colours exchanged."""
    rows, columns = (mark[3] > 0).nonzero(as_tuple=True)
    if not len(rows):
        return mark
    box = (slice(None), slice(int(rows.min()), int(rows.max()) + 1), slice(int(columns.min()), int(columns.max()) + 1))
    inside = mark[box]
    order = torch.randperm(inside[0].numel(), generator=torch.Generator().manual_seed(0))
    changed = mark.clone()
    changed[box] = inside[[1, 2, 0, 3]].flatten(1)[:, order].view_as(inside)
    return changed


def add_frame(images: Tensor, level: float | None = 0.0) -> Tensor:
    """Draw a frame, 5 % of the frame's side wide: of a grey level, or of each photo's mean colour (None)."""
    wide = max(1, round(0.05 * images.shape[-1]))
    mean = images.mean(dim=(2, 3), keepdim=True).expand_as(images).clone()
    inner = mean if level is None else torch.full_like(images, level)
    inner[..., wide:-wide, wide:-wide] = images[..., wide:-wide, wide:-wide]
    return inner


def compress(images: Tensor) -> Tensor:
    """Compress as JPEG of quality 10."""
    return TF.jpeg((images * 255).round().to(torch.uint8).cpu(), 10).to(images) / 255


WHOLE: dict[str, Insertion] = {
    "grey": lambda images: TF.rgb_to_grayscale(images, 3),
    "red cast": lambda images: images * images.new_tensor([1.0, 0.7, 0.7])[:, None, None],
    "blue cast": lambda images: images * images.new_tensor([0.7, 0.7, 1.0])[:, None, None],
    "darker": lambda images: images * 0.5,
    "brighter": lambda images: (images * 1.5).clamp(max=1),
    "blurred": lambda images: TF.gaussian_blur(images, [9, 9], [2.0, 2.0]),
    "sharpened": lambda images: TF.adjust_sharpness(images, 4.0),
    "JPEG of quality 10": compress,
}
"""Changes of the whole photo."""
WHOLE_KINDS = {"colour": ("grey", "red cast", "blue cast"), "light": ("darker", "brighter"),
       "detail": ("blurred", "sharpened", "JPEG of quality 10")}  # fmt: skip
FRAMES = {"black frame": 0.0, "white frame": 1.0}
ARTEFACTS = (*FRAMES, "text", "faint text")


def insertions(
    size: tuple[int, int],
    files: Sequence[str | Path] = (),
    text: str = TEXT,
    *,
    artefacts: Sequence[str] = ARTEFACTS,
    whole: Sequence[str] = tuple(WHOLE),
    controls: bool = True,
) -> dict[str, Insertion]:
    """Return insertions by name for images of a size ``(H, W)``: artefacts with their controls, then of ``WHOLE``."""
    texts = [kind for kind in artefacts if kind not in FRAMES]
    marks = {f"{kind} {text!r}": text_mark(size, text, kind == "faint text") for kind in texts}
    marks |= {Path(file).name: file_mark(size, file) for file in files}
    found: dict[str, Insertion] = {}
    for name in (one for one in artefacts if one in FRAMES):
        found |= {name: partial(add_frame, level=FRAMES[name]), f"{name}{CONTROL}": partial(add_frame, level=None)}
    for name, mark in marks.items():
        found |= {name: lay_over(mark), f"{name}{CONTROL}": lay_over(shuffle_mark(mark))}
    kept = {name: change for name, change in found.items() if controls or not name.endswith(CONTROL)}
    return kept | {name: WHOLE[name] for name in whole}


@torch.no_grad()
def answers_to(
    model: nn.Module,
    photos: Dataset,
    changes: Mapping[str, Insertion],
    batch_size: int = 32,
    asking: Asking | None = None,
) -> dict[str, list[int]]:
    """Return the predicted class of each photo with each insertion."""
    answers: dict[str, list[int]] = {name: [] for name in changes}
    device, asking = next(model.parameters()).device, asking or Asking()
    with evaluating(model):
        for batch in track(DataLoader(photos, batch_size=batch_size), "other shortcuts"):
            images = batch["image"].to(device)
            for name in answers:
                answers[name] += asking.logits(model, changes[name](images)).argmax(dim=1).tolist()
    return answers
