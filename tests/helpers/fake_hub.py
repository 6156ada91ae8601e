"""A hub on loopback: the endpoints that huggingface_hub uses to make a repository and to commit a folder to it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class FakeHub:
    """What it was sent.

    Attributes:
        endpoint: its address.
        token: the only one that may write.
        repositories: visibility by name.
        files: by repository and revision, the files by path.
        requests: method and path, in order.
    """

    endpoint: str = ""
    token: str = "hf_fake"
    repositories: dict[str, str | None] = field(default_factory=dict)
    files: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)
    bad_card: bool = False


@contextmanager
def fake_hub(**settings) -> Iterator[FakeHub]:
    hub = FakeHub(**settings)

    class Handler(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: FakeHub

    def log_message(self, *_):
        pass

    def do_POST(self):
        hub, body = self.state, self.body()
        if self.path == "/api/validate-yaml":
            errors = [{"message": "license is odd"}] if hub.bad_card else []
            return self.answer({"errors": errors, "warnings": []}, 400 if errors else 200)
        if self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self.answer({"error": "Invalid credentials in Authorization header"}, 401)
        if self.path == "/api/repos/create":
            return self.create(json.loads(body))
        parts = self.path.split("?")[0].strip("/").split("/")
        if self.path.endswith(".git/info/lfs/objects/batch"):
            return self.batch(json.loads(body))
        if parts[:2] == ["api", "models"] and "/".join(parts[2:4]) in hub.repositories:
            name, action, revision = "/".join(parts[2:4]), parts[4], parts[5]
            if action == "branch":
                hub.files.setdefault((name, revision), {})
                return self.answer({})
            if (name, revision) in hub.files:
                return getattr(self, action)(name, revision, body)
        return self.answer({"error": "Not Found"}, 404)

    def do_PUT(self):
        oid = self.path.rsplit("/", 1)[1]
        self.state.objects[oid] = self.body()
        self.answer({})

    def create(self, wanted):
        name = f"{wanted['organization']}/{wanted['name']}"
        url = {"url": f"{self.state.endpoint}/{name}"}
        if name in self.state.repositories:
            return self.answer({"error": "You already created this model repo", **url}, 409)
        older = {True: "private", False: "public", None: None}[wanted.get("private")]  # huggingface_hub below 2
        self.state.repositories[name] = wanted.get("visibility", older)
        self.state.files[name, "main"] = {}
        return self.answer(url)

    def preupload(self, name, revision, body):
        files = json.loads(body)["files"]
        large = (".safetensors", ".onnx")
        modes = {file["path"]: "lfs" if file["path"].endswith(large) else "regular" for file in files}
        self.answer({"files": [{"path": p, "uploadMode": mode, "shouldIgnore": False} for p, mode in modes.items()]})

    def batch(self, wanted):
        objects = [
            {
                "oid": one["oid"],
                "size": one["size"],
                "actions": {"upload": {"href": f"{self.state.endpoint}/objects/{one['oid']}"}},
            }
            for one in wanted["objects"]
        ]
        self.answer({"transfer": "basic", "objects": objects}, kind="application/vnd.git-lfs+json")

    def commit(self, name, revision, body):
        assert self.headers["Content-Type"] == "application/x-ndjson"
        files = self.state.files[name, revision]
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                assert value["encoding"] == "base64"
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.state.objects[value["oid"]]
            else:
                assert line["key"] == "header"
        self.answer({"commitUrl": f"{self.state.endpoint}/{name}/commit/{'0' * 40}", "commitOid": "0" * 40})

    def body(self) -> bytes:
        self.state.requests.append((self.command, self.path))
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content = b""
        while size := int(self.rfile.readline().strip(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def answer(self, content, status=200, kind="application/json"):
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
