"""Words for regions: the nearest of a small open_clip model, and one line where it cannot be had."""

from __future__ import annotations

import json

import pytest
import torch

from helpers.drawn_photos import write_photos
from helpers.small_models import SIZE
from robustvit import UserError, audit
from robustvit.audits.region import Patch, Region
from robustvit.audits.region_words import load_namer, name_regions
from robustvit.common.intervals import Interval
from robustvit.models.load import load_model

NOTHING = Interval(0.0, 0.0, 0.0, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of a tiny CLIP with random weights."""
    open_clip = pytest.importorskip("open_clip")
    place = tmp_path_factory.mktemp("clip")
    tower = {"image_size": 32, "patch_size": 16, "width": 24, "layers": 1, "head_width": 8, "mlp_ratio": 2}
    text = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    torch.manual_seed(0)
    model = open_clip.CLIP(16, tower, text)
    config = {"model_cfg": {"embed_dim": 16, "vision_cfg": tower, "text_cfg": text}, "preprocess_cfg": {}}
    (place / "open_clip_config.json").write_text(json.dumps(config))
    torch.save(model.state_dict(), place / "open_clip_pytorch_model.bin")
    return place


def test_words_are_the_nearest_by_the_mean_cosine(folder, model_folder):
    model = load_model(f"local-dir:{model_folder}")
    photos = [{"image": torch.rand(3, SIZE, SIZE)} for _ in range(3)]
    patches = [Patch(index, 2, 3, 0.5) for index in range(3)]
    region = Region(
        share=0.5, classes={}, patches=patches, decided=[],
        accuracy=NOTHING, against_others=NOTHING, probability=NOTHING,
    )  # fmt: skip
    namer = load_namer(f"open_clip:{folder}", ["my own class"])
    (named,) = name_regions(namer, [region], photos, model)
    assert len(set(named.words)) == 3
    assert "my own class" in namer.class_names
    assert "brick wall" in namer.class_names
    crops = [photo["image"][:, 0:40, 8:48] for photo in photos]
    small = [torch.nn.functional.interpolate(c[None], (32, 32), mode="bicubic", antialias=True) for c in crops]
    cosines = sum(namer(one.clamp(0, 1))[0] for one in small).detach()
    assert named.words == tuple(namer.class_names[at] for at in cosines.argsort(descending=True)[:3])


def test_a_page_shows_the_words_and_mistakes_are_refused_first(folder, tmp_path, model_folder):
    images, masks = map(str, write_photos(tmp_path, 3))
    options = {"model": f"local-dir:{model_folder}", "images": images, "masks": masks, "device": "cpu"}
    options |= {"budget": "quick", "regions": 2}
    found = audit(**options, name_with=f"open_clip:{folder}", out=str(tmp_path / "a.html"))
    region = json.loads(found.record.read_text())["regions"][0]
    assert len(region["words"]) == 3
    assert ", ".join(region["words"]) in found.page.read_text()
    for name, words in (("timm:resnet18", "open_clip:ARCHITECTURE/TAG"), ("open_clip:ViT-B-3", "ViT-B-32")):
        with pytest.raises(UserError, match=words):
            audit(**options, name_with=name, out=str(tmp_path / "b.html"))
    assert not (tmp_path / "b.html").exists()


def test_without_a_network_one_line_says_what_to_do():
    pytest.importorskip("open_clip")
    with pytest.raises(UserError, match="cannot fetch the weights of open_clip:ViT-B-32/openai") as error:
        load_namer("open_clip:ViT-B-32/openai", [])
    assert "\n" not in str(error.value)
