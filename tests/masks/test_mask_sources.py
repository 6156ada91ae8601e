"""Masks from other packages and from relevance: without their weights, but through their own interfaces."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image

from helpers.small_models import SIZE, tiny_network
from helpers.small_sams import save_sam2, save_sam3
from robustvit import Classifier, UserError, make_masks
from robustvit.common.errors import rename_options
from robustvit.data.mask_files import read_mask
from robustvit.explanation.maps import relevance
from robustvit.masks.sources.relevance import RelevanceMask
from robustvit.masks.sources.sam2 import read_prompts
from robustvit.masks.sources.source import rate_soft_mask


def photo(width=60, height=40):
    image = Image.new("RGB", (width, height), (20, 20, 20))
    image.paste((220, 220, 220), (20, 10, 40, 30))
    return image


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    photo().save(tmp_path / "photos" / "a.png")
    photo(80).save(tmp_path / "photos" / "b.png")
    return tmp_path


def test_relevance_above_its_mean():
    model = Classifier(tiny_network())
    source = RelevanceMask(model, refine=False)
    image = photo(SIZE, SIZE)
    found = source.finish(source.prepare([image], [None])[0])
    pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None] / 255
    expected = relevance(model, pixels)[0, 0]
    assert (found.mask.astype(bool) == (expected > expected.mean()).numpy()).all()
    assert found.measures["share"] == pytest.approx(found.mask.mean())


def test_relevance_command(folder, model_folder):
    made = make_masks(
        str(folder / "photos"), out=str(folder / "masks"), method="relevance", model=str(model_folder), device="cpu"
    )
    assert len(made.records) == 2
    assert all(record.source == "relevance" for record in made.records)
    with pytest.raises(UserError, match="expected the relevance method"):
        make_masks(
            str(folder / "photos"), out=str(folder / "m"), method="relevance", model=str(model_folder), relevance="x"
        )


class FakeRembg(types.ModuleType):
    """rembg's two functions: a session, and an alpha channel that is the photo's brightness."""

    def new_session(self, name):
        if name == "offline":
            raise OSError("no route to host")
        return name

    def remove(self, image, session, only_mask):
        assert only_mask
        assert session == "u2netp"
        return image.convert("L").point(lambda value: 255 if value > 100 else 40)


@pytest.fixture
def rembg(monkeypatch):
    sessions = types.ModuleType("rembg.sessions")
    sessions.sessions_names = ["u2netp", "offline", "cloud"]
    sessions.sessions_names_downloadable = ["u2netp", "offline"]
    monkeypatch.setitem(sys.modules, "onnxruntime", types.ModuleType("onnxruntime"))
    monkeypatch.setitem(sys.modules, "rembg", FakeRembg("rembg"))
    monkeypatch.setitem(sys.modules, "rembg.sessions", sessions)


def test_rembg(folder, rembg):
    made = make_masks(str(folder / "photos"), out=str(folder / "masks"), method="rembg", model="u2netp", device="cpu")
    assert [record.verdict for record in made.records] == ["good", "good"]
    mask = read_mask(folder / "masks" / "a.png")
    assert mask.shape == (40, 60)
    assert mask[15, 30] == 1
    assert mask[0, 0] == pytest.approx(40 / 255)  # soft masks stay soft


@pytest.mark.parametrize(
    ("name", "words"),
    [("u2nett", "offline, u2netp"), ("cloud", "offline, u2netp"), ("offline", "cannot fetch the weights")],
)
def test_rembg_errors(folder, rembg, name, words):
    with pytest.raises(UserError, match=words):
        make_masks(str(folder / "photos"), out=str(folder / "masks"), method="rembg", model=name)


def test_rembg_not_installed(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", types.ModuleType("onnxruntime"))
    monkeypatch.setitem(sys.modules, "rembg", None)
    with pytest.raises(UserError, match=r"rembg is not installed: pip install 'robustvit\[rembg\]'"):
        make_masks(str(folder / "photos"), out=str(folder / "masks"), method="rembg")
    assert not (folder / "masks").exists()


def test_how_sure_a_soft_mask_is():
    sharp = np.zeros((20, 20))
    sharp[5:15, 5:15] = 0.99
    vague = np.where(sharp > 0, 0.55, 0.35)
    assert rate_soft_mask(sharp).measures["agreement"] == 1
    assert rate_soft_mask(vague).confidence < rate_soft_mask(sharp).confidence
    assert rate_soft_mask(np.zeros((20, 20))).verdict == "none"


@pytest.fixture(scope="module")
def sam(tmp_path_factory):
    return save_sam2(tmp_path_factory.mktemp("sam"))


def test_sam2_takes_boxes_and_points(folder, sam):
    prompts = folder / "prompts.csv"
    prompts.write_text("image,x0,y0,x1,y1,x,y\na.png,20,10,40,30,,\na.png,1,1,9,9,,\nphotos/b.png,,,,,30,20\n")
    made = make_masks(
        str(folder / "photos"), out=str(folder / "masks"), method="sam2", model=str(sam), prompts=str(prompts),
        device="cpu",
    )  # fmt: skip
    assert len(made.records) == 2
    assert not made.problems
    for record in made.records:
        assert record.source == "sam2"
        assert "agreement" in record.measures
        if record.mask is not None:
            assert read_mask(record.mask).shape == Image.open(record.image).size[::-1]


def test_prompts_for_sam3(folder, tmp_path):
    model = save_sam3(tmp_path / "sam3")
    (folder / "prompts.csv").write_text("image,x0,y0,x1,y1,x,y\na.png,20,10,40,30,,\nb.png,,,,,30,20\n")
    made = make_masks(
        str(folder / "photos"), out=str(folder / "masks"), method="sam2", model=str(model),
        prompts=str(folder / "prompts.csv"), device="cpu",
    )  # fmt: skip
    assert [record.source for record in made.records] == ["sam3", "sam3"]


def test_another_model_is_no_sam(folder, tmp_path):
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    (folder / "prompts.csv").write_text("image,x,y\na.png,30,20\n")
    for model, words in (
        (tmp_path / "bert", "is bert: name facebook/sam2"),
        ("nobody/sam", "cannot fetch the weights"),
    ):
        with pytest.raises(UserError, match=words):
            make_masks(
                str(folder / "photos"), out=str(folder / "masks"), method="sam2", model=str(model),
                prompts=str(folder / "prompts.csv"),
            )  # fmt: skip
    assert not (folder / "masks").exists()


def test_sam2_without_a_prompt_for_a_photo(folder, sam):
    (folder / "prompts.csv").write_text("image,x,y,on\na.png,30,20,1\na.png,2,2,0\n")
    made = make_masks(
        str(folder / "photos"), out=str(folder / "masks"), method="sam2", model=str(sam),
        prompts=str(folder / "prompts.csv"), device="cpu",
    )  # fmt: skip
    last = {record.image.name: record for record in made.records}["b.png"]
    assert last.verdict == "none"
    assert "no box or point" in last.reason


@pytest.mark.parametrize(
    "text", ["", "image,x,y\n", "photo,x,y\na,1,2\n", "image,x,y\na,1,\n", "image,x,y\na,nan,2\n",
             "image,x0,y0,x1,y1\na,9,9,3,3\n"]
)  # fmt: skip
def test_broken_prompts(tmp_path, text):
    (tmp_path / "prompts.csv").write_text(text)
    with pytest.raises(UserError, match=r"prompts\.csv"):
        read_prompts(tmp_path / "prompts.csv")


def test_prompts_are_read(tmp_path):
    (tmp_path / "prompts.csv").write_text("image,x0,y0,x1,y1,x,y,on\na,1,2,3,4,,,\nb,,,,,5,6,\nb,,,,,7,8,0\n")
    found = read_prompts(tmp_path / "prompts.csv")
    assert found["a"].boxes == [[1, 2, 3, 4]]
    assert found["b"].points == [[5, 6], [7, 8]]
    assert found["b"].labels == [1, 0]


def test_without_a_network_the_own_model_is_named(folder, monkeypatch):
    def unreachable(*arguments, **keywords):
        raise LocalEntryNotFoundError("a long sentence of the hub")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(UserError) as error:
        make_masks(str(folder / "photos"), out=str(folder / "masks"))
    said = str(error.value)
    assert said.endswith("--checkpoint FILE or --model FOLDER of any vision transformer, your finetuned model too")
    assert "the hub does not answer" in said
    assert "a long sentence" not in said
    with (
        pytest.raises(UserError, match="--mask-model FOLDER of any"),
        rename_options({"--model": "--mask-model"}),
    ):
        make_masks(str(folder / "photos"), out=str(folder / "masks"))
    assert not (folder / "masks").exists()
