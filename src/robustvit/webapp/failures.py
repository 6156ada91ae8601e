"""Requests that the page cannot send: a status and a line in the log, never a traceback."""

from __future__ import annotations

from typing import Any

import gradio as gr

from robustvit.common.progress import warn
from robustvit.webapp.limits import App, Message, Receive, Send, refuse


class PlainFailures:
    """ASGI middleware that answers 400 where the application fails, as Gradio does on numbers that it never gave out.

    Args:
        app: application.
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
                await refuse(send, 400, "The request is not one of this page: reload the page.")


class Page(gr.Blocks):
    """Pages of Gradio that refuse values which they cannot have sent, without a traceback in the log."""

    async def preprocess_data(self, *arguments: Any, **options: Any) -> Any:
        """Check and convert the values of a request."""
        try:
            return await super().preprocess_data(*arguments, **options)
        except gr.Error as error:
            error.print_exception = False
            raise
        except Exception as error:
            words = "the request holds a value that the page cannot send: reload the page"
            raise gr.Error(words, print_exception=False) from error
