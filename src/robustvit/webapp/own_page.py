"""Who may ask the app: its own page, under a name of this machine."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from robustvit.webapp.limits import App, Message, Receive, Send, refuse


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class OwnPageOnly:
    """ASGI middleware of a server that only this machine can reach; it refuses what the pages of other sites send.

    A page of any site can send requests to this machine, and can give its own name the address of this machine (DNS
    rebinding). The first kind names another ``Origin``, the second another ``Host``.

    Args:
        app: application.
        public_host: name under which a proxy passes requests on, if there is one.
    """

    def __init__(self, app: App, public_host: str | None = None) -> None:
        self.app, self.public_host = app, public_host

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] in ("http", "websocket") and (words := self._problem(scope["headers"])):
            if scope["type"] == "http":
                await refuse(send, 403, words)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        await self.app(scope, receive, send)

    def _problem(self, headers: list[tuple[bytes, bytes]]) -> str:
        hosts = [b"//" + value for name, value in headers if name == b"host"]
        origins = [value for name, value in headers if name == b"origin"]
        if not hosts or not all(self._is_own(_name(host)) for host in hosts):
            return "This server answers only under a name of its own machine, or the one given as --public-host."
        return (
            "" if all(self._is_own(_name(origin)) for origin in origins) else "This server answers only its own page."
        )

    def _is_own(self, name: str) -> bool:
        return is_loopback(name) or (name != "" and name == self.public_host)


def _name(address: bytes) -> str:
    """Return the name of the host in an address, without its port; empty if there is none."""
    try:
        return urlsplit(address.decode("ascii")).hostname or ""
    except ValueError:
        return ""
