"""README and docs are true: every command parses and, where it needs no network and no benchmark set, runs; every code
block compiles and runs; every error text named in the troubleshooting page is one of ours."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import timm
import torch
import yaml

import robustvit
from helpers.drawn_photos import CLASSES, write_photos
from helpers.miniatures import write_imagenet_a
from helpers.small_models import tiny_network
from robustvit import finetune
from robustvit.cli import main as cli
from robustvit.cli.arguments import normalize
from robustvit.models import families
from robustvit.models.classifier import Classifier
from robustvit.models.save import save_model

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Parsed, not run: what needs pretrained weights, benchmark sets, several machines or hours.
ELSEWHERE = re.compile(
    r"vit_(base|small)_|--on imagenet|--on objectnet|--root|reproduce|sweep |hf-hub|push|--stream|--share|\bapp\b"
    r"|\bdemo\b|accelerate|torchrun|--help|--print_config|gibbon|--boxes sam|--prompt |--shortcuts|waterbirds/"
)
QUICK = {
    "finetune": ["--epochs", "1", "--tracker", "none", "--panels", "0", "--validation-per-class", "4"],
    "masks": ["--model", "my_vit", "--size", "48"],
    "audit": ["--tries", "1", "--shifted", "2"],
    "search": ["--epochs", "1", "--panels", "0", "--swaps", "1", "--tracker", "none", "--samples-per-class", "2"],
    "shifts": ["--pairs", "1", "--every", "40", "--size", "48", "--workers", "0"],
}
FRESH = ("finetune", "masks", "search", "shifts", "export")  # the documents make what the world has already


def blocks(page: Path, *languages: str) -> list[str]:
    return [code for language, code in BLOCK.findall(page.read_text(encoding="utf-8")) if language in languages]


def lines_of(page: Path) -> list[str]:
    """Lines to type into a terminal, comments cut off and continued lines joined."""
    text = "\n".join(code for code in blocks(page, "", "bash", "sh") if not code.startswith("@")).replace("\\\n", " ")
    lines = [re.sub(r"(^|\s)(# |\| |> |&& ).*$", "", line).strip() for line in text.splitlines()]
    general = re.compile(r"\.\.\.|COMMAND|^@|^ |^}|=  *\{")  # not to be typed as it stands
    return [line for line in lines if line and not general.search(line)]


def command_of(line: str) -> list[str] | None:
    """The arguments of robustvit, or None for a line that calls something else."""
    words = shlex.split(line)
    if words[0] == "robustvit":
        return words[1:]
    return words[words.index("robustvit.cli") + 1 :] if "robustvit.cli" in words else None


COMMANDS = [(page, line) for page in PAGES for line in lines_of(page) if command_of(line)]
named = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@pytest.fixture(scope="module")
def world(tmp_path_factory, photos) -> Path:
    """A folder as the documents speak of it: photos, masks, annotations, a model and a finished run."""
    place = tmp_path_factory.mktemp("world")
    for split, count in (("train", 10), ("test", 6)):
        images, masks = write_photos(place / split, count, seed=count)
        shutil.move(images, place / "photos" / split)
        shutil.move(masks, place / "masks" / split)
    shutil.copytree(place / "masks" / "train", place / "concepts")
    shutil.copytree(place / "masks" / "test", place / "audit-masks")
    shutil.copytree(place / "photos" / "test" / CLASSES[0], place / "plain")
    for name in ("photo.jpg", "a.jpg", "b.jpg"):
        shutil.copy(next((place / "photos" / "test" / CLASSES[0]).iterdir()), place / name)
    save_model(Classifier(tiny_network(), class_names=CLASSES), place / "my_vit")
    finetune(
        model=str(place / "my_vit"),
        images=str(place / "photos" / "train"),
        masks=str(place / "masks" / "train"),
        out=str(place / "runs" / "mine"),
        epochs=1,
        tracker="none",
    )
    judged = {"images": str(place / "photos" / "test"), "masks": str(place / "masks" / "test")}
    robustvit.shifts(**judged, out=str(place / "shifted"), kinds="mixed-rand", size=48)
    robustvit.evaluate(model=str(place / "my_vit"), on="segmentation", **judged, records=str(place / "records"))
    (place / "experiment.yaml").write_text(blocks(ROOT / "docs" / "howto" / "sweeps.md", "yaml")[0])
    settings = {"model": "my_vit", "images": "photos/train", "masks": "masks/train"}
    for config in (place / "mine.yaml", place / "runs" / "rates" / "chosen.yaml"):
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(yaml.safe_dump(settings | {"out": "runs/from_config"}))
    (place / "review.csv").write_text("image,decision\n" + "".join(
        f"{photo.relative_to(place / 'photos' / 'train').as_posix()},keep\n"
        for photo in sorted((place / "photos" / "train").rglob("*.png"))
    ))  # fmt: skip
    rows = [
        f"../photos/train/{mask.relative_to(place / 'masks' / 'train')},{mask.relative_to(place / 'masks')},{name}"
        for name in CLASSES
        for mask in sorted((place / "masks" / "train" / name).iterdir())
    ]
    (place / "masks" / "manifest.csv").write_text("\n".join(["image,mask,label", *rows]))
    _list_groups(place)
    _annotate(place)
    return place


def _list_groups(place: Path) -> None:
    """Lists of the photos to train on with hospitals and places, under the names that the documents use."""
    rows = ["image,mask,label,hospital,place"]
    for name in CLASSES:
        for number, mask in enumerate(sorted((place / "masks" / "train" / name).iterdir())):
            inside = f"train/{name}/{mask.name}"
            hospital, where = ("north", "south", "east")[number % 3], ("land", "water")[number % 2]
            rows.append(f"photos/{inside},masks/{inside},{name},{hospital},{where}")
    for listed in ("train.csv", "test.csv", "all.csv"):
        (place / listed).write_text("\n".join(rows) + "\n")


def _annotate(place: Path) -> None:
    """Two photos outside class folders with COCO and YOLO outlines, boxes in every format, and two exports of CVAT."""
    outline = [4, 4, 30, 4, 30, 30, 4, 30]
    names = ["cat", "dog"]
    found = {"images": [], "annotations": [], "categories": [{"id": i, "name": n} for i, n in enumerate(names)]}
    for folder in (place / "dataset" / "images", place / "dataset" / "labels"):
        folder.mkdir(parents=True)
    (place / "dataset" / "data.yaml").write_text(yaml.safe_dump({"names": names}))
    for index, photo in enumerate(sorted((place / "photos" / "test" / CLASSES[1]).iterdir())[:2]):
        shutil.copy(photo, place / "photos" / f"{index}.png")
        shutil.copy(photo, place / "dataset" / "images" / f"{index}.png")
        found["images"].append({"id": index, "file_name": f"{index}.png", "width": 48, "height": 48})
        found["annotations"].append(
            {"id": index, "image_id": index, "category_id": index, "segmentation": [outline], "iscrowd": 0}
        )
        row = " ".join(str(value / 48) for value in outline)
        (place / "dataset" / "labels" / f"{index}.txt").write_text(f"{index} {row}\n")
    (place / "annotations.json").write_text(json.dumps(found))
    boxes = [{"category": "1", "conf": 0.9, "bbox": [0.1, 0.1, 0.6, 0.6]}]
    entries = [{"file": f"{index}.png", "detections": boxes} for index in range(2)]
    results = {"images": entries, "detection_categories": {"1": "animal"}}
    (place / "results.json").write_text(json.dumps(results))
    for entry in found["annotations"]:
        del entry["segmentation"]
        entry["bbox"] = [4, 4, 26, 26]
    (place / "detections.json").write_text(json.dumps(found))
    (place / "Annotations").mkdir()
    box = "<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>30</xmax><ymax>30</ymax></bndbox>"
    text = f"<annotation><object><name>cat</name>{box}</object></annotation>"
    (place / "Annotations" / "0.xml").write_text(text)
    shutil.copytree(place / "dataset" / "images", place / "export" / "images")
    corrected = next((place / "photos" / "train").rglob("*.png")).relative_to(place / "photos" / "train")
    for path, name in ((place / "export" / "annotations.xml", "0.png"), (place / "corrected.xml", corrected)):
        shape = '<polygon label="cat" points="4,4;30,4;30,30;4,30"/>'
        path.write_text(f'<annotations><image id="0" name="{name}">{shape}</image></annotations>')


def test_there_is_something_to_test():
    assert len(COMMANDS) > 40
    assert sum(not ELSEWHERE.search(line) for _, line in COMMANDS) > 20


@named
def test_lines_that_call_something_else_exist(page):
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in lines_of(page):
        words = shlex.split(line)
        if words[0] == "make":
            assert words[1] in targets, line
        elif command_of(line) is None:
            assert words[0] in (
                "pip",
                "python",
                "git",
                "cd",
                "source",
                "eval",
                "mkdir",
                "echo",
                "accelerate",
                "nox",
                "pre-commit",
                "curl",
            ), line
            for word in words:
                if word.endswith(".py"):
                    assert (ROOT / word).is_file(), line


@named
def test_every_command_parses(page, world, monkeypatch):
    monkeypatch.chdir(world)
    for line in lines_of(page):
        if arguments := command_of(line):
            name, *rest = arguments
            assert name in cli.COMMANDS, line
            function = cli.function_of(name)
            parser, _ = cli.parser_of(name, function)
            parser.parse_args(normalize(rest, function))


# many stand on several pages: they would do the same again
DIFFERENT = {tuple(command_of(line) or []): line for _, line in reversed(COMMANDS) if not ELSEWHERE.search(line)}


@pytest.mark.slow
@pytest.mark.parametrize("line", [pytest.param(line, id=line[10:70]) for line in reversed(DIFFERENT.values())])
def test_every_command_that_can_runs(line, world, tmp_path, monkeypatch, capsys):
    place = tmp_path / "world"
    shutil.copytree(world, place)
    monkeypatch.chdir(place)
    name, *rest = command_of(line) or []
    function = cli.function_of(name)
    parser, _ = cli.parser_of(name, function)
    out = parser.parse_args(normalize(rest, function)).as_dict().get("out")
    if name in FRESH and out and "--resume" not in rest:
        shutil.rmtree(out, ignore_errors=True)
    quick = QUICK.get(name, []) if "--from" not in line else []
    if name == "audit" and "multi-label" in rest:
        quick = ["--budget", "quick"]  # moves no object
    if name == "audit" and "--masks" not in rest:
        shutil.rmtree("audit-masks")  # what this audit makes, and later commands of the documents use
        quick = [*quick, "--mask-model", "my_vit", "--mask-size", "48"]
    code = cli.main([name, *rest, *quick])
    assert code in (0, 1), capsys.readouterr().err  # 1: an audit that found reliance, say
    assert out is None or "--dry-run" in line or Path(out).exists()


def test_python_blocks_run(world, tmp_path, monkeypatch):
    monkeypatch.chdir(world)
    network = tiny_network(num_classes=400)
    model = Classifier(network)
    monkeypatch.setattr(robustvit, "load_model", lambda *_, **__: model, raising=False)
    monkeypatch.setattr(families, "_FAMILIES", dict(getattr(families, "_FAMILIES", {})), raising=False)
    write_imagenet_a(tmp_path)
    images = torch.rand(2, 3, 48, 48)
    given = {
        "loader": [(images, (images[:, :1] > 0.5).float(), torch.tensor([0, 1]))],
        "logits": torch.rand(3, 1000),
        "model": model,
        "images": images[:1],
    }
    ran = 0
    for page in PAGES:
        for code in blocks(page, "python"):
            exec(compile(code.replace('"/data"', repr(str(tmp_path))), str(page), "exec"), dict(given))  # noqa: S102
            ran += 1
    assert ran >= 4


@named
def test_yaml_blocks_are_yaml(page):
    for code in blocks(page, "yaml"):
        assert isinstance(yaml.safe_load(code), dict)


def test_error_texts_are_ours():
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)
    headings = re.findall(
        r"^### `(.*)`$", (ROOT / "docs" / "reference" / "troubleshooting.md").read_text(), re.MULTILINE
    )
    assert len(headings) > 15
    for heading in headings:
        pattern = r".{0,40}?".join(re.escape(word) for word in re.split(r"\b[A-Z]{4,}\b", heading))
        assert heading in source or re.search(pattern, source), heading


@pytest.mark.slow
def test_the_site_builds_without_warnings(tmp_path):
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path / "site"), strict=True)
    build(config)
    assert (
        "robustvit finetune" in (tmp_path / "site" / "reference" / "commands" / "improve" / "index.html").read_text()
    ), "commands stand on the page of their stage"
    assert timm.__version__
