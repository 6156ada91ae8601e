"""The server of the app: address, limits and shutdown."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustvit.common.errors import UserError
from robustvit.common.option_groups import ServingOptions
from robustvit.webapp.limits import Limits
from robustvit.webapp.memory import StoredFiles
from robustvit.webapp.middleware import LimitedRequests, OwnPageOnly, PlainFailures, is_loopback
from robustvit.webapp.rendering import SCRIPT, STYLE

if TYPE_CHECKING:
    from gradio import Blocks
    from gradio.themes import Base

_PORTS = range(7860, 7960)
_LAUNCH: dict[str, Any] = {  # how Gradio serves these pages, whatever is asked
    "prevent_thread_lock": True, "quiet": True, "show_error": False, "footer_links": [], "state_session_capacity": 1000,
    "enable_monitoring": False, "ssr_mode": False, "mcp_server": False, "pwa": False,
}  # fmt: skip


def free_port(host: str, port: int | None) -> int:
    """Return the given port if free, or else the first free one from 7860."""
    for one in _PORTS if port is None else [port]:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, one))
            except (OSError, OverflowError) as error:
                if port is None and isinstance(error, OSError) and error.errno == 98:
                    continue
                raise UserError(
                    f"cannot listen on {host} port {one} ({error}): choose another --host or --port"
                ) from error
            return one
    raise UserError(f"ports {_PORTS[0]} to {_PORTS[-1]} are all taken: choose a free one with --port")


def prepare_folder() -> Path:
    """Make a private folder for uploads and results; Gradio uses it, and sends no analytics."""
    folder = Path(tempfile.mkdtemp(prefix="robustvit-app-"))
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "files")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_RUN_HISTORY"] = "False"
    (folder / "files").mkdir()
    return folder


@dataclass
class Server:
    """A running server.

    Attributes:
        url: address on this machine.
        share_url: public address, if shared.
        folder: uploads and results, removed on close.
        blocks: pages that it serves.
    """

    url: str
    share_url: str | None
    folder: Path
    blocks: Blocks = field(repr=False)
    _kept: ExitStack = field(default_factory=ExitStack, repr=False)

    def keep_open(self, resources: ExitStack) -> None:
        """Keep resources open until the server is closed."""
        self._kept.enter_context(resources)

    def close(self) -> None:
        """Stop the server and remove its folder."""
        self._kept.close()
        self.blocks.close(verbose=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def start(
    blocks: Blocks, folder: Path, limits: Limits, *, serving: ServingOptions, auth: tuple[str, str] | None = None
) -> Server:
    """Serve pages in threads of this process, and return.

    ``folder`` is from ``prepare_folder``; ``auth`` is the name and password that visitors must enter.
    """
    from starlette.middleware import Middleware

    stored = StoredFiles(folder / "files", limits.stored_bytes)
    middleware = [Middleware(LimitedRequests, limits=limits, stored=stored), Middleware(PlainFailures)]
    if is_loopback(serving.host) and not serving.share:
        middleware.insert(0, Middleware(OwnPageOnly, public_host=serving.public_host))
    _, _, share_url = blocks.launch(
        server_name=serving.host,
        server_port=free_port(serving.host, serving.port),
        share=serving.share,
        auth=auth,
        allowed_paths=[str(folder / "files")],
        max_file_size=limits.archive_bytes,
        app_kwargs={"middleware": middleware, "docs_url": None, "redoc_url": None},
        theme=_make_theme(),
        css=STYLE,
        js=SCRIPT,
        **_LAUNCH,
    )
    return Server(str(blocks.local_url), share_url, folder, blocks)


def _make_theme() -> Base:
    """Return the colours and fonts of the pages."""
    import gradio

    fonts: dict[str, Any] = {"font": ("system-ui", "sans-serif"), "font_mono": ("ui-monospace", "monospace")}
    # White text on Gradio's orange has too little contrast.
    return gradio.themes.Default(primary_hue="blue", **fonts).set(
        button_primary_background_fill="*primary_700", button_primary_background_fill_hover="*primary_800"
    )
