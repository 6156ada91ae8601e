"""The app as its visitors' machines meet it: files, limits, many clients at once, and slow ones."""

from __future__ import annotations

import ctypes
import gc
import pickle
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio")

from helpers.app_server import EMBEDDED, as_photo, call, other_model, running, upload
from helpers.hostile import Evil
from helpers.run_server import PATIENCE
from robustvit.data.embedded.scenes import make_scene
from robustvit.models.load import load_model
from robustvit.webapp.prediction import Explorer, ModelAnswer, Picture
from robustvit.webapp.rendering import render_answers

pytestmark = pytest.mark.app


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("models")) as started:
        yield started


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server.url, timeout=PATIENCE) as opened:
        yield opened


def scenes(folder: Path, count: int) -> list[Path]:
    made = []
    for number in range(count):
        scene = make_scene(number % 10, (3 * number) % 10, np.random.default_rng([5, number]))
        made.append(folder / f"scene-{number}.png")
        Image.fromarray(scene.image).save(made[-1])
    return made


def resident() -> int:
    """Memory of this process in bytes, less what was freed: the allocator keeps that for each thread."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc
        trim(0)
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024


def slow_uploads(server, over: threading.Event, count: int = 5) -> list[threading.Thread]:
    """Clients that send a photo one byte at a time, and never end."""
    host, port = re.match(r"http://([\d.]+):(\d+)/", server.url).groups()

    def dribble():
        with socket.create_connection((host, int(port))) as line:
            line.sendall(
                b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
                b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
                b'--b\r\nContent-Disposition: form-data; name="files"; filename="slow.png"\r\n\r\n'
            )
            while not over.wait(0.1):
                line.sendall(b"x")

    threads = [threading.Thread(target=dribble, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def answers_alone(models, photos: list[Path], questions: list) -> dict:
    """What one visitor alone is answered; the caches that this fills end with it."""
    alone = Explorer(models)
    return {
        (photo, label, method, opacity): render_answers(
            alone.explain(alone.read(photos[photo]).inputs, None if label < 0 else label, method), opacity / 100
        )
        for photo, label, method, opacity in questions
    }


def alive(kind: type) -> int:
    gc.collect()
    return sum(type(one) is kind for one in gc.get_objects())


def test_twenty_clients_get_right_answers_while_slow_ones_dribble(server, client, tmp_path):
    photos = scenes(tmp_path, 40)
    others = alive(Picture)  # those of servers that other tests of this process have started
    models = {"Baseline": load_model(EMBEDDED), "Model": load_model(other_model(tmp_path / "other"))}
    methods = ("gae", "rollout")
    # the questions of the second round are about other photos, so that no cache has their answers
    rounds = [[(first + n % 20, (n // 20) % 10 - 1, methods[n % 2], 10 * (n % 7)) for n in range(100)]
              for first in (0, 20)]  # fmt: skip

    expected = answers_alone(models, photos, [one for asked in rounds for one in asked])

    def visit(number: int, questions: list) -> list[bool]:
        with httpx.Client(base_url=server.url, timeout=PATIENCE) as own:
            right = []
            for one in questions:
                event, (said,) = call(own, "explain", places[one[0]], *one[1:], session=f"visitor{number}")
                right.append(event == "complete" and said == expected[one])
            return right

    over = threading.Event()
    slow = slow_uploads(server, over)
    kept = []
    try:
        places = [as_photo(upload(client, photo)) for photo in photos]
        for asked in rounds:
            with ThreadPoolExecutor(20) as pool:
                answers = list(pool.map(visit, range(20), [asked[number::20] for number in range(20)]))
            assert [len(one) for one in answers] == [5] * 20
            assert all(all(one) for one in answers)
            kept.append(resident())
    finally:
        over.set()
    for thread in slow:
        thread.join(PATIENCE)
    assert alive(Picture) - others <= 24
    assert alive(ModelAnswer) <= 64 * len(models)
    # The first round fills the caches, starts every thread and opens the sessions; the second may keep next to nothing.
    assert kept[1] - kept[0] < 40e6, kept


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=//etc/passwd",
        "/gradio_api/file=../../../../../../etc/passwd",
        "/gradio_api/file=%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/gradio_api/file=/tmp/../etc/passwd",
        "/gradio_api/file=file:///etc/passwd",
        "/gradio_api/file=http://127.0.0.1:1/x",
        "/gradio_api/file=https://example.org/x",
        "/gradio_api/proxy=http://127.0.0.1:1/x",
        "/gradio_api/file/etc/passwd",
        "/file=/etc/passwd",
        "/assets/../../../../../../../etc/passwd",
        "/assets/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/static/..%2f..%2f..%2f..%2f..%2f..%2fetc/passwd",
        "/svelte/..%2f..%2f..%2f..%2f..%2fetc/passwd",
        "/custom_component/x/../../../etc/passwd",
        "/gradio_api/file={module}",
        "/gradio_api/file={model}",
        "/gradio_api/file={folder}/files/../results",
        "/monitoring",
        "/docs",
    ],
)
def test_no_path_of_the_server_can_be_read(server, path):
    host, port = re.match(r"http://([\d.]+):(\d+)/", server.url).groups()
    module = Path(sys.modules["robustvit.webapp.app"].__file__)
    weights = files("robustvit.data.embedded") / "model" / "model.safetensors"
    path = path.format(module=module, model=weights, folder=server.folder)
    with socket.create_connection((host, int(port))) as line:  # clients tidy paths up; this one does not
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    status = int(answer.split()[1])
    assert status in (400, 403, 404, 405, 422), answer[:200]
    assert b"root:" not in answer
    assert b"def app(" not in answer


def test_files_that_were_not_uploaded_are_not_taken(server, client):
    for path in ("/etc/passwd", str(Path(sys.modules["robustvit.webapp.app"].__file__))):
        event, said = call(client, "explain", as_photo(path), -1, "gae", 50)
        assert event == "error"
        assert "root:" not in str(said)
    for photo in (as_photo("http://127.0.0.1:1/x.png"), {"path": None, "url": "data:image/png;base64,AAAA"}):
        answer = client.post("/gradio_api/call/explain", json={"data": [photo, -1, "gae", 50]})
        assert answer.status_code == 403


@pytest.mark.parametrize("name", ["page.html", "drawing.svg", "photo.png", "photo.jpg"])
def test_no_script_of_an_uploaded_file_runs_in_another_browser(client, tmp_path, name):
    script = "<svg xmlns='http://www.w3.org/2000/svg'><script>document.title = 'ran'</script></svg>"
    (tmp_path / name).write_text(script)
    answer = client.get(f"/gradio_api/file={upload(client, tmp_path / name)}")
    assert answer.text == script
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert "allow" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "content-security-policy" not in client.get("/config").headers


def test_requests_that_are_too_large_are_refused(client):
    assert client.post("/gradio_api/call/explain", content=b"[" * 300_000).status_code == 413
    host, port = client.base_url.host, client.base_url.port
    with socket.create_connection((host, port)) as line:  # refused before the body is sent
        line.sendall(
            f"POST /gradio_api/upload HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {2**40}\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\n\r\n".encode()
        )
        assert b" 413 " in line.recv(65536)


def test_no_endpoint_takes_a_checkpoint_and_no_code_of_a_visitor_runs(client, tmp_path):
    config = client.get("/config").json()
    takes = {
        entry["props"].get("label"): entry["props"].get("file_types")
        for entry in config["components"]
        if entry["type"] in ("file", "uploadbutton") and entry["props"].get("interactive") is not False
    }
    assert takes == {"Zipped folder": [".zip"]}
    assert set(client.get("/gradio_api/info").json()["named_endpoints"]) == {"/explain", "/audit"}
    mark = tmp_path / "mark"
    harm = pickle.dumps(Evil(mark))
    for name in ("model.pth", "photo.png", "photo.pt", "photo.npy"):
        (tmp_path / name).write_bytes(harm)
        event, said = call(client, "explain", as_photo(upload(client, tmp_path / name)), -1, "gae", 50)
        assert event == "complete"
        assert 'role="alert"' in said[0]
        assert "not an image" in said[0]
    with zipfile.ZipFile(tmp_path / "folder.zip", "w") as archive:
        archive.writestr("heart/model.pth", harm)
        archive.writestr("heart/config.json", "{}")
    event, said = call(client, "audit", as_photo(upload(client, tmp_path / "folder.zip")))
    assert event == "complete"
    assert 'role="alert"' in said[0]
    assert "photos" in said[0]
    assert not mark.exists()


def test_settings_that_the_page_does_not_offer_are_refused(client, tmp_path):
    photo = as_photo(upload(client, scenes(tmp_path, 1)[0]))
    for settings in ((99, "gae", 50), (-1, "nonsense", 50), ("heart", "gae", 50), (-1, "gae", "much")):
        event, said = call(client, "explain", photo, *settings)
        assert event == "error"
        assert "Traceback" not in str(said)
        assert "site-packages" not in str(said)
    assert call(client, "explain", photo, -1, "gae", 50)[0] == "complete"


def test_bad_requests_leave_no_traceback_in_the_log(client, capfd):
    theirs = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
    for values in ([theirs, -1, "gae", 50], [None, "x", "gae", 50], [None, -1, "no method", 50],
                   [None, -1, "gae", "much"], [3, -1, "gae", 50], []):  # fmt: skip
        assert call(client, "explain", *values)[0] == "error"
    for path, message in (
        ("call/nothing", {"data": []}), ("queue/join", {"fn_index": 999, "data": [], "session_hash": "a"}),
        ("component_server", {"component_id": 999, "fn_name": "x", "session_hash": "a", "data": 1}),
    ):  # fmt: skip
        assert client.post(f"/gradio_api/{path}", json=message).status_code == 400
    log = capfd.readouterr().err
    assert "Traceback" not in log
    assert log.count("a request to /gradio_api/") == 3


def test_pages_of_other_sites_are_not_answered(client, tmp_path):
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        assert client.post("/gradio_api/upload", files={"files": ("a.png", b"x")}, headers=headers).status_code == 403
        assert client.get("/config", headers=headers).status_code == 403
    own = {"Origin": str(client.base_url).rstrip("/")}
    assert client.post("/gradio_api/upload", files={"files": ("a.png", b"x")}, headers=own).status_code == 200


def test_only_this_machine_reaches_it(server):
    port = int(re.search(r":(\d+)/", server.url)[1])
    listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    places = re.findall(rf"^\s*\d+: ([0-9A-F]+):{port:04X} [0-9A-F]+:0000 0A", listening, re.MULTILINE)
    assert places == ["0100007F"]  # 127.0.0.1, as the kernel writes it


def test_command_with_the_embedded_model_starts_and_ends(tmp_path):
    started = time.monotonic()
    command = [sys.executable, "-m", "robustvit.cli", "app"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("open "), process.stderr.read()
            print(f"started in {time.monotonic() - started:.1f} s")
            url = re.match(r"open (http://127\.0\.0\.1:\d+/) in a browser", line)[1]
            assert httpx.get(url).status_code == 200
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert "Traceback" not in process.stderr.read()
