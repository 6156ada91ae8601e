"""The app without a browser: answers, masks, swaps, panels, limits and what the command refuses."""

from __future__ import annotations

import asyncio
import html
import importlib.util
import json
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.drawn_photos import CLASSES, draw_photo
from helpers.hostile import png
from helpers.new_formats import write_dicom
from helpers.small_models import SIZE, tiny_network
from robustvit import UserError
from robustvit.cli import main as cli
from robustvit.common.pictures import overlay
from robustvit.common.run_folder import RunFolder
from robustvit.data.datasets import evaluation_transform
from robustvit.explanation.maps import relevance
from robustvit.models.classifier import Classifier
from robustvit.webapp.actions import OWN_PHOTO, Actions
from robustvit.webapp.app import start_app
from robustvit.webapp.audit_tab import AuditJobs, find_folders
from robustvit.webapp.examples import write_examples
from robustvit.webapp.limits import Limits, read_limited
from robustvit.webapp.memory import Recent, Results, StoredFiles
from robustvit.webapp.middleware import LimitedRequests, OwnPageOnly
from robustvit.webapp.prediction import Explorer
from robustvit.webapp.shown_models import backbone_options


@pytest.fixture(scope="module")
def explorer():
    models = {}
    for seed, title in enumerate(("Baseline", "Model")):
        network = tiny_network()
        torch.manual_seed(seed)
        torch.nn.init.normal_(network.head.weight)
        models[title] = Classifier(network, class_names=CLASSES)
    return Explorer(models, Limits(photo_bytes=200_000, photo_pixels=10_000))


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    draw_photo(np.random.default_rng(0), 1)[0].resize((64, 56)).save(path)
    return str(path)


@pytest.fixture
def actions(explorer, tmp_path):
    examples = write_examples(tmp_path / "examples", ["cat"])
    return Actions(explorer, examples, Results(tmp_path / "results", most=2), explorer.models["Baseline"])


def test_answers_are_those_of_the_models_asked_plainly(explorer, photo):
    answers = explorer.explain(explorer.read(photo).inputs, 2, "rollout")
    for answer, model in zip(answers, explorer.models.values(), strict=True):
        image = evaluation_transform(model.preprocessing)(Image.open(photo).convert("RGB"))[None]
        image = image.as_subclass(torch.Tensor)
        with torch.no_grad():
            said = model(image).softmax(1)[0]
        found = relevance(model, image, torch.tensor([2]), method="rollout").detach()[0]
        assert [name for name, _ in answer.top] == [CLASSES[i] for i in said.argsort(descending=True)]
        np.testing.assert_allclose([p for _, p in answer.top], said.sort(descending=True).values, rtol=1e-5)
        assert answer.explained == CLASSES[2]
        np.testing.assert_allclose(answer.relevance, found, atol=1e-5)
        np.testing.assert_array_equal(answer.overlay(0.3), overlay(image[0], answer.relevance, 0.3))


def test_opacity_needs_no_model_and_memory_is_bounded(explorer, actions, photo, monkeypatch):
    actions.show(photo, -1, "gae", 50)
    monkeypatch.setattr(Explorer, "_predict", lambda *_: pytest.fail("a model was asked again"))
    pages = {actions.show(photo, -1, "gae", opacity) for opacity in (0, 20, 100)}
    assert len(pages) == 3
    kept = Recent(3)
    for number in range(10):
        assert kept.get_or_make(number, lambda number=number: str(number)) == str(number)
        kept.get(7)
    assert len(kept) == 3
    assert kept.get(7) == "7"
    assert kept.get(6) is None


def test_many_threads_get_what_one_gets(explorer, tmp_path):
    files = []
    for number in range(6):
        files.append(tmp_path / f"{number}.png")
        draw_photo(np.random.default_rng(number), number % 3)[0].save(files[-1])
    alone = Explorer(explorer.models)
    right = [alone.explain(alone.read(path).inputs, n % 3) for n, path in enumerate(files)]
    shared, wrong = Explorer(explorer.models), []

    def ask(start: int) -> None:
        for n in range(12):
            which = (start + n) % 6
            answers = shared.explain(shared.read(files[which]).inputs, which % 3)
            if not all(torch.equal(a.relevance, b.relevance) for a, b in zip(answers, right[which], strict=True)):
                wrong.append(which)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_swapped_photo_is_object_on_background(actions, explorer, photo, tmp_path):
    mask = np.zeros((56, 64), np.uint8)
    mask[20:40, 20:40] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    drawing = Image.new("RGBA", (64, 56))
    drawing.paste((255, 0, 0, 255), (20, 20, 40, 40))
    by_file = actions.swap(photo, -1, "gae", 50, Actions.FILE, None, str(tmp_path / "mask.png"), "plain grey", None)
    drawn = actions.swap(photo, -1, "gae", 50, Actions.DRAWN, {"layers": [drawing]}, None, "plain grey", None)
    assert by_file == drawn
    assert by_file[1] is True
    assert 'alt="Mask: the object' in by_file[0]
    _, after, seen = actions._swap_photo(
        photo, -1, "gae", Actions.FILE, None, str(tmp_path / "mask.png"), "plain grey", None
    )
    image = next(iter(explorer.read(photo).inputs.values()))
    for row, column in ((2, 2), (24, 24), (SIZE - 1, 5)):
        expected = image[:, row, column] if seen[0, row, column] else torch.full((3,), 127 / 255)
        torch.testing.assert_close(after[0].image[:, row, column], expected)
    other = actions.swap(photo, -1, "gae", 50, Actions.FILE, None, str(tmp_path / "mask.png"), OWN_PHOTO, photo)
    assert other[0] != by_file[0]


def test_swaps_that_cannot_be_made_say_why(actions, photo, tmp_path):
    def swap(source, drawing=None, file=None, background="grass", own=None):
        actions.swap(photo, -1, "gae", 50, source, drawing, file, background, own)

    Image.new("L", (20, 200), 255).save(tmp_path / "other.png")
    Image.new("L", (64, 56)).save(tmp_path / "empty.png")
    full = [Image.new("RGBA", (64, 56), "red")]
    for options, words in (
        ({"source": Actions.DRAWN}, "the drawing is empty"),
        ({"source": Actions.DRAWN, "drawing": {"layers": full}}, "covers the whole frame"),
        ({"source": Actions.FILE}, "expected a mask file"),
        ({"source": Actions.FILE, "file": str(tmp_path / "empty.png")}, "empty mask"),
        ({"source": Actions.FILE, "file": str(tmp_path / "other.png")}, "covers the whole frame"),
        ({"source": Actions.OWN}, "only examples come with a mask"),
    ):
        with pytest.raises(UserError, match=words) as said:
            swap(**options)
        assert str(tmp_path) not in str(said.value)


def test_panel_has_a_row_for_each_picture_and_old_results_go(actions, photo):
    how = (Actions.FOUND, None, None, "grass", None)
    made = [actions.panel(photo, 0, "gae", 50, False, *how) for _ in range(3)]
    with pytest.raises(FileNotFoundError):
        Image.open(made[0])
    with Image.open(made[2]) as panel:
        assert panel.format == "PNG"
        assert panel.width > 2.5 * panel.height  # photo and two models


def test_examples_of_models_that_know_the_scenes_have_masks(tmp_path):
    from robustvit.data.embedded.scenes import CLASSES as SYMBOLS

    for example in write_examples(tmp_path, list(SYMBOLS)):
        assert example.mask is not None
        with Image.open(example.file) as photo:
            assert example.mask.shape == (photo.height, photo.width)
    assert all(example.mask is None for example in write_examples(tmp_path / "photos", ["cat", "dog"]))


def test_photos_beyond_the_limits_are_refused_undecoded(explorer, tmp_path):
    limits = explorer.limits
    png(tmp_path / "bomb.png", 30_000, 30_000)
    Image.new("RGB", (200, 200)).save(tmp_path / "large.png")
    (tmp_path / "heavy.png").write_bytes(b"x" * 200_001)
    (tmp_path / "letter.jpg").write_text("Dear all")
    (tmp_path / "drawing.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")
    for name, words in (
        ("bomb.png", "too many pixels"),
        ("large.png", "too many pixels"),
        ("heavy.png", "too large"),
        ("letter.jpg", "not an image"),
        ("drawing.eps", "not an image"),
    ):
        with pytest.raises(UserError, match=words) as said:
            explorer.read(tmp_path / name)
        assert str(tmp_path) not in str(said.value)
    whole = tmp_path / "whole.png"
    draw_photo(np.random.default_rng(0), 0)[0].save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:500])
    with pytest.raises(UserError, match="cut off") as said:
        read_limited(tmp_path / "cut.png", limits)
    assert str(tmp_path) not in str(said.value)


def test_dicom_is_read_within_the_limits(explorer, tmp_path):
    pytest.importorskip("pydicom")
    write_dicom(tmp_path / "scan.dcm", np.linspace(0, 4095, 64 * 64).reshape(64, 64).astype(np.uint16), stored=12)
    assert read_limited(tmp_path / "scan.dcm", explorer.limits).size == (64, 64)
    (tmp_path / "letter.dcm").write_text("Dear all")
    (tmp_path / "heavy.dcm").write_bytes(b"x" * 200_001)
    for name, words in (("letter.dcm", "not DICOM"), ("heavy.dcm", "too large")):
        with pytest.raises(UserError, match=words) as said:
            read_limited(tmp_path / name, explorer.limits)
        assert str(tmp_path) not in str(said.value)


def asked(path: str, body: bytes, headers=(), chunks: int = 1) -> tuple[int, bytes]:
    """What the middleware answers, or 200 and the body that reached the app behind it."""
    sent, reached = [], []
    size = -(-len(body) // chunks) or 1
    parts = [body[n : n + size] for n in range(0, len(body), size)] or [b""]
    messages = [{"type": "http.request", "body": part, "more_body": part is not parts[-1]} for part in parts]

    async def receive():
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    async def behind(scope, receive, send):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            reached.append(message["body"])
            if not message["more_body"]:
                await send({"type": "http.response.start", "status": 200})
                return

    limits = Limits(message_bytes=1000, drawing_bytes=2000, archive_bytes=5000)
    scope = {"type": "http", "path": path, "headers": list(headers)}
    asyncio.run(
        LimitedRequests(behind, limits, StoredFiles(Path("nowhere"), limits.stored_bytes))(scope, receive, send)
    )
    return (sent[0]["status"] if sent else 0), b"".join(reached)


def test_requests_are_bounded_and_name_no_addresses():
    message = json.dumps({"data": [{"path": "/tmp/x", "url": "http://127.0.0.1:1/gradio_api/file=/tmp/x"}]}).encode()
    assert asked("/gradio_api/queue/join", message, chunks=3) == (200, message)
    assert asked("/gradio_api/queue/join", b"x" * 1001, chunks=4)[0] == 413
    assert asked("/gradio_api/upload", b"x" * 1001, chunks=4) == (200, b"x" * 1001)
    assert asked("/gradio_api/upload", b"", [(b"content-length", b"99999999")])[0] == 413
    assert asked("/gradio_api/component_server", b"x" * 2001, chunks=2)[0] == 0  # cut short, whatever it said
    for named in ({"path": "http://x/y.png"}, {"path": "file:///etc/passwd"}, {"url": "data:image/png;base64,AA"}):
        assert asked("/gradio_api/queue/join", json.dumps({"data": [[{"a": named}]]}).encode())[0] == 403
    for path in ("/gradio_api/file=http://x/y", "/gradio_api/file=//ftp://x", "/gradio_api/proxy=https://x"):
        assert asked(path, b"")[0] == 403


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("127.0.0.1:7860", None, 200), ("localhost:7860", "http://localhost:7860", 200),
        ("[::1]:7860", "http://[::1]:7860", 200), ("LOCALHOST", "http://127.0.0.1:3000", 200),
        ("models.example.org", "https://models.example.org", 200),
        ("127.0.0.1:7860", "https://models.example.org", 200),
        ("evil.example", None, 403), ("evil.example:7860", "http://evil.example:7860", 403),
        ("127.0.0.1:7860", "https://evil.example", 403), ("127.0.0.1:7860", "null", 403),
        ("localhost.evil.example", None, 403), ("127.0.0.1@evil.example", None, 403), ("", None, 403),
        ("127.0.0.1:7860", "http://localhost@evil.example", 403), ("127.0.0.1:7860", "file://", 403),
    ],
)  # fmt: skip
def test_only_the_page_under_a_name_of_this_machine_is_answered(host, origin, status):
    sent = []

    async def send(message):
        sent.append(message)

    async def behind(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})

    headers = [(b"host", host.encode())] + ([] if origin is None else [(b"origin", origin.encode())])
    for kind in ("http", "websocket"):
        scope = {"type": kind, "path": "/gradio_api/upload", "headers": headers}
        asyncio.run(OwnPageOnly(behind, public_host="models.example.org")(scope, None, send))
    assert sent[0]["status"] == status
    assert sent[-1]["type"] == ("http.response.start" if status == 200 else "websocket.close")
    if "models" in str((host, origin)):
        asyncio.run(OwnPageOnly(behind)({"type": "http", "path": "/", "headers": headers}, None, send))
        assert sent[-2]["status"] == 403, "a proxy's name is answered only if it was given"


def test_uploads_have_a_total(tmp_path):
    stored = StoredFiles(tmp_path, 1000)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.png").write_bytes(bytes(400))
    with stored.room_for(500) as fits, stored.room_for(200) as beside:
        assert (fits, beside) == (True, False), "what is on its way counts"
    with stored.room_for(600) as fits:
        assert fits
    with stored.room_for(601) as fits:
        assert not fits
    (tmp_path / "files" / "a.png").unlink()
    with stored.room_for(1000) as fits:
        assert fits


def test_files_are_marked_so_that_nothing_in_them_runs():
    async def behind(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
        await send({"type": "http.response.body", "body": b"<script>"})

    def headers(path: str) -> dict[bytes, bytes]:
        sent = []

        async def send(message):
            sent.append(message)

        async def receive():
            return {"type": "http.request", "body": b""}

        scope = {"type": "http", "path": path, "headers": []}
        asyncio.run(LimitedRequests(behind, Limits(), StoredFiles(Path("nowhere"), 0))(scope, receive, send))
        assert sent[1]["body"] == b"<script>"
        return dict(sent[0]["headers"])

    for path in ("/gradio_api/file=/tmp/a.html", "/file=/tmp/a.svg"):
        found = headers(path)
        assert found[b"content-type"] == b"text/html"
        assert found[b"content-security-policy"].split(b";")[0] == b"sandbox"
        assert found[b"x-content-type-options"] == b"nosniff"
    assert set(headers("/")) == {b"content-type"}


def test_folders_in_archives_are_found_however_they_are_packed(tmp_path):
    for name in ("a/images/cat", "a/masks/cat", "b/set/images/cat", "b/set/masks/cat", "c/cat", "c/dog", "d/x/cat"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "d/x/dog").mkdir()
    (tmp_path / "e/masks").mkdir(parents=True)
    assert find_folders(tmp_path / "a") == (tmp_path / "a/images", tmp_path / "a/masks")
    assert find_folders(tmp_path / "b") == (tmp_path / "b/set/images", tmp_path / "b/set/masks")
    assert find_folders(tmp_path / "c") == (tmp_path / "c", None)
    assert find_folders(tmp_path / "d") == (tmp_path / "d/x", None)
    with pytest.raises(UserError, match="images"):
        find_folders(tmp_path / "e")


def test_archives_that_cannot_be_used_leave_nothing(tmp_path):
    (tmp_path / "work").mkdir()
    jobs = AuditJobs({}, tmp_path / "work", Results(tmp_path / "results"), Limits(archive_bytes=10_000))
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../../evil.png", b"x")
    (tmp_path / "none.zip").write_text("not a zip")
    (tmp_path / "large.zip").write_bytes(b"x" * 10_001)
    for file in (None, "evil.zip", "none.zip", "large.zip"):
        with pytest.raises(UserError) as said:
            jobs.run(None if file is None else str(tmp_path / file), lambda *_: None)
        assert str(tmp_path) not in str(said.value)
    assert list((tmp_path / "work").iterdir()) == []
    assert not list(tmp_path.rglob("evil.png"))


def test_visitors_learn_no_folder_of_a_model(tmp_path, photo, monkeypatch):
    model = tmp_path / "R&D" / "my_vit"
    model.mkdir(parents=True)
    settings = {"model": f"local-dir:{model}", "baseline": None, "mask_model": str(model), "mask_checkpoint": None}

    def audit(given, *_):
        Path(given["out"]).write_text(f"<p>{html.escape(str(model))}</p>")
        return "cannot tell", [f"local-dir:{model} on 5 photos", f"TokenCut found them with {model}"]

    monkeypatch.setattr("robustvit.webapp.audit_tab.audit_apart", audit)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(photo, "disc/0.png")
    jobs = AuditJobs(settings, tmp_path, Results(tmp_path / "results"), Limits())
    words, page = jobs.run(str(tmp_path / "photos.zip"), lambda *_: None)
    assert str(tmp_path) not in words + page.read_text()
    assert "<p>my_vit on 5 photos</p><p>TokenCut found them with my_vit</p>" in words
    assert page.read_text() == "<p>my_vit</p>"


def test_visitors_learn_no_folder_of_the_original_of_a_run(tmp_path):
    run, base = RunFolder(tmp_path / "run"), tmp_path / "models" / "base"
    base.mkdir(parents=True)
    run.start({"model": f"local-dir:{base}", "recipe": None, "checkpoint": None})
    settings = {"model": str(run.path), "baseline": "original", "mask_model": "vit_small_patch16_224.dino"}
    jobs = AuditJobs(settings, tmp_path, Results(tmp_path / "results"), Limits())
    shown = jobs._hide_folders(f"{run.path}, compared with local-dir:{base}", tmp_path / "1")
    assert shown == "run, compared with base"


def test_names_of_models_are_hidden_as_whole_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("m/v", "m/v/best", "vit"):
        Path(name).mkdir(parents=True, exist_ok=True)
    settings = {"model": "m/v", "baseline": "m/v/best", "checkpoint": None, "mask_model": "local-dir:vit"}
    jobs = AuditJobs(settings, tmp_path / "work", Results(tmp_path / "results"), Limits())
    text = "m/v, local-dir:m/v/best and local-dir:vit; m/vis; data:image/png;base64,Am/v9+m/v="
    shown = jobs._hide_folders(text, tmp_path / "work" / "1")
    assert shown == "v, best and vit; m/vis; data:image/png;base64,Am/v9+m/v="


@pytest.mark.slow  # imports Gradio
def test_command_says_what_is_wrong_before_it_loads_anything(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("gradio")
    for arguments, words in (
        (["--port", "0"], "1 to 65535"),
        (["--port", "99999"], "1 to 65535"),
        (["--auth", "name"], "NAME:PASSWORD"),
        (["--host", "203.0.113.7"], "cannot listen"),
        (["--model", "no/such"], "found none"),
        (["--checkpoint", "x.pth"], "--model"),
    ):
        assert cli.main(["app", *arguments]) == 2
        assert words in capsys.readouterr().err


def test_missing_gradio_is_one_line(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr("robustvit.webapp.app.find_spec", lambda name: None if name == "gradio" else real(name))
    with pytest.raises(UserError, match=r"pip install 'robustvit\[app\]'"):
        start_app()


def test_objects_are_found_by_the_baseline_in_audits_too(tmp_path):
    """As in the tab of single photos: a model that was guided with masks should not judge itself by its own."""
    run = RunFolder(tmp_path / "run")
    run.start({"model": None, "recipe": "deit-s", "checkpoint": "mine.pth"})
    found = backbone_options(str(run.path), "original", None)
    assert found == {"mask_model": "deit-s", "mask_checkpoint": "mine.pth"}
    assert backbone_options("m", "b", "mine.pth") == {"mask_model": "b", "mask_checkpoint": None}
    assert backbone_options("m", None, "mine.pth") == {"mask_model": "m", "mask_checkpoint": "mine.pth"}


def test_dicom_has_the_limit_of_pixels_of_all_photos(explorer, tmp_path):
    write_dicom(tmp_path / "scan.dcm", np.zeros((64, 65), np.uint8))
    assert read_limited(tmp_path / "scan.dcm", Limits(photo_pixels=64 * 65)).size == (65, 64)
    with pytest.raises(UserError, match="65 x 64 pixels are more than the 4,096") as said:
        read_limited(tmp_path / "scan.dcm", Limits(photo_pixels=64 * 64))
    assert str(tmp_path) not in str(said.value)
