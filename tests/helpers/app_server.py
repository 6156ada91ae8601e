"""A running app for tests: two models side by side, and its HTTP interface without a browser."""

from __future__ import annotations

import json
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from robustvit.models.load import load_model
from robustvit.models.save import save_model
from robustvit.webapp.app import start_app

EMBEDDED = f"local-dir:{files('robustvit.data.embedded') / 'model'}"


def other_model(folder: Path) -> str:
    """The embedded model with its head's weights shaken, so that it answers differently."""
    model = load_model(EMBEDDED)
    torch.manual_seed(0)
    with torch.no_grad():
        for weights in model.network.blocks[-1].parameters():
            weights += 0.1 * weights.std(correction=0) * torch.randn_like(weights)
    return f"local-dir:{save_model(model, folder)}"


@contextmanager
def running(folder: Path, **options: Any):
    """An app with two models, ended at the end."""
    pytest.importorskip("gradio")
    server = start_app(model=other_model(folder / "other"), baseline=EMBEDDED, device="cpu", **options)
    try:
        yield server
    finally:
        server.close()
        assert not server.folder.exists()


def upload(client: httpx.Client, path: Path) -> str:
    """Send a file as the page does; where it lies on the server."""
    with path.open("rb") as file:
        answer = client.post("/gradio_api/upload", files={"files": (path.name, file)})
    assert answer.status_code == 200, answer.text
    return answer.json()[0]


def call(client: httpx.Client, name: str, *data: Any, session: str | None = None) -> tuple[str, Any]:
    """Ask one of the app's functions; ``complete`` and its values, or ``error`` and what is told of it.

    A page has one session for all of its calls; Gradio makes one for every call that names none, and keeps a thousand.
    """
    started = client.post(f"/gradio_api/call/{name}", json={"data": list(data), "session_hash": session})
    assert started.status_code == 200, started.text
    with client.stream("GET", f"/gradio_api/call/{name}/{started.json()['event_id']}") as lines:
        event = ""
        for line in lines.iter_lines():
            kind, _, content = line.partition(": ")
            if kind == "event":
                event = content
            elif kind == "data" and event in ("complete", "error"):
                return event, json.loads(content)
    raise AssertionError("no answer")


def as_photo(path: str) -> dict[str, Any]:
    """A file on the server as the page names it."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}}
