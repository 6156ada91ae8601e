"""Limits on what visitors send: size, pixels and formats; and no request that makes the server fetch anything."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from robustvit.common.errors import UserError
from robustvit.data.dicom import DICOM_SUFFIXES, check_dicom
from robustvit.data.pixels import PLAIN, Pixels
from robustvit.data.read_photos import formats_of, read_photo
from robustvit.webapp.memory import StoredFiles

Message = dict[str, Any]  # of ASGI, as are the types below
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_MB = 2**20
_HARMLESS = (
    (b"content-security-policy", b"sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"),
    (b"x-content-type-options", b"nosniff"),
)


@dataclass(frozen=True)
class Limits:
    """Limits on what visitors send.

    Attributes:
        photo_bytes: size of a photo, mask or background.
        photo_pixels: its pixels, checked before decoding.
        archive_bytes: size of a zipped folder.
        stored_bytes: size of all uploads together; each is removed after an hour.
        message_bytes: size of a request without a file.
        drawing_bytes: size of a drawing.
        audit_photos: photos in an archive, and as many masks.
        audit_bytes: size of an unpacked archive.
        audit_seconds: duration of an audit.
    """

    photo_bytes: int = 20 * _MB
    photo_pixels: int = 50_000_000
    archive_bytes: int = 200 * _MB
    stored_bytes: int = 2000 * _MB
    message_bytes: int = _MB // 4
    drawing_bytes: int = 8 * _MB
    audit_photos: int = 1000
    audit_bytes: int = 1000 * _MB
    audit_seconds: float = 3600.0


def check_image(path: str | Path, limits: Limits) -> None:
    """Check that an image may be decoded, from its size and header alone."""
    path = Path(path)
    check_size(path, limits)
    if path.suffix.lower() in DICOM_SUFFIXES:
        try:
            check_dicom(path, limits.photo_pixels)
        except UserError as error:
            raise UserError(str(error).replace(str(path), path.name)) from error
        return
    try:
        with Image.open(path, formats=formats_of(path)) as image:
            width, height = image.size
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(path, "more", limits) from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise UserError(
            f"{path.name} is not an image in a known format: expected JPEG, PNG, WebP, TIFF, BMP, GIF, PPM, HEIC, AVIF "
            "or DICOM; choose another file or convert it"
        ) from error
    if width * height > limits.photo_pixels:
        raise _too_many_pixels(path, f"{width} x {height}", limits)


def check_size(path: str | Path, limits: Limits) -> None:
    """Check that an image file is not too large."""
    size = Path(path).stat().st_size
    if size > limits.photo_bytes:
        raise UserError(
            f"{Path(path).name} is too large: {size / _MB:.1f} MB, expected at most {limits.photo_bytes // _MB} MB; "
            "save it smaller"
        )


def _too_many_pixels(path: Path, got: str, limits: Limits) -> UserError:
    most = limits.photo_pixels // 1_000_000
    return UserError(f"{path.name} has too many pixels: expected at most {most} million, got {got}; save it smaller")


def read_limited(path: str | Path, limits: Limits, pixels: Pixels = PLAIN) -> Image.Image:
    """Read a photo of a visitor within the limits; messages give the name of the file, not its path."""
    check_image(path, limits)
    try:
        return read_photo(path, pixels=pixels)
    except UserError as error:
        raise UserError(str(error).replace(str(path), Path(path).name)) from error


class LimitedRequests:
    """ASGI middleware that limits the size of requests and refuses those that make the server fetch something.

    Files are sent with headers that stop scripts in them: visitors can also upload HTML and SVG.

    Args:
        app: application.
        limits: size limits.
        stored: uploads so far.
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
        most = self._most(path)
        if _content_length(scope) > most:
            await refuse(send, 413, f"Too large: expected at most {most // _MB or 1} MB.")
            return
        if path.rstrip("/").endswith(("/upload", "/component_server")):
            with self.stored.room_for(_content_length(scope) or most) as fits:
                if fits:
                    await self.app(scope, _Counted(receive, most), send)
                else:
                    await refuse(send, 507, "The server holds as many files as it may: try again in an hour.")
            return
        message = await _whole_message(receive, most)
        if message is None:
            await refuse(send, 413, "The message is too large.")
        elif _names_address(message):
            await refuse(send, 403, "Send files by uploading them: this server fetches nothing from elsewhere.")
        else:
            await self.app(scope, _Replayed(message, receive), send)

    def _most(self, path: str) -> int:
        path = path.rstrip("/")
        if path.endswith("/upload"):
            return self.limits.archive_bytes + _MB
        return self.limits.drawing_bytes if path.endswith("/component_server") else self.limits.message_bytes


class _Counted:
    """Receives a body, and disconnects once it is longer than allowed, whatever length was declared."""

    def __init__(self, receive: Receive, most: int) -> None:
        self.receive, self.left = receive, most

    async def __call__(self) -> Message:
        message = await self.receive()
        self.left -= len(message.get("body", b""))
        return message if self.left >= 0 else {"type": "http.disconnect"}


class _Replayed:
    """Replays a body that was already read, then receives what follows."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self.body: bytes | None = body
        self.receive = receive

    async def __call__(self) -> Message:
        if self.body is None:
            return await self.receive()
        body, self.body = self.body, None
        return {"type": "http.request", "body": body, "more_body": False}


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
