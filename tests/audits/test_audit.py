"""The audit as a user runs it: verdicts on models whose ways are known, masks that are found, and mistakes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from helpers.audit_pages import Page, check_numbers
from helpers.drawn_photos import write_photos
from helpers.small_models import SIZE
from robustvit import UserError, audit
from robustvit.cli import main as cli
from robustvit.models.classifier import Classifier, Preprocessing

CLASSES = ("apple", "leaf", "pool")


OBJECTS = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, 1.0]])


BACKGROUNDS = torch.tensor([[0.5, 0.2, 0.2], [0.2, 0.5, 0.2], [0.2, 0.2, 0.5]])


FAST = {"tries": 3, "shifted": 6, "worst": 3}


class Looking(nn.Module):
    """Answers by the share of pixels near the colours of the classes' objects or backgrounds."""

    def __init__(self, colours: torch.Tensor, border: bool) -> None:
        super().__init__()
        self.num_classes = len(colours)
        self.border = border
        self.colours = nn.Parameter(colours)

    def forward(self, images):
        pixels = 0.5 + 0.5 * images
        if self.border:
            pixels = torch.cat([pixels[:, :, :3], pixels[:, :, -3:]], dim=2)
        apart = (pixels[:, None] - self.colours[None, :, :, None, None]).pow(2).sum(dim=2)
        return 100 * torch.exp(-apart / 0.02).mean(dim=(2, 3))


def classifier(colours: torch.Tensor, border: bool) -> Classifier:
    return Classifier(
        Looking(colours, border),
        preprocessing=Preprocessing((SIZE, SIZE), crop_share=1.0),
        class_names=CLASSES[: len(colours)],
        source="looks at " + ("backgrounds" if border else "objects"),
    )


@pytest.fixture(scope="module")
def looks_outside():
    return classifier(BACKGROUNDS, border=True)


@pytest.fixture(scope="module")
def looks_inside():
    return classifier(OBJECTS, border=False)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Discs in a colour of their class on noise in a tint of their class."""
    folder = tmp_path_factory.mktemp("drawn")
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    for label, name in enumerate(CLASSES):
        for number in range(12):
            y, x = rng.integers(14, SIZE - 14, 2)
            disc = (rows - y) ** 2 + (columns - x) ** 2 <= 9**2
            noise = rng.uniform(-0.05, 0.05, (SIZE, SIZE, 3))
            canvas = np.where(disc[..., None], 0.05 + 0.9 * OBJECTS[label].numpy(), BACKGROUNDS[label].numpy() + noise)
            for kind, pixels in (("images", canvas), ("masks", disc)):
                place = folder / kind / name / f"{number:02d}.png"
                place.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray((255 * pixels).round().astype(np.uint8)).save(place)
    return {"images": str(folder / "images"), "masks": str(folder / "masks")}


def test_a_model_built_to_look_at_the_background(drawn, looks_outside, tmp_path):
    found = audit(model=looks_outside, **drawn, out=str(tmp_path / "a.html"), relevance="input_gradient", **FAST)
    assert found.reliance == "strong reliance"
    measures = found.found.model.measures
    assert measures["ordinary"].mean == measures["only-bg-t"].mean == measures["mixed-same"].mean == 1
    assert measures["vulnerable"].mean == measures["turned"].mean == 1
    assert measures["only-fg"].mean == pytest.approx(1 / 3)
    assert measures["position"].mean == 0
    assert measures["energy"].mean < measures["uniform"].mean
    assert len(found.found.worst) == 3
    assert "No groups by background" in found.found.notes[0]
    assert "strong reliance" in str(found)


def test_two_classes_and_nothing_but_background(drawn, tmp_path):
    """ImageNet-9's random backgrounds are of the own class in half of the cases, so its gap is half of the cost."""
    for kind in ("images", "masks"):
        for name in CLASSES[:2]:
            shutil.copytree(Path(drawn[kind]) / name, tmp_path / kind / name)
    model = classifier(BACKGROUNDS[:2], border=True)
    two = {kind: str(tmp_path / kind) for kind in ("images", "masks")}
    options = FAST | {"swaps": 20, "shifted": 0, "relevance": "input_gradient"}
    found = audit(model=model, **two, out=str(tmp_path / "a.html"), **options)
    measures = found.found.model.measures
    assert measures["cost"].mean == measures["mixed-same"].mean == 1
    assert measures["mixed-other"].mean == 0
    assert measures["gap"].mean == pytest.approx(0.5, abs=0.1)  # 480 draws: a standard deviation of 0.023
    assert found.reliance == "strong reliance"
    assert "A wrong background costs +100.0 points" in str(found)


def test_a_model_built_to_look_at_the_object(drawn, looks_inside, tmp_path):
    found = audit(model=looks_inside, **drawn, out=str(tmp_path / "a.html"), relevance="input_gradient", **FAST)
    assert found.reliance == "no sign"
    measures = found.found.model.measures
    for name in (
        "ordinary",
        "mixed-same",
        "mixed-other",
        "mixed-rand",
        "only-fg",
        "position",
        "size",
        "rotation",
        "pointing",
    ):
        assert measures[name].mean == 1, name
    assert measures["cost"].mean == measures["gap"].mean == measures["vulnerable"].mean == measures["turned"].mean == 0
    assert measures["cost"].low < 0 < measures["cost"].high <= 0.1, "36 photos leave something open"
    assert found.found.model.beyond["only-bg-t"].excess.mean == pytest.approx(0)
    assert found.found.worst == []
    page = Page((tmp_path / "a.html").read_text())
    assert "None is wrong or flipped." in page.text
    assert "No sign of reliance on the background" in page.text


def test_before_and_after(drawn, looks_inside, looks_outside, tmp_path, model_folder):
    options = {"relevance": "input_gradient", **FAST, "group_model": f"local-dir:{model_folder}", "groups": 3}
    found = audit(model=looks_inside, baseline=looks_outside, **drawn, out=str(tmp_path / "a.html"), **options)
    assert [one.verdict.reliance for one in found.found.sides.values()] == ["no sign", "strong reliance"]
    record = json.loads(found.record.read_text())
    cost = record["measures"]["cost"]
    alone = audit(model=looks_outside, **drawn, out=str(tmp_path / "b.html"), **options)
    assert cost["baseline"] == json.loads(alone.record.read_text())["measures"]["cost"]["model"]
    both = [(p["baseline"]["values"]["cost"], p["model"]["values"]["cost"]) for p in record["photos"]]
    assert cost["difference"]["mean"] == pytest.approx(np.mean([after - before for before, after in both]))
    assert cost["difference"]["high"] < 0
    assert record["change"].startswith("The cost of a wrong background fell: -100.0 points")
    assert all("difference" in row for row in [*record["shifts"], *record["groups"], *record["measures"].values()])
    assert all("difference" in cell for row in record["classes"].values() for cell in row.values())
    assert record["backgrounds"]["usual"]["usual"]["difference"]["mean"] == 0
    page = Page(found.page.read_text())
    assert "Model: No sign of reliance" in page.text
    assert "Baseline: Strong reliance" in page.text
    check_numbers(page, record)


class Marked(torch.nn.Module):
    """The model it holds, but whatever has a red corner is of the last class."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.num_classes = inner, inner.num_classes

    def forward(self, images):
        logits = self.inner(images)
        corner = images[..., -3:, -3:].mean(dim=(2, 3))
        red = (corner[:, 0] > 0.9) & (corner[:, 1] < -0.9)
        return torch.where(red[:, None], 50.0 * torch.eye(logits.shape[1])[-1], logits)


def test_a_planted_picture_is_named_and_a_bad_one_is_refused(drawn, looks_inside, tmp_path, capsys):
    Image.new("RGB", (20, 20), (255, 0, 0)).save(tmp_path / "logo.png")
    options = {**drawn, "relevance": "input_gradient", "insert": str(tmp_path / "logo.png"), **FAST}
    marked = Classifier(Marked(looks_inside.network), preprocessing=looks_inside.preprocessing, class_names=CLASSES)
    found = audit(model=marked, baseline=looks_inside, out=str(tmp_path / "a.html"), **options)
    said = [line for line in str(found).splitlines() if "logo.png" in line]
    assert said[0].startswith("model: shortcut: logo.png pulls 100.0 %")
    assert f"of the others to {CLASSES[-1]}, +100.0 points" in said[0]
    assert said[1].startswith("model: one shortcut for another: logo.png costs")
    assert "a shortcut" in Page((tmp_path / "a.html").read_text()).text
    with pytest.raises(UserError, match="--insert"):
        audit(model=looks_inside, out=str(tmp_path / "b.html"), **(options | {"insert": str(tmp_path / "no.png")}))
    assert not (tmp_path / "b.html").exists()


def test_a_second_audit_replaces_the_first_and_gives_the_same(drawn, looks_outside, tmp_path):
    def run(workers):
        out = str(tmp_path / "a.html")
        fewer = FAST | {"tries": 1, "shifted": 2}
        found = audit(model=looks_outside, **drawn, out=out, relevance="input_gradient", workers=workers, **fewer)
        record = re.sub(r'"seconds": [0-9.]+', '"seconds": 0', found.record.read_text())
        return record, found.page.read_text()

    (record, page), (again, other) = run(0), run(1)
    assert again == record.replace('"workers": 0', '"workers": 1')
    assert other == page.replace("<dt>workers</dt><dd>0</dd>", "<dt>workers</dt><dd>1</dd>")


def test_masks_are_found_where_none_are_given(tmp_path, model_folder, capsys):
    images, _ = write_photos(tmp_path, 3)
    out = tmp_path / "pages" / "mine.html"
    source = f"local-dir:{model_folder}"
    arguments = ["audit", "--model", source, "--images", str(images), "--out", str(out), "--device", "cpu"]
    arguments += ["--mask-model", source, "--mask-centre", "--mask-size", "48", "--mask-threshold", "0.1", "--doubtful"]
    assert cli.main([*arguments, "--tries", "1", "--shifted", "2"]) == 0
    record = json.loads(out.with_suffix(".json").read_text())
    assert (out.parent / "mine-masks" / "manifest.csv").is_file()
    note = record["notes"][0]
    counts = [int(n) for n in re.findall(r"\((\d+) good, (\d+) doubtful and used, (\d+) photos without", note)[0]]
    assert sum(counts) == 9
    assert record["count"] == counts[0] + counts[1]
    assert note in Page(out.read_text()).text
    assert note in capsys.readouterr().out
    assert all("mine-masks" in photo["mask"] for photo in record["photos"])
    assert cli.main([*arguments, "--mask-threshold", "0.3"]) == 2
    assert "made with threshold 0.1, not 0.3: give the same options to continue, or another --masks-out" in " ".join(
        capsys.readouterr().err.split()
    )


def test_photos_that_a_run_was_trained_on_are_named(tmp_path, photos):
    from robustvit.audits.inputs import trained_on
    from robustvit.data.find_photos import find_photos
    from robustvit.data.selection import selection_text

    found = find_photos(*photos)
    (tmp_path / "selection.csv").write_text(selection_text({"train": found[:4], "verdict": found[4:]}))
    assert f"was trained on 4 of {len(found)} photos here" in trained_on(found, str(tmp_path))[0]
    assert trained_on(found[4:], str(tmp_path)) == []
    assert trained_on(found, "vit_tiny_patch16_224") == []


def test_mistakes_are_one_line_and_leave_nothing_behind(tmp_path, photos, model_folder, capsys):
    images, masks = map(str, photos)
    one, flat, made, listed = (tmp_path / name for name in ("one", "flat", "made.csv", "listed.csv"))
    shutil.copytree(photos[0] / "disc", one / "disc")
    shutil.copytree(photos[0] / "disc", flat)
    made.write_text(f"image,label\n{photos[0]}/disc/000.png,disc\n{photos[0]}/frame/000.png,frame\n")
    rows = [f"{photos[0]}/{name}/000.png,{photos[1]}/{name}/000.png,{name}" for name in ("disc", "frame")]
    listed.write_text("\n".join(["image,mask,label", *rows]))
    theirs, page = tmp_path / "thesis.html", str(tmp_path / "page" / "a.html")
    theirs.write_text("<html>words</html>")
    (tmp_path / "mine.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    source = ["audit", "--model", f"local-dir:{model_folder}", "--device", "cpu"]
    both = [*source, "--images", images, "--masks", masks]
    for arguments, words in (
        ([*both, "--out", str(theirs)], "not an audit written by robustvit"),
        ([*both, "--out", str(tmp_path / "mine.html")], "not the record of an audit written by robustvit"),
        ([*both, "--out", str(tmp_path / "a.txt")], "end in .html"),
        ([*both], "out"),
        ([*both, "--out", page, "--groups", "1"], "--groups of at least 2"),
        ([*both, "--out", page, "--tries", "0"], "--tries of at least 1"),
        ([*both, "--out", page, "--mask-model", "x"], "--mask-model is about finding masks, but --masks names some"),
        ([*both, "--out", page, "--mask-threshold", "0.5"], "--mask-threshold is about finding masks"),
        ([*source, "--images", str(listed), "--out", page, "--mask-centre"], f"masks, but {listed} lists some"),
        ([*source, "--images", images, "--without-masks", "--mask-size", "48", "--out", page], "--mask-size is about"),
        ([*both, "--out", page, "--group-block", "99"], "expected --group-block from 1 to"),
        ([*both, "--out", page, "--group-checkpoint", "x"], "--group-checkpoint needs --group-model"),
        ([*both, "--out", page, "--backgrounds", str(tmp_path / "nowhere")], "expected a folder of backgrounds"),
        ([*both, "--out", page, "--backgrounds", str(tmp_path / "empty")], "expected photos of backgrounds"),
        ([*both, "--out", page, "--baseline", "original"], "expected a run folder"),
        ([*source, "--images", str(one), "--out", page], "at least two classes"),
        ([*source, "--images", str(flat), "--out", page], "expected a class for every photo"),
        ([*source, "--images", str(made), "--out", page], f"(--masks names existing ones, --mask-model {source[2]}"),
        ([*source, "--images", images, "--out", page, "--mask-model", "resnet18", "--mask-size", "48"], "resnet18"),
    ):
        capsys.readouterr()
        assert cli.main(arguments) == 2, words
        said = capsys.readouterr().err
        assert words in said
        assert said.startswith("robustvit audit: ")
        assert said.count("\n") == 1
    assert theirs.read_text() == "<html>words</html>"
    assert not (tmp_path / "page" / "a.html").exists()


def test_no_masks_possible(tmp_path, model_folder):
    for name in ("disc", "frame"):
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.new("RGB", (SIZE, SIZE), "gray").save(tmp_path / "images" / name / "plain.png")
    source = f"local-dir:{model_folder}"
    with pytest.raises(UserError, match="no mask could be made"):
        audit(
            model=source, images=str(tmp_path / "images"), mask_model=source, out=str(tmp_path / "a.html"), device="cpu"
        )
    assert not (tmp_path / "a.html").exists()
    assert not (tmp_path / "a.json").exists()


def test_parts_can_be_left_out(drawn, looks_outside, tmp_path):
    out = str(tmp_path / "a.html")
    found = audit(model=looks_outside, **drawn, out=out, relevance="input_gradient", tries=1, shifted=0, worst=0)
    page = Page(found.page.read_text())
    assert "Position, size and rotation" not in page.text
    assert "img" not in page.tags
    assert page.tags.count("svg") == 1
    assert found.reliance == "strong reliance"
