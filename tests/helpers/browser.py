"""The system's headless Chromium for the pages that we write; tests that need it are skipped without it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@contextmanager
def chromium() -> Iterator[Any]:
    """A Playwright browser."""
    reason = "needs the package playwright: pip install playwright"
    playwright = pytest.importorskip("playwright.sync_api", reason=reason)
    place = next(filter(None, map(shutil.which, _NAMES)), None)
    if place is None:
        pytest.skip(f"needs a browser on the path: one of {', '.join(_NAMES)}")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=place, args=list(_ARGUMENTS))
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, path: Path, width: int = 1280, height: int = 900) -> Iterator[Any]:
    """A page on a file of this machine; at its end it must have printed no error and asked for nothing else."""
    context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
    page = context.new_page()
    errors: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if line.type in ("error", "warning") else None)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    yield page
    context.close()
    foreign = [url[:80] for url in asked if not url.startswith(("data:", "blob:")) and url != path.as_uri()]
    assert not errors
    assert not foreign
