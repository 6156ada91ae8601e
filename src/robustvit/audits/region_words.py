"""The nearest words for each kind of region, by a zero-shot model of open_clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from robustvit.audits.region import Region, crop_around
from robustvit.common.errors import UserError
from robustvit.data.cached_photos import CachedPhotos
from robustvit.models.classifier import Classifier
from robustvit.models.families import find_layout
from robustvit.models.forward_pass import evaluating
from robustvit.models.load import load_model

WORDS = tuple(
    """grass; lawn; hay; straw; leaves; tree; branch; bush; flower; forest; field; soil; mud; sand; beach; gravel;
    stone; rock; mountain; snow; ice; water; sea; river; pond; waves; foam; rain; sky; cloud; sunset; fog;
    darkness; shadow; light; lamp; flash; reflection; road; asphalt; pavement; track; rail; bridge; car;
    bicycle; boat; sail; wheel; building; brick wall; wall; tiles; concrete; wood; plank; fence; gate; wire
    mesh; cage; bars; window; curtain; door; floor; carpet; rug; blanket; cushion; sofa; bed; chair; table;
    shelf; kitchen; sink; plate; bowl; cup; bottle; food; fruit; vegetables; meat; paper; book; screen;
    keyboard; telephone; cable; plastic; metal; rust; glass; mirror; cloth; fabric; leather; fur; hair;
    feathers; skin; hand; fingers; arm; leg; foot; face; eyes; mouth; person; child; crowd; clothes; hat; shoes;
    glove; ball; toy; collar; leash; rope; saddle; harness; horse; dog; cat; cow; sheep; bird; fish; insect;
    text; letters; number; watermark; logo; label; sticker; date stamp; copyright line; ruler; scale bar; coin;
    colour chart; tape; bandage; ink mark; pen mark; arrow; black border; white border; frame; vignette; blur;
    noise; scratch; crack; stain; dirt; dust; bubbles; drops; tube; catheter; needle; clip; screw; microscope
    slide; tissue; cells; bone; machine; tool; plain background""".replace("\n", " ").split(";")
)  # fmt: skip
"""What is often beside an object, and what is often a shortcut."""
_NAMES = 3


def load_namer(name: str | None, classes: Sequence[str]) -> Classifier | None:
    """Load the model that names regions with ``WORDS`` and the names of the classes; None without a name."""
    if name is None:
        return None
    if not name.startswith("open_clip:"):
        raise UserError(f"expected --name-with open_clip:ARCHITECTURE/TAG or open_clip:FOLDER, got {name}")
    words = dict.fromkeys([*(" ".join(word.split()) for word in WORDS), *classes])
    try:
        return load_model(name, class_names=list(words))
    except UserError as error:
        reason, offline, _ = str(error).partition(": check the network")
        way_out = f"{offline}, or give --name-with open_clip:FOLDER" if offline else ""
        raise UserError(f"--name-with: {reason}{way_out}; without it, regions have numbers alone") from error


@torch.no_grad()
def name_regions(namer: Classifier, regions: Sequence[Region], photos: CachedPhotos, model: Classifier) -> list[Region]:
    """Return the regions of a model with the words nearest to their crops, by the mean cosine, nearest first."""
    if not regions:
        return []
    rows, columns = find_layout(model).grid(photos[0]["image"][None])
    named = []
    with evaluating(namer):
        for region in regions:
            crops = [crop_around(photos[one.photo]["image"], one, (rows, columns)) for one in region.shown]
            inputs = torch.stack([_resize(crop, namer.preprocessing.input_size) for crop in crops])
            nearest = namer(inputs.to(namer.mean.device)).mean(dim=0).topk(_NAMES).indices.tolist()
            named.append(replace(region, words=tuple(namer.class_names[at] for at in nearest)))
    return named


def _resize(crop: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(crop[None], size=size, mode="bicubic", antialias=True, align_corners=False)[0].clamp(0, 1)
