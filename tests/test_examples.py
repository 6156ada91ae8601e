"""Examples: short, and every one does what it says when it is run as a script."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(FOLDER.glob("*.py"))
GUIDED = {"plain_loop": "timm", "lightning_callback": "lightning", "transformers_trainer": "transformers",
          "timm_training": "timm"}  # fmt: skip


def printed(name: str, tmp_path: Path) -> str:
    script = FOLDER / f"{name}.py"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == [], "an example leaves nothing in the folder that it is run in"
    return done.stdout


def test_every_example_is_short_and_tested():
    assert {script.stem for script in SCRIPTS} == {*GUIDED, "explain_torchvision", "audit_only"}
    for script in SCRIPTS:
        lines = script.read_text(encoding="utf-8").splitlines()
        assert len(lines) < 40, f"{script.name} has {len(lines)} lines"
        assert lines[0].startswith('"""')


@pytest.mark.parametrize("name", GUIDED)
def test_relevance_loss_falls(name, tmp_path):
    if find_spec(GUIDED[name]) is None:
        pytest.skip(f"{GUIDED[name]} is not installed")
    losses = [float(value) for value in re.findall(r"(?:relevance loss:?|->) (0\.\d{4})", printed(name, tmp_path))]
    assert len(losses) in (2, 4)
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.85 * losses[0]


def test_torchvision_model_is_explained(tmp_path):
    lines = printed("explain_torchvision", tmp_path).splitlines()
    assert lines[0].startswith("umbrella: named umbrella, ")
    for line in lines:
        assert 0 < int(re.search(r"(\d+) % of the relevance", line)[1]) < 100


def test_audit_needs_no_training(tmp_path):
    said, page = printed("audit_only", tmp_path).splitlines()
    assert said.split(":")[0] in ("no sign", "some", "strong reliance", "cannot tell")
    assert re.fullmatch(r"page of \d+ kB, record audit\.json", page)
