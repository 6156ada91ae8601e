"""Groups and the audit: its table by group, and the kinds of background that it found written as groups."""

from __future__ import annotations

import csv
import json

import pytest

from helpers.grouped_photos import list_sites, write_sites
from robustvit import UserError, audit, evaluate

FAST = {"budget": "quick", "worst": 0, "regions": 0, "group_block": 1}


@pytest.fixture(scope="module")
def audited(tmp_path_factory, model_folder):
    place = tmp_path_factory.mktemp("audited")
    write_sites(place / "photos", {"north": 4, "south": 3})
    out = place / "groups.csv"
    images = list_sites(place / "photos")
    found = audit(
        model=f"local-dir:{model_folder}", images=str(images), out=str(place / "look.html"), groups=2,
        groups_out=str(out), **FAST,
    )  # fmt: skip
    return place, found, out


def test_an_audit_shows_the_groups_that_the_photos_came_with(audited):
    place, found, _ = audited
    record = json.loads((place / "look.json").read_text())
    assert {row["group"]: row["photos"] for row in record["by_group"]["rows"]} == {"north": 12, "south": 9}
    page = (place / "look.html").read_text()
    assert "<h2>By group</h2>" in page
    assert "worst group: " in page
    assert "by group, ordinary accuracy:" in str(found)


def test_kinds_of_background_are_written_as_groups_that_evaluate_reads(audited, model_folder):
    place, _found, out = audited
    with out.open() as file:
        rows = list(csv.DictReader(file))
    record = json.loads((place / "look.json").read_text())
    kinds = [photo["background"] for photo in record["photos"]]
    assert [row["group"] for row in rows] == [f"background {kind + 1}" for kind in kinds]
    assert all((out.parent / row["image"]).is_file() and (out.parent / row["mask"]).is_file() for row in rows)
    again = evaluate(model=f"local-dir:{model_folder}", images=str(out), swaps=0)
    assert {row.group: row.photos for row in again.groups.rows} == {
        f"background {kind + 1}": kinds.count(kind) for kind in set(kinds)
    }


@pytest.mark.parametrize(("name", "said"), [("groups.txt", "end in .csv"), ("there.csv", "there.csv")])
def test_a_list_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path, model_folder, name, said):
    write_sites(tmp_path / "photos", {"north": 1, "south": 1})
    (tmp_path / "there.csv").write_text("mine")
    with pytest.raises(UserError, match=said):
        audit(
            model=f"local-dir:{model_folder}", images=str(list_sites(tmp_path / "photos")),
            out=str(tmp_path / "look.html"), groups_out=str(tmp_path / name), **FAST,
        )  # fmt: skip
    assert (tmp_path / "there.csv").read_text() == "mine"
    assert not (tmp_path / "look.html").exists()
