"""Recipes and settings: the user's, else the recipe's, else the method's, in the command and on disk."""

from __future__ import annotations

import dataclasses
import inspect
import json

import numpy as np
import pytest
import yaml
from PIL import Image

from helpers.drawn_photos import CLASSES
from robustvit import UserError, finetune, report
from robustvit.experiments.trials import trial_key
from robustvit.guidance.registry import GUIDANCE, guidance_options, method_options
from robustvit.models.baseline import load_original
from robustvit.models.recipes import CARDS, RECIPES, model_card, recipe_settings
from robustvit.training.settings import describe_unused_settings, settle_options

FAST = {"lr": 3e-4, "swaps": 1, "panels": 0, "samples_per_class": 3, "validation_per_class": 3, "tracker": "none"}
every_guidance = pytest.mark.parametrize("name", GUIDANCE)


@pytest.fixture
def settings(model_folder, photos):
    return {"model": str(model_folder), "images": str(photos[0]), "masks": str(photos[1])} | FAST


def soft_masks(photos, folder):
    """Masks of concepts: half of the object counts fully, the other half in part."""
    for path in sorted(photos[1].rglob("*.png")):
        mask = np.asarray(Image.open(path), dtype=np.float32) / 255
        mask[:, : mask.shape[1] // 2] *= 0.6
        target = folder / path.parent.name / f"{path.stem}.npy"
        target.parent.mkdir(parents=True, exist_ok=True)
        np.save(target, mask)
    return folder


def test_recipe_cft_sets_the_weights_for_soft_masks_and_nothing_else(settings, tmp_path, photos):
    given = settings | {"masks": str(soft_masks(photos, tmp_path / "soft")), "epochs": 1}
    finetune(out=str(tmp_path / "recipe"), recipe="cft", **given)
    finetune(out=str(tmp_path / "flags"), background=1.2, foreground=0.5, **given)
    finetune(out=str(tmp_path / "paper"), **given)
    finetune(out=str(tmp_path / "own"), recipe="cft", background=2.0, foreground=0.3, **given)
    weights = {name: (tmp_path / name / "last" / "model.safetensors").read_bytes()
               for name in ("recipe", "flags", "paper", "own")}  # fmt: skip
    assert weights["recipe"] == weights["flags"] != weights["paper"] == weights["own"]
    config = yaml.safe_load((tmp_path / "recipe" / "config.yaml").read_text())
    assert (config["recipe"], config["background"], config["foreground"]) == ("cft", 1.2, 0.5)
    assert config["relevance_weight"] == 0.8
    row = json.loads((tmp_path / "recipe" / "metrics.jsonl").read_text())
    assert row["train_relevance"] == pytest.approx(1.2 * row["train_background"] + 0.5 * row["train_foreground"])
    assert load_original(tmp_path / "recipe").class_names == CLASSES


def test_recipes_give_way_to_what_is_said():
    assert recipe_settings(None) == {}
    assert recipe_settings("deit-s") == {"lr": 1e-6, "temperature": 0.55, "normalization": "paper"}
    assert "cft" not in CARDS
    with pytest.raises(UserError, match="--model"):
        model_card("cft")

    def start(**options):
        found = settle_options(dict.fromkeys(inspect.signature(finetune).parameters) | options)[1]
        return found["lr"], found["normalization"]

    assert start(recipe="deit-s") == (1e-6, "paper")
    assert start(model="m", recipe="cft") == (2e-6, "model")
    assert start(model="m", recipe="deit-s", normalization="model", train="head") == (1e-3, "model")
    assert start(model="m", lr=0.5, train="head")[0] == 0.5
    assert start(model="m", recipe="recommended", train="adapter")[0] == pytest.approx(1e-4), (
        "ten times the rate of all weights"
    )
    assert start(model="m", recipe="paper", train="adapter")[0] == pytest.approx(2e-5)
    assert start(model="m", recipe="deit-s", train="adapter")[0] == pytest.approx(1e-5)
    assert start(model="m", lr=0.5, train="adapter")[0] == 0.5


@pytest.mark.parametrize("recipe", ["recommended", "paper"])
def test_recipes_for_any_model_set_the_whole_way_of_training(recipe):
    nothing = dict.fromkeys(inspect.signature(finetune).parameters) | {"model": "m", "recipe": recipe}
    proposed = recipe_settings(recipe)
    stays = ("epochs", "samples_per_class", "select", "lr_schedule", "weight_interpolation")
    assert set(proposed) == {"guidance", "train", "lr", *stays}
    found = settle_options(nothing)[1]
    assert {name: found[name] for name in proposed} == proposed
    own = {"lr": 0.5, "epochs": 3, "samples_per_class": 7, "select": "loss", "train": "all"}
    said = settle_options(nothing | own)[1]
    assert {name: said[name] for name in own} == own
    other = settle_options(nothing | {"guidance": "gradmask"})[1]
    assert {name: other[name] for name in stays} == {name: proposed[name] for name in stays}
    assert (other["train"], other["lr"]) == ("all", 2e-6), "what one method was found to need is not for another"
    if recipe == "paper":  # the defaults
        assert found == settle_options(nothing | {"recipe": None})[1] | {"recipe": "paper"}


def test_the_recommended_recipe_is_the_default_for_its_own_method(monkeypatch):
    nothing = dict.fromkeys(inspect.signature(finetune).parameters) | {"model": "m"}
    paper = settle_options(nothing | {"guidance": "robustvit"})[1]
    monkeypatch.setattr("robustvit.models.recipes.DEFAULT_RECIPE", "recommended")
    found = settle_options(nothing)[1]
    assert (
        found
        == settle_options(nothing | {"recipe": "own"})[1]
        == settle_options(nothing | {"recipe": "recommended"})[1]
    )
    assert {name: found[name] for name in RECIPES["recommended"]} == RECIPES["recommended"]
    assert settle_options(nothing | {"guidance": "robustvit"})[1] == paper
    assert settle_options(nothing | {"target": "predicted"})[1]["recipe"] is None
    assert settle_options(nothing | {"shortcuts": "s.json"})[1]["recipe"] is None
    assert settle_options(nothing | {"shortcuts": "s.json", "masks": "m"})[1]["recipe"] == "recommended"
    assert settle_options(nothing, old=True)[1]["recipe"] is None
    assert settle_options(nothing | {"train": "adapter"})[1]["weight_interpolation"] == 1
    with pytest.raises(UserError, match="give --model NAME"):
        settle_options(nothing | {"model": None})


def test_a_run_from_before_there_was_a_default_is_resumed_as_it_was(settings, tmp_path, monkeypatch):
    finetune(out=str(tmp_path / "r"), **settings | {"epochs": 1})
    monkeypatch.setattr("robustvit.models.recipes.DEFAULT_RECIPE", "recommended")
    found = finetune(out=str(tmp_path / "r"), resume=True, **settings | {"epochs": 2})
    assert found.verdict.guidance == "robustvit"
    config = yaml.safe_load((tmp_path / "r" / "config.yaml").read_text())
    assert (config["recipe"], config["guidance"]) == (None, "robustvit")


def test_trials_of_the_recommended_recipe_keep_their_names():
    assert trial_key({"recipe": "recommended", "lr": 1}) == trial_key({"recipe": "own", "lr": 1})
    assert trial_key({"recipe": "paper", "lr": 1}) != trial_key({"recipe": "own", "lr": 1})


DEFAULTS = {
    "guidance": "robustvit",
    "epochs": 50,
    "samples_per_class": 3,
    "select": "loss",
    "lr_schedule": "step",
    "weight_interpolation": 1.0,
    "normalization": "model",
}
SAID = {
    "lr": 0.5,
    "epochs": 4,
    "samples_per_class": 7,
    "select": "robust",
    "lr_schedule": "cosine",
    "weight_interpolation": 0.3,
    "normalization": "paper",
    "temperature": 0.7,
    "background": 1.7,
    "relevance_weight": 0.4,
    "balance": "class",
    "train": "head",
}


def expected(recipe, guidance, said):
    """The rule, written out plainly: the user's, else the recipe's where it fits, else the method's default."""
    proposed = recipe_settings(recipe)
    named = guidance or proposed.get("guidance", "robustvit")
    kind = GUIDANCE[named]
    if proposed.get("guidance", named) != named:
        proposed = {name: value for name, value in proposed.items() if name not in ("train", "lr")}
    train = kind.trains or said.get("train") or proposed.get("train") or "all"
    if train != proposed.get("train", "all"):
        proposed.pop("lr", None)
    method = {field.name: field.default for field in dataclasses.fields(kind)}
    found = {"train": train, "guidance": named}
    for name in set(SAID) - {"train"}:
        if name in kind.unused or (name in guidance_options() and name not in method):
            found[name] = None
            continue
        default = method[name] if name in method else DEFAULTS.get(name, 1e-3 if train == "head" else 2e-6)
        found[name] = said.get(name, proposed.get(name, default))
    return found


@every_guidance
@pytest.mark.parametrize("recipe", [None, *CARDS, *RECIPES])
def test_settled_is_the_users_else_the_recipes_else_the_methods(recipe, name):
    nothing = dict.fromkeys(inspect.signature(finetune).parameters) | {"model": "m", "recipe": recipe}
    for guidance in (name, None):
        method = method_options(guidance or recipe_settings(recipe).get("guidance", "robustvit"))
        for option in (None, *SAID):
            said = {} if option is None else {option: SAID[option]}
            given = nothing | {"guidance": guidance} | said
            wanted = expected(recipe, guidance, said)
            lacking = option in guidance_options() and option not in method
            if lacking or (option is not None and wanted[option] != SAID[option]):
                with pytest.raises(UserError, match=f"--{option.replace('_', '-')}"):
                    settle_options(given)
                continue
            found = settle_options(given)[1]
            assert {one: found[one] for one in wanted} == wanted
            lost = [one for one, value in recipe_settings(recipe).items() if found[one] != value]
            lost = [one for one in lost if given[one] is None]
            assert all(f"--{one.replace('_', '-')} " in describe_unused_settings(given, found) for one in lost)
            assert bool(describe_unused_settings(given, found)) == bool(lost)


@pytest.mark.parametrize("guidance", ["gradmask", "rrr", "swap-augmentation", "robustvit", "swap-relevance", "dfr"])
def test_settings_on_disk_are_those_that_training_used(settings, tmp_path, guidance, capsys, monkeypatch):
    from robustvit.training import loop as training

    used = []
    plain = training.train
    monkeypatch.setattr("robustvit.training.run.train", lambda *a, **k: (used.append(k), plain(*a, **k))[1])
    given = {key: value for key, value in settings.items() if key not in ("lr", "samples_per_class")}
    if guidance != "dfr":
        given["epochs"] = 1
    found = finetune(out=str(tmp_path / "r"), recipe="own", guidance=guidance, **given)  # the older name
    config = yaml.safe_load((tmp_path / "r" / "config.yaml").read_text())
    assert (config["recipe"], config["samples_per_class"], config["num_classes"]) == ("recommended", 10, 3)
    assert config["normalization"] == "model"
    said = any(note.startswith("Of recipe recommended, ") for note in found.verdict.notes)
    assert (
        said == (guidance != "swap-relevance") == ("Of recipe recommended" in " ".join(capsys.readouterr().err.split()))
    )
    if guidance == "dfr":
        assert used == []
        return
    schedule, guide = used[0]["schedule"], used[0]["guidance"]
    for name in ("lr", "epochs", "train", "select", "lr_schedule", "weight_interpolation"):
        assert config[name] == getattr(schedule, name), name
    for name in method_options(guidance) - {"relevance_weight"}:
        assert config[name] == getattr(guide, name), name
    weights = {"gradmask": 1000.0, "rrr": 0.04 / 9, "robustvit": 0.8, "swap-relevance": 8.0, "swap-augmentation": None}
    assert config["relevance_weight"] == pytest.approx(weights[guidance])
    assert f"<dt>lr</dt><dd>{config['lr']}</dd>" in report(str(tmp_path / "r")).read_text()
