"""A run whose original model lies elsewhere now: what needs it says what to do, the rest goes on."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from helpers.drawn_photos import CLASSES, write_photos
from helpers.small_models import tiny_network
from robustvit import finetune
from robustvit.cli import main as cli
from robustvit.common.errors import UserError
from robustvit.models.baseline import load_original
from robustvit.models.classifier import Classifier
from robustvit.models.options import ShownModels
from robustvit.models.save import save_model
from robustvit.webapp.shown_models import load_shown

WAY = "which is no longer there: put it back (relative names count from the folder that finetune was called in)"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a run that was started from ``before/my_vit``, which is at ``now`` today."""
    place = tmp_path_factory.mktemp("moved")
    images, masks = write_photos(place, 6)
    save_model(Classifier(tiny_network(), class_names=CLASSES), place / "before" / "my_vit")
    finetune(
        model=str(place / "before" / "my_vit"), images=str(images), masks=str(masks), out=str(place / "run"), epochs=1,
        tracker="none", panels=0, swaps=1,
    )  # fmt: skip
    shutil.move(place / "before" / "my_vit", place / "now")
    return place


NEEDING = {
    "evaluate": "evaluate --model run --baseline original --images images --masks masks",
    "audit": "audit --model run --baseline original --images images --masks masks --out audit.html",
    "classes": "classes --model run --baseline original --images images --out classes.html",
}


@pytest.mark.parametrize("name", list(NEEDING))
def test_commands_that_need_it_say_where_to_put_it(place, monkeypatch, capsys, name):
    monkeypatch.chdir(place)
    before = set(place.iterdir())
    assert cli.main(NEEDING[name].split()) == 2
    said = capsys.readouterr().err
    assert f"run started from {place / 'before' / 'my_vit'}, {WAY}" in said
    assert "--baseline local-dir:FOLDER" in said
    assert set(place.iterdir()) == before


def test_the_advice_works(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    words = NEEDING["evaluate"].replace("original", "local-dir:now").split()
    assert cli.main([*words, "--swaps", "1"]) == 0
    assert "change" in capsys.readouterr().out


def test_commands_that_can_do_without_it(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    assert cli.main(["explain", "--model", "run", f"images/{CLASSES[0]}/000.png"]) == 0
    said = capsys.readouterr()
    assert "the original model is not shown: run started from" in said.err
    assert "model: " in said.out
    assert cli.main(["report", "run", "--out", "report.html"]) == 0
    assert cli.main(["export", "run", "--out", "shared"]) == 0


def test_the_app_shows_the_robust_model_alone_and_says_why(place, capsys):
    with ExitStack() as stack:
        shown = load_shown(stack, ShownModels(model=str(place / "run")))
    assert list(shown.models) == ["Model"]
    assert "start the app with `--baseline FOLDER`" in shown.intro
    assert str(place) not in shown.intro, "visitors learn no path of this machine"
    assert shown.audit["baseline"] is None
    assert WAY in " ".join(capsys.readouterr().err.split())


def test_weights_that_are_gone_are_named(place, tmp_path):
    shutil.copytree(place / "run", tmp_path / "run")
    settings = tmp_path / "run" / "config.yaml"
    settings.write_text(settings.read_text().replace("checkpoint: null", "checkpoint: weights.pth"))
    with pytest.raises(UserError, match=r"started from weights\.pth, which is no longer there"):
        load_original(tmp_path / "run")
