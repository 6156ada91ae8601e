"""The audit's table of what trains nothing."""

from __future__ import annotations

import json

import pytest

from robustvit import audit

FAST = {"tries": 1, "shifted": 0, "worst": 1, "regions": 0, "swaps": 1}


@pytest.mark.slow
def test_every_rival_has_a_row_with_intervals_and_its_cost(photos, model_folder, tmp_path):
    images, masks = map(str, photos)
    found = audit(
        model=str(model_folder), baseline=str(model_folder), images=images, masks=masks, out=str(tmp_path / "a.html"),
        at_inference="crop,blur", **FAST,
    )  # fmt: skip
    rivals = found.found.at_inference
    assert rivals.who == "the baseline", "it is the baseline that needs no training"
    record = json.loads((tmp_path / "a.json").read_text())["at_inference"]
    assert [one["name"] for one in record["rivals"]] == ["crop", "crop and photo", "blur", "blur and photo"]
    for one in record["rivals"]:
        assert one["passes"] == 3
        assert {row["measure"] for row in one["comparisons"]} == {"ordinary", "mixed-other"}
        assert all(row["difference"]["low"] <= row["difference"]["high"] for row in one["comparisons"])
    page = (tmp_path / "a.html").read_text()
    assert "showing the object alone" in page
    assert "with the background blurred, averaged with the whole photo" in page
    assert "the model&#39;s own relevance (gae)" in page


@pytest.mark.slow
def test_none_leaves_the_table_out(photos, model_folder, tmp_path):
    images, masks = map(str, photos)
    out = str(tmp_path / "a.html")
    found = audit(model=str(model_folder), images=images, masks=masks, out=out, at_inference="none", **FAST)
    assert found.found.at_inference is None
    assert "showing the object alone" not in (tmp_path / "a.html").read_text()
