"""Regions that a person dropped or kept: found by the nearest centre, forbidden or left alone."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F

from helpers.drawn_photos import write_photos
from helpers.small_models import SIZE, tiny_network
from robustvit import UserError, audit, finetune
from robustvit.cli import main as cli
from robustvit.data.region_decisions import SHORTCUTS_KIND, read_decisions
from robustvit.explanation.features import patch_features
from robustvit.guidance.decided_regions import DecidedRegions, leave_out
from robustvit.guidance.energy import EnergyGuidance
from robustvit.guidance.paper_losses import background_loss, foreground_loss
from robustvit.guidance.robustvit import RobustViT
from robustvit.models.weights import weights_hash

PATCH = 8


def write_decisions(path, model, decisions, images):
    """Each region is the key of a patch of the first image, or of a far corner."""
    keys = F.normalize(patch_features(model, images), dim=-1)[0]
    places = [(0, 0), (5, 5), (2, 3)]
    rows = [
        {"number": number, "words": [], "centre": keys[place].tolist(), "reach": 0.999, "decision": decision}
        for number, (place, decision) in enumerate(zip(places, decisions, strict=False), start=1)
    ]
    path.write_text(
        json.dumps({"kind": SHORTCUTS_KIND, "model": "tiny", "weights": weights_hash(model), "regions": rows})
    )
    return read_decisions(path)


@pytest.fixture
def images():
    return torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def test_a_patch_belongs_to_the_nearest_centre_that_it_reaches(tmp_path, images):
    model = tiny_network()
    decided = write_decisions(tmp_path / "s.json", model, ["drop", "keep", None], images)
    regions = DecidedRegions.of(decided, model)
    dropped, kept = regions.find(images)
    keys = F.normalize(patch_features(model, images), dim=-1)
    centres = torch.stack([keys[0, 0, 0], keys[0, 5, 5], keys[0, 2, 3]])
    for index in range(2):
        for row in range(6):
            for column in range(6):
                cosines = [float(keys[index, row, column] @ centre) for centre in centres]
                best = max(range(3), key=lambda k, c=cosines: c[k])
                area = (index, 0, slice(row * PATCH, (row + 1) * PATCH), slice(column * PATCH, (column + 1) * PATCH))
                assert bool(dropped[area].all()) == bool(dropped[area].any()) == (best == 0 and cosines[0] >= 0.999)
                assert bool(kept[area].all()) == bool(kept[area].any()) == (best == 1 and cosines[1] >= 0.999)
    assert dropped[0, 0, 0, 0]
    assert kept[0, 0, -1, -1]


def test_dropped_is_background_and_kept_is_neutral(tmp_path, images):
    model = tiny_network()
    regions = DecidedRegions.of(write_decisions(tmp_path / "s.json", model, ["drop", "keep"], images), model)
    masks = torch.zeros(2, 1, SIZE, SIZE)
    masks[:, :, :24] = 1
    inside, neutral = regions.decide(images, masks)
    dropped, kept = regions.find(images)
    assert torch.equal(inside, masks * ~dropped)
    assert torch.equal(neutral, kept & (masks == 0))
    unmasked = DecidedRegions(**(vars(regions) | {"unmasked": True}))
    inside, neutral = unmasked.decide(images, masks)
    assert not inside.any()
    assert torch.equal(neutral, ~dropped)


def test_neutral_pixels_have_no_part_in_the_loss():
    generator = torch.Generator().manual_seed(1)
    maps = torch.rand(3, 1, 12, 12, generator=generator, dtype=torch.float64).requires_grad_()
    masks = (torch.rand(3, 1, 12, 12, generator=generator) > 0.5).double()
    neutral = torch.rand(3, 1, 12, 12, generator=generator) > 0.7
    shown, inside = leave_out(maps, masks, neutral)
    expected = {"background": 0.0, "foreground": 0.0}
    for index in range(3):
        for row in range(12):
            for column in range(12):
                at = (index, 0, row, column)
                r, s = float(maps.detach()[at]), float(masks[at])
                expected["background"] += 0 if neutral[at] else (r * (1 - s)) ** 2 / maps.numel()
                expected["foreground"] += 0 if neutral[at] else (r * s - s) ** 2 / maps.numel()
    assert float(background_loss(shown, inside)) == pytest.approx(expected["background"], abs=1e-12)
    assert float(foreground_loss(shown, inside)) == pytest.approx(expected["foreground"], abs=1e-12)
    (background_loss(shown, inside) + foreground_loss(shown, inside)).backward()
    assert not maps.grad[neutral].any()
    assert maps.grad[~neutral].any()


def test_the_energy_loss_leaves_neutral_relevance_out():
    maps, masks = torch.rand(2, 1, 8, 8), torch.zeros(2, 1, 8, 8)
    masks[0, :, :3] = 1
    neutral = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    neutral[:, :, 6:] = True
    loss = EnergyGuidance().map_terms(*EnergyGuidance().without(maps, masks, neutral))["relevance"]
    first = 1 - maps[0, :, :3].sum() / maps[0, :, :6].sum()
    second = 1 - maps[1, :, 6:].sum() / maps[1].sum()  # no object: what is neutral counts as inside
    assert float(loss) == pytest.approx(float((first + second) / 2), abs=1e-6)


def test_without_masks_only_what_is_dropped_is_guided(tmp_path, images):
    model = tiny_network()
    decisions = write_decisions(tmp_path / "s.json", model, ["drop"], images)
    regions = DecidedRegions.of(decisions, tiny_network(), unmasked=True)
    guide = RobustViT(target="predicted").of_regions(regions)
    found = guide(model, images, torch.zeros(2, 1, SIZE, SIZE), None)
    dropped, _ = regions.find(images)
    assert float(found.parts["background"]) == pytest.approx(float((found.maps * dropped).square().mean()), abs=1e-7)
    assert float(found.parts["foreground"]) == pytest.approx(0.0, abs=1e-12)


def test_other_weights_and_broken_files_are_refused_in_a_line(tmp_path, images):
    model, other = tiny_network(), tiny_network()
    with torch.no_grad():
        next(other.parameters()).add_(1)
    path = tmp_path / "s.json"
    decisions = write_decisions(path, model, ["drop"], images)
    with pytest.raises(UserError, match="other weights"):
        DecidedRegions.of(decisions, other)
    whole = json.loads(path.read_text())
    for change, words in (
        ({"kind": "x"}, "something else"),
        ({"regions": 3}, "broken"),
        ({"regions": [whole["regions"][0] | {"decision": "maybe"}]}, "broken"),
        ({"regions": [whole["regions"][0] | {"centre": []}]}, "broken"),
        ({"regions": [whole["regions"][0] | {"decision": None}]}, "found none"),
    ):
        path.write_text(json.dumps(whole | change))
        with pytest.raises(UserError, match=words):
            read_decisions(path)


def test_from_the_page_of_an_audit_to_a_guided_model(tmp_path, model_folder, capsys):
    images, masks = map(str, write_photos(tmp_path, 6))
    source = f"local-dir:{model_folder}"
    found = audit(model=source, images=images, masks=masks, out=str(tmp_path / "a.html"), budget="quick", device="cpu")
    page = found.page.read_text()
    saved = json.loads(page.split('id="regions">')[1].split("</script>")[0])
    saved["regions"][0]["decision"] = "drop"
    saved["regions"][-1]["decision"] = "keep"
    (tmp_path / "shortcuts.json").write_text(json.dumps(saved))
    (tmp_path / "by_hand.json").write_text(
        json.dumps({"audit": "a.json", "drop": [1], "keep": [len(saved["regions"])]})
    )
    assert [one.keep for one in read_decisions(tmp_path / "by_hand.json").regions] == [False, True]
    options = {
        "model": source, "images": images, "epochs": 1, "lr": 1e-4, "device": "cpu", "samples_per_class": 2,
        "validation_per_class": 4, "panels": 0, "backgrounds": "none", "swaps": 1,
    }  # fmt: skip
    shortcuts = str(tmp_path / "shortcuts.json")
    with_masks = finetune(**options, masks=masks, shortcuts=shortcuts, out=str(tmp_path / "one"))
    plain = finetune(**options, masks=masks, out=str(tmp_path / "two"))
    first, second = ((one.folder / "metrics.jsonl").read_text() for one in (with_masks, plain))
    assert first != second
    bare = finetune(**options, shortcuts=shortcuts, out=str(tmp_path / "three"))
    assert (bare.folder / "best").is_dir()
    with pytest.raises(UserError, match="--shortcuts"):
        finetune(**options, masks=masks, shortcuts=shortcuts, guidance="cross-entropy", out=str(tmp_path / "four"))
    assert not (tmp_path / "four").exists()
    arguments = ["finetune", "--model", source, "--images", images, "--shortcuts", str(tmp_path / "no.json")]
    assert cli.main([*arguments, "--out", str(tmp_path / "five")]) == 2
    assert "no.json" in capsys.readouterr().err
