"""Examples: short, and every one does what it says when it is run as a script."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(FOLDER.glob("*.py"))
GUIDED = {"plain_loop": "timm", "lightning_callback": "lightning", "transformers_trainer": "transformers",
          "timm_training": "timm"}  # fmt: skip


@pytest.fixture
def printed(server, tmp_path):
    """What an example prints that is run as a script in an empty folder."""

    def run(name: str) -> str:
        code = server.run([], script=FOLDER / f"{name}.py", cwd=tmp_path)
        assert code == 0, server.said()
        assert list(tmp_path.iterdir()) == [], "an example leaves nothing in the folder that it is run in"
        return server.printed()

    return run


def test_every_example_is_short_and_tested():
    assert {script.stem for script in SCRIPTS} == {*GUIDED, "explain_torchvision", "audit_only"}
    for script in SCRIPTS:
        lines = script.read_text(encoding="utf-8").splitlines()
        assert len(lines) < 40, f"{script.name} has {len(lines)} lines"
        assert lines[0].startswith('"""')


@pytest.mark.parametrize(
    "name", ["plain_loop", *(pytest.param(name, marks=pytest.mark.slow) for name in GUIDED if name != "plain_loop")]
)
def test_relevance_loss_falls(name, printed):
    if find_spec(GUIDED[name]) is None:
        pytest.skip(f"{GUIDED[name]} is not installed")
    losses = [float(value) for value in re.findall(r"(?:relevance loss:?|->) (0\.\d{4})", printed(name))]
    assert len(losses) in (2, 4)
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.85 * losses[0]


def test_torchvision_model_is_explained(printed):
    lines = printed("explain_torchvision").splitlines()
    assert lines[0].startswith("umbrella: predicted umbrella, ")
    for line in lines:
        assert 0 < int(re.search(r"(\d+) % of the relevance", line)[1]) < 100


@pytest.mark.slow
def test_audit_needs_no_training(printed):
    said, page = printed("audit_only").splitlines()
    assert said.split(":")[0] in ("no sign", "some", "strong reliance", "cannot tell")
    assert re.fullmatch(r"page of \d+ kB, record audit\.json", page)
