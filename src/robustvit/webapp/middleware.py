"""ASGI middleware of the app: limits on requests, answers to its own page alone, and failures without a traceback.

No request makes the server fetch anything.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from robustvit.common.progress import warn
from robustvit.webapp.limits import MB, Limits
from robustvit.webapp.memory import StoredFiles

Message = dict[str, Any]  # of ASGI, as are the types below
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_HARMLESS = (
    (b"content-security-policy", b"sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"),
    (b"x-content-type-options", b"nosniff"),
)


class LimitedRequests:
    """ASGI middleware that limits the size of requests and refuses those that make the server fetch something.

    Files are sent with headers that stop scripts in them: visitors can also upload HTML and SVG. ``stored``: uploads
    so far.
    """

    def __init__(self, app: App, limits: Limits, stored: StoredFiles) -> None:
        self.app, self.limits, self.stored = app, limits, stored

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        if re.search(r"/(file|proxy)=/*\w+:/", path):
            await refuse(send, 403, "This server fetches nothing from elsewhere.")
            return
        if "/file=" in path:
            send = _with_safe_headers(send)
        most = self._find_limit(path)
        if _content_length(scope) > most:
            await refuse(send, 413, f"Too large: expected at most {most // MB or 1} MB.")
            return
        if path.rstrip("/").endswith(("/upload", "/component_server")):
            with self.stored.room_for(_content_length(scope) or most) as fits:
                if fits:
                    await self.app(scope, _count(receive, most), send)
                else:
                    await refuse(send, 507, "The space for uploads is full: try again in an hour.")
            return
        message = await _whole_message(receive, most)
        if message is None:
            await refuse(send, 413, "The message is too large.")
        elif _names_address(message):
            await refuse(send, 403, "Send files by uploading them: this server fetches nothing from elsewhere.")
        else:
            await self.app(scope, _replay(message, receive), send)

    def _find_limit(self, path: str) -> int:
        path = path.rstrip("/")
        if path.endswith("/upload"):
            return self.limits.archive_bytes + MB
        return self.limits.drawing_bytes if path.endswith("/component_server") else self.limits.message_bytes


def _count(receive: Receive, most: int) -> Receive:
    """Receive a body, and disconnect once it is longer than allowed, whatever length was declared."""
    left = most

    async def counted() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        return message if left >= 0 else {"type": "http.disconnect"}

    return counted


def _replay(body: bytes, receive: Receive) -> Receive:
    """Receive a body that was already read, then what follows."""
    first = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return first.pop() if first else await receive()

    return replayed


async def _whole_message(receive: Receive, most: int) -> bytes | None:
    """Read the body of a request; None if it is too long."""
    parts, length = [], 0
    while True:
        message = await receive()
        part = message.get("body", b"")
        parts.append(part)
        length += len(part)
        if length > most:
            return None
        if message["type"] != "http.request" or not message.get("more_body"):
            return b"".join(parts)


def _content_length(scope: Message) -> int:
    value = dict(scope["headers"]).get(b"content-length", b"0")
    return int(value) if value.isdigit() else 0


def _names_address(body: bytes) -> bool:
    """Whether a message refers to a file by URL, or embeds one to get around the limits on uploads."""
    try:
        waiting = [json.loads(body)] if body.lstrip()[:1] in (b"{", b"[") else []
    except (ValueError, RecursionError):
        return False  # the application refuses invalid JSON
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            named = [value.get("path"), value.get("url")]
            if re.match(r"\s*\w+://", str(named[0])) or str(named[1]).lstrip().lower().startswith("data:"):
                return True
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return False


def _with_safe_headers(send: Send) -> Send:
    """Add headers so that a browser runs no script in a file and does not guess its type."""

    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = message | {"headers": [*message.get("headers", ()), *_HARMLESS]}
        await send(message)

    return marked


async def refuse(send: Send, status: int, words: str) -> None:
    """Answer a request with a status and a line of text."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": words.encode()})


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class OwnPageOnly:
    """ASGI middleware of a server that only this machine can reach; it refuses what the pages of other sites send.

    A page of any site can send requests to this machine, and can give its own name the address of this machine (DNS
    rebinding). The first kind names another ``Origin``, the second another ``Host``. ``public_host``: name under which
    a proxy passes requests on, if there is one.
    """

    def __init__(self, app: App, public_host: str | None = None) -> None:
        self.app, self.public_host = app, public_host

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] in ("http", "websocket") and (words := self._find_problem(scope["headers"])):
            if scope["type"] == "http":
                await refuse(send, 403, words)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        await self.app(scope, receive, send)

    def _find_problem(self, headers: list[tuple[bytes, bytes]]) -> str:
        hosts = [b"//" + value for name, value in headers if name == b"host"]
        origins = [value for name, value in headers if name == b"origin"]
        if not hosts or not all(self._is_own(_name(host)) for host in hosts):
            return "This server answers only under a name of its own machine, or the one given as --public-host."
        own = all(self._is_own(_name(origin)) for origin in origins)
        return "" if own else "This server answers only its own page."

    def _is_own(self, name: str) -> bool:
        return is_loopback(name) or (name != "" and name == self.public_host)


def _name(address: bytes) -> str:
    """Return the name of the host in an address, without its port; empty if there is none."""
    try:
        return urlsplit(address.decode("ascii")).hostname or ""
    except ValueError:
        return ""


class PlainFailures:
    """ASGI middleware that answers 400 and logs a line where the application fails, never a traceback.

    Gradio fails, for example, on numbers that it never gave out.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = False

        async def told(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, told)
        except Exception as error:  # whatever a request makes of it, the server goes on
            if scope["type"] != "http":
                raise
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            warn(f"a request to {scope['path'][:80]} failed ({reason})")
            if not started:
                await refuse(send, 400, "The page cannot send such a request: reload it.")
