"""``robustvit evaluate --on``: each set in its true layout, both protocols, resumed, shared, recorded, and mistakes."""

from __future__ import annotations

import json
import signal
from dataclasses import astuple
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from helpers import miniatures
from helpers.run_server import kill, wait_for
from helpers.small_models import save_varied
from robustvit import UserError, evaluate
from robustvit.cli import main as cli
from robustvit.data.datasets import evaluation_transform
from robustvit.data.read_photos import read_photo
from robustvit.evaluation.on_sets import loop
from robustvit.evaluation.records.record import read_records
from robustvit.evaluation.sets import BENCHMARKS
from robustvit.evaluation.sets.class_tables import imagenet_subset
from robustvit.models.classifier import Classifier
from robustvit.models.load import load_model
from robustvit.models.save import save_model

WRITERS = {
    "imagenet-val": miniatures.write_imagenet_val,
    "imagenet-a": miniatures.write_imagenet_a,
    "imagenet-r": miniatures.write_imagenet_r,
    "imagenet-sketch": miniatures.write_imagenet_sketch,
    "imagenet-v2": miniatures.write_imagenet_v2,
    "objectnet": miniatures.write_objectnet,
    "si-score/rotation": lambda root: miniatures.write_si_score(root, "rotation"),
    "imagenet-9/mixed_same": lambda root: miniatures.write_imagenet_9(root, ["mixed_same", "mixed_rand"]),
    "cue-conflict": miniatures.write_cue_conflict,
}

HOWTO = Path(__file__).parents[2] / "docs" / "howto"  # a folder with a picture and no masks


@cache
def loaded(folder: Path, protocol: str) -> Classifier:
    return load_model(str(folder), normalization="paper" if protocol == "paper" else "model")


def plain_scores(folder: Path, path: Path, protocol: str, border: bool) -> torch.Tensor:
    """Softmax of one image alone, prepared by hand."""
    model = loaded(folder, protocol)
    photo = read_photo(path)
    if border:
        photo = photo.crop((2, 2, photo.width - 2, photo.height - 2))
    image = evaluation_transform(model.preprocessing)(photo)
    with torch.no_grad():
        return model(image[None].as_subclass(torch.Tensor)).double().softmax(1)[0]


def plain_hits(name: str, protocol: str, made: dict, model: Path) -> dict[str, bool]:
    """Which images a model gets right, one after the other, by the definitions of each set."""
    hits = {}
    folder = made["folder"] / "images" if name == "objectnet" else made["folder"]
    subset = {"imagenet-a": "a", "imagenet-r": "r"}.get(name) if protocol == "standard" else None
    for place, right in made["right"].items():
        scores = plain_scores(model, folder / place, protocol, name == "objectnet" and protocol == "standard")
        if subset:
            allowed = set(imagenet_subset(subset))
            scores = torch.tensor([s if i in allowed else -1 for i, s in enumerate(scores.tolist())])
        kept = right[:1] if name == "objectnet" and protocol == "paper" else right
        hits[place] = int(scores.argmax()) in kept
    return hits


@pytest.mark.parametrize("protocol", ["paper", "standard"])
@pytest.mark.parametrize("name", ["imagenet-val", "imagenet-a", "imagenet-r", "imagenet-v2", "objectnet"])
def test_accuracy_is_that_of_one_image_after_the_other(tmp_path, thousand, name, protocol):
    made = WRITERS[name](tmp_path / "data")
    found = evaluate(
        model=str(thousand), on=name, root=str(tmp_path / "data"), protocol=protocol, records=str(tmp_path / "r"),
        batch_size=7, device="cpu",
    )  # fmt: skip
    record = found.records[0]
    hits = plain_hits(name, protocol, made, thousand)
    assert record.samples == len(hits)
    assert record.numbers["top1"].mean == pytest.approx(np.mean(list(hits.values())))
    assert 0 < record.samples < record.expected
    assert not record.complete
    assert any("incomplete" in line for line in record.problems)
    assert "INCOMPLETE" in str(found)
    assert record.protocol == protocol
    assert record.preprocessing["std"][0] == (0.5 if protocol == "paper" else 0.229)
    assert read_records(tmp_path / "r") == [record]


@pytest.mark.parametrize("name", WRITERS)
def test_every_set_runs_from_the_command_line(capsys, tmp_path, thousand, other, name):
    WRITERS[name](tmp_path / "data")
    command = ["evaluate", "--model", str(thousand), "--baseline", str(other), "--on", name]
    command += ["--root", str(tmp_path / "data"), "--records", str(tmp_path / "r"), "--device", "cpu"]
    code = cli.main(command)
    said = capsys.readouterr()
    assert code == 0, said.err
    assert BENCHMARKS.get(name, BENCHMARKS["imagenet-v2/matched-frequency"]).name in said.out
    assert "McNemar" in said.out
    records = read_records(tmp_path / "r")
    assert len(records) == 2  # both models have one
    if name == "cue-conflict":
        assert all("headline" in record.numbers for record in records) or "headline: undefined" in said.out
    assert {record.model["source"] for record in records} == {str(thousand), str(other)}
    for record in records:
        assert all(0 <= n.low <= n.mean <= n.high <= 1 for n in record.numbers.values() if n.count)


def test_waterbirds_take_a_head_of_two(tmp_path, thousand):
    miniatures.write_waterbirds(tmp_path)
    miniatures.write_imagenet_val(tmp_path)
    two = save_varied(tmp_path / "two", 2)
    options = {"on": ["waterbirds"], "root": str(tmp_path), "records": str(tmp_path / "r"), "device": "cpu"}
    record = evaluate(model=str(two), **options).records[0]
    assert len(record.groups) == 4
    worst = record.numbers["worst_group"]
    assert record.numbers["headline"] == worst
    lowest = min(record.groups.values(), key=lambda group: group.mean)
    assert worst.mean == lowest.mean
    assert worst.low <= lowest.low, "the interval allows for the choice of the worst"
    assert "top5" not in record.numbers
    with pytest.raises(UserError, match="with its own 2 classes, got one with 1000"):
        evaluate(model=str(thousand), **options)
    with pytest.raises(UserError, match="ImageNet's 1000 classes, got one with 2"):
        evaluate(model=str(two), **options | {"on": "imagenet-val"})


def test_a_set_that_everybody_makes_is_complete_as_it_is(tmp_path):
    made = miniatures.write_metashift(tmp_path)
    two = save_varied(tmp_path / "two", 2)
    found = evaluate(model=str(two), on="metashift", root=str(tmp_path), records=str(tmp_path / "r"), device="cpu")
    (record,) = found.records
    assert (record.samples, record.expected, record.complete) == (len(made["right"]), len(made["right"]), True)
    assert "INCOMPLETE" not in str(found)


def test_bg_gap_and_si_score_groups(tmp_path, thousand):
    miniatures.write_imagenet_9(tmp_path, ["mixed_same", "mixed_rand"])
    miniatures.write_si_score(tmp_path, "rotation")
    options = {"root": str(tmp_path), "records": str(tmp_path / "r"), "device": "cpu", "model": str(thousand)}
    found = evaluate(on="imagenet-9/mixed_same,imagenet-9/mixed_rand,si-score/rotation", **options)
    assert "BG-Gap" in str(found)
    si = found.records[-1]
    assert si.numbers["headline"].mean == pytest.approx(np.mean([group.mean for group in si.groups.values()]))
    paper = evaluate(on="si-score/rotation", protocol="paper", **options).records[0]
    assert paper.numbers["headline"] == paper.numbers["top1"]


def test_what_was_recorded_is_not_run_again(tmp_path, thousand, monkeypatch):
    made = miniatures.write_imagenet_val(tmp_path)
    options = {"model": str(thousand), "on": "imagenet-val", "root": str(tmp_path), "records": str(tmp_path / "r")}
    first = evaluate(**options, device="cpu")
    calls = []
    forward = Classifier.forward
    monkeypatch.setattr(Classifier, "forward", lambda self, x: calls.append(len(x)) or forward(self, x))
    second = evaluate(**options, device="cpu")
    assert not calls
    assert second.reused == 1
    assert second.records[0].numbers == first.records[0].numbers
    assert "1 of these were recorded before" in str(second)
    evaluate(**options, protocol="paper", device="cpu")
    assert sum(calls) == 8  # another protocol is another result
    calls.clear()
    changed = made["folder"] / "n01440764" / "new.JPEG"
    miniatures.draw_image(77).save(changed)
    assert evaluate(**options, device="cpu").records[0].samples == 9
    assert sum(calls) == 9  # another list of images is another set


def test_broken_images_are_named_and_tried_again(tmp_path, thousand):
    made = miniatures.write_imagenet_val(tmp_path)
    whole = sorted(made["right"])[0]
    content = (made["folder"] / whole).read_bytes()
    (made["folder"] / whole).write_bytes(b"no image")
    options = {"model": str(thousand), "on": "imagenet-val", "root": str(tmp_path), "records": str(tmp_path / "r")}
    record = evaluate(**options, device="cpu").records[0]
    assert record.samples == len(made["right"]) - 1
    assert any(Path(whole).name in line and "not an image" in line for line in record.problems)
    (made["folder"] / whole).write_bytes(content)
    mended = evaluate(**options, device="cpu")
    assert mended.records[0].samples == len(made["right"])
    assert not any("not an image" in line for line in mended.records[0].problems)
    fresh = evaluate(**options | {"records": str(tmp_path / "other")}, device="cpu")
    numbers = mended.records[0].numbers
    assert fresh.records[0].numbers.keys() == numbers.keys()
    for name, found in fresh.records[0].numbers.items():  # batches of another size round otherwise
        assert astuple(found) == pytest.approx(astuple(numbers[name])), name


@pytest.mark.slow
def test_a_killed_call_goes_on_in_the_middle(tmp_path, thousand, server):
    made = miniatures.write_imagenet_val(tmp_path / "data", classes=range(30), each=4)
    (tmp_path / "slow.py").write_text(
        "import sys, time\n"
        "import robustvit.evaluation.on_sets.loop as run\n"
        "from robustvit.cli import main as cli\n"
        "run._SECONDS_A_PART = 0.0\n"
        "answered, calls = run._answer_batch, []\n"
        "def stuck(*given):\n"
        "    calls.append(1)\n"
        "    while len(calls) > 5:  # until it is killed, however long that takes\n"
        "        time.sleep(1)\n"
        "    return answered(*given)\n"
        "run._answer_batch = stuck\n"
        "sys.exit(cli.main(sys.argv[1:]))\n"
    )
    command = ["evaluate", "--model", str(thousand), "--on", "imagenet-val", "--root", str(tmp_path / "data")]
    command += ["--records", str(tmp_path / "r"), "--batch-size", "8", "--device", "cpu"]
    (process,) = server.start(command, script=tmp_path / "slow.py")
    assert wait_for(lambda: len(list((tmp_path / "r").glob(".*.parts/*.npz"))) >= 3, process), server.said()
    kill(process)
    assert server.wait() == [-signal.SIGKILL], "it must have been killed before it was done"
    assert 3 <= len(list((tmp_path / "r").glob(".*.parts/*.npz"))) < 15
    assert not list((tmp_path / "r").glob("*.json"))
    seen: list[int] = []
    forward = Classifier.forward
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Classifier, "forward", lambda self, x: seen.append(len(x)) or forward(self, x))
        assert cli.main(command) == 0
    assert 0 < sum(seen) <= 120 - 8 * 3
    record = read_records(tmp_path / "r")[0]
    assert record.samples == 120
    assert not list((tmp_path / "r").glob(".*"))
    hits = plain_hits("imagenet-val", "standard", made, thousand)
    assert record.numbers["top1"].mean == pytest.approx(np.mean(list(hits.values())))


@pytest.mark.slow
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_two_processes_count_every_image_once(tmp_path, thousand, device, server):
    miniatures.write_imagenet_val(tmp_path / "data", classes=range(9), each=3)
    (next((tmp_path / "data").rglob("*.JPEG"))).write_bytes(b"no image")
    command = ["evaluate", "--model", str(thousand), "--on", "imagenet-val", "--root", str(tmp_path / "data")]
    assert server.run([*command, "--device", device, "--records", tmp_path / "two"], 2) == 0, server.said()
    if device == "cpu" or not torch.accelerator.is_available():
        assert server.counted() == [2, 2]
    assert cli.main([*command, "--device", "cpu", "--records", str(tmp_path / "one")]) == 0
    two, one = (read_records(tmp_path / name)[0] for name in ("two", "one"))
    assert two.samples == one.samples == 26
    assert two.numbers == one.numbers
    assert two.classes == one.classes
    assert two.problems == one.problems


def test_two_calls_at_once_lose_nothing(tmp_path, thousand, monkeypatch):
    """While one call runs, another one finishes the set, and takes its own parts away."""
    miniatures.write_imagenet_val(tmp_path / "data", classes=range(6), each=4)
    options = {"model": str(thousand), "on": "imagenet-val", "root": str(tmp_path / "data"), "device": "cpu"}
    options |= {"records": str(tmp_path / "r"), "batch_size": 4}
    monkeypatch.setattr(loop, "_SECONDS_A_PART", 0.0)
    forward, calls = Classifier.forward, []

    def disturbed(self, images):
        calls.append(len(images))
        if len(calls) == 3:
            evaluate(**options)
        return forward(self, images)

    monkeypatch.setattr(Classifier, "forward", disturbed)
    record = evaluate(**options).records[0]
    assert record.samples == 24
    assert not any("no answer on" in line for line in record.problems)
    assert not list((tmp_path / "r").glob(".*"))


def test_one_set_that_fails_leaves_the_others(capsys, tmp_path, thousand):
    made = miniatures.write_imagenet_val(tmp_path)
    other = miniatures.write_imagenet_sketch(tmp_path)
    for place in other["right"]:
        (other["folder"] / place).write_bytes(b"no image")
    command = ["evaluate", "--model", str(thousand), "--root", str(tmp_path), "--records", str(tmp_path / "r")]
    assert cli.main([*command, "--device", "cpu", "--on", "imagenet-sketch,imagenet-val"]) == 1
    said = capsys.readouterr()
    assert f"{len(made['right'])} images" in said.out
    assert "FAILED imagenet-sketch: no image of" in said.out
    assert [record.set for record in read_records(tmp_path / "r")] == ["imagenet-val"]
    assert (
        cli.main([*command, "--device", "cpu", "--on", "imagenet-val,imagenet-r", "--records", str(tmp_path / "q")])
        == 2
    )
    assert "ImageNet-R" in capsys.readouterr().err
    assert not list((tmp_path / "q").glob("*"))  # nothing was run before the missing set was named


def test_a_comparison_stays_in_the_record(tmp_path, thousand, other):
    miniatures.write_imagenet_val(tmp_path)
    options = {"on": "imagenet-val", "root": str(tmp_path), "records": str(tmp_path / "r"), "device": "cpu"}
    evaluate(model=str(thousand), baseline=str(other), **options)
    evaluate(model=str(thousand), **options)
    evaluate(model=str(other), **options)
    compared = {r.model["source"]: r.compared for r in read_records(tmp_path / "r")}
    assert compared[str(thousand)]["baseline"]["source"] == str(other)
    assert compared[str(other)] == {}
    evaluate(model=str(other), baseline=str(other), **options)
    compared = {r.model["source"]: r.compared for r in read_records(tmp_path / "r")}
    assert compared[str(other)]["helped"] == 0
    assert compared[str(thousand)]["baseline"]["source"] == str(other)


def test_batches_and_workers_change_nothing(tmp_path, thousand):
    miniatures.write_imagenet_val(tmp_path / "data", classes=range(5), each=3)
    records = []
    for number, (batch_size, workers) in enumerate([(1, 0), (4, 2)]):
        found = evaluate(
            model=str(thousand), on="imagenet-val", root=str(tmp_path / "data"), records=str(tmp_path / str(number)),
            batch_size=batch_size, workers=workers, device="cpu",
        )  # fmt: skip
        records.append(found.records[0])
    assert {n: v.mean for n, v in records[0].numbers.items()} == pytest.approx(
        {n: v.mean for n, v in records[1].numbers.items()}, abs=1e-6
    )
    half = evaluate(
        model=str(thousand), on="imagenet-val", root=str(tmp_path / "data"), records=str(tmp_path / "half"),
        precision="bf16", device="cpu",
    )  # fmt: skip
    assert half.records[0].preprocessing["precision"] == "bf16"
    assert half.records[0].samples == 15


def test_classes_seen_in_finetuning_are_told_apart(tmp_path, thousand):
    miniatures.write_imagenet_a(tmp_path)
    run = tmp_path / "run"
    save_model(load_model(str(thousand)), run / "best")
    (run / "config.yaml").write_text("robustvit: 0.1.0\nmodel: null\nrecipe: null\ncheckpoint: null\n")
    rows = ["split,class,label,image,mask"]
    rows += [f"train,x,{label},a.jpg,b.png" for label in (*imagenet_subset("a")[:30], 0)]
    rows += ["validation,x,999,a.jpg,b.png"]
    (run / "selection.csv").write_text("\n".join(rows) + "\n")
    options = {"on": "imagenet-a", "root": str(tmp_path), "records": str(tmp_path / "r"), "device": "cpu"}
    for model, seen in ((run, None), (thousand, str(run))):
        record = evaluate(model=str(model), seen=seen, **options).records[0]
        assert record.numbers["seen_top1"].count == 30
        assert record.numbers["unseen_top1"].count == 170
    assert "seen_top1" not in evaluate(model=str(thousand), **options).records[0].numbers
    (run / "selection.csv").unlink()
    with pytest.raises(UserError, match=r"selection\.csv is missing or broken"):
        evaluate(model=str(thousand), seen=str(run), **options)


def test_logits_that_are_no_numbers(capsys, tmp_path, thousand):
    miniatures.write_imagenet_val(tmp_path)
    broken = tmp_path / "broken"
    save_model(load_model(str(thousand)), broken)
    state = load_file(broken / "model.safetensors")
    state["head.weight"][3] = 3e38  # finite weights, whose logit is not
    save_file(state, broken / "model.safetensors")
    command = ["evaluate", "--model", str(broken), "--on", "imagenet-val", "--root", str(tmp_path)]
    assert cli.main([*command, "--records", str(tmp_path / "r"), "--device", "cpu"]) == 2
    said = capsys.readouterr().err
    assert "logits for imagenet-val/n01440764/" in said
    assert "not finite" in said
    assert not list((tmp_path / "r").glob("*.json"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"on": "imagenet-b"}, "did you mean imagenet-"),
        ({"on": "segmentaton"}, "did you mean segmentation or"),
        ({"on": "qqq"}, "waterbirds"),
        ({"on": "imagenet-a"}, "expected ImageNet-A below"),
        ({"on": "objectnet"}, "only be evaluated"),
        ({"on": "imagenet-a", "root": None}, "expected --root FOLDER"),
        ({"on": "imagenet-a", "stream": True}, "expected --root or --stream, got both"),
        ({"on": "imagenet-a", "images": "photos"}, "--on segmentation"),
        ({"on": "imagenet-a", "mask_format": "ids"}, "no --mask-format with sets"),
        ({"on": "imagenet-a,imagenet-val", "root": None, "stream": True}, "cannot be streamed"),
        ({"on": "segmentation", "images": "nowhere"}, "nowhere"),
        (
            {"on": "segmentation", "images": str(Path(__file__).parents[2] / "docs" / "howto")},
            "expected a mask for every photo",
        ),
        ({"on": "imagenet-a", "out": "x.json"}, "no --out with --on"),
        ({}, "name --images FOLDER, or sets"),
        ({"on": ""}, "expected"),
    ],
)
def test_wrong_options(capsys, tmp_path, thousand, options, words):
    (tmp_path / "data").mkdir()
    given = {"model": str(thousand), "root": str(tmp_path / "data"), "records": str(tmp_path / "r")} | options
    with pytest.raises(UserError) as error:
        evaluate(**given)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "r").exists(), "a call that fails leaves no folder"


def test_a_record_of_the_whole_set_is_not_replaced_by_a_part(tmp_path, thousand, monkeypatch):
    made = miniatures.write_imagenet_val(tmp_path)
    options = {"model": str(thousand), "on": "imagenet-val", "root": str(tmp_path), "records": str(tmp_path / "r")}
    import dataclasses

    whole = dataclasses.replace(BENCHMARKS["imagenet-val"], images=len(made["right"]))
    monkeypatch.setitem(BENCHMARKS, "imagenet-val", whole)
    assert evaluate(**options, device="cpu").records[0].complete
    (made["folder"] / sorted(made["right"])[0]).unlink()
    with pytest.raises(UserError, match="holds the result on the whole set"):
        evaluate(**options, device="cpu")


def test_streamed_sets_are_those_on_disk(tmp_path, thousand, monkeypatch):
    datasets = pytest.importorskip("datasets")
    import dataclasses

    from robustvit.evaluation.sets.benchmark import Hub

    made = miniatures.write_imagenet_a(tmp_path / "data")
    rows = [{"image": Image.open(made["folder"] / place).convert("RGB"), "wnid": place.split("/")[0]}
            for place in sorted(made["right"])]  # fmt: skip
    table = datasets.Dataset.from_list(
        rows, features=datasets.Features(image=datasets.Image(), wnid=datasets.Value("string"))
    )
    (tmp_path / "hub").mkdir()
    table.to_parquet(tmp_path / "hub" / "test-00000.parquet")
    here = dataclasses.replace(BENCHMARKS["imagenet-a"], hub=Hub(str(tmp_path / "hub"), "test"), images=200)
    monkeypatch.setitem(BENCHMARKS, "imagenet-a", here)
    options = {"model": str(thousand), "on": "imagenet-a", "device": "cpu"}
    streamed = evaluate(stream=True, records=str(tmp_path / "s"), **options)
    on_disk = evaluate(root=str(tmp_path / "data"), records=str(tmp_path / "d"), **options)
    assert streamed.records[0].samples == on_disk.records[0].samples == 200
    assert streamed.records[0].numbers["top1"].count == 200
    assert streamed.records[0].numbers["top1"].mean == pytest.approx(on_disk.records[0].numbers["top1"].mean, abs=0.011)
    assert evaluate(stream=True, records=str(tmp_path / "s"), **options).reused == 1


def test_the_record_is_readable_json(tmp_path, thousand):
    miniatures.write_imagenet_val(tmp_path)
    evaluate(model=str(thousand), on="imagenet-val", root=str(tmp_path), records=str(tmp_path / "r"), device="cpu")
    content = json.loads(next((tmp_path / "r").glob("*.json")).read_text())
    assert content["set"] == "imagenet-val"
    assert content["versions"]["torch"] == str(torch.__version__).split("+")[0] or content["versions"]["torch"]
    assert len(content["classes"]) == 4
    assert content["command"]
