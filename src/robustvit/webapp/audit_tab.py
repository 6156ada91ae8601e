"""Audits of zipped folders: unpack within limits, run in another process, return a page.

In another process an audit blocks nobody, and its memory is freed.
"""

from __future__ import annotations

import html
import multiprocessing
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from robustvit.common.errors import UserError
from robustvit.data.archives import ArchiveLimits, extract_photos
from robustvit.webapp.limits import MB, Limits
from robustvit.webapp.memory import Results

_SOURCES = ("model", "baseline", "checkpoint", "mask_model", "mask_checkpoint")
_EVERY = 0.3  # seconds between progress reports
Tell = Callable[[str, float, float], None]  # is told the current step, the work done and the total


def find_folders(folder: Path) -> tuple[Path, Path | None]:
    """Find the folders of photos and of masks in an unpacked archive.

    An archive contains class folders, or ``images/`` and ``masks/`` with class folders; these may be inside one more
    folder.
    """
    inside = [path for path in folder.iterdir() if path.is_dir()]
    names = {path.name.lower(): path for path in inside}
    images = names.get("images") or names.get("photos")
    if images is not None:
        return images, names.get("masks")
    if "masks" in names:
        raise UserError("expected a folder images next to masks in the archive, found none: pack both")
    if len(inside) == 1 and any(path.is_dir() for path in inside[0].iterdir()):
        return find_folders(inside[0])
    return folder, None


class AuditJobs:
    """Audits of zipped folders with the models of the app.

    ``settings``: options of ``audit`` that load the models. ``folder``: working folder.
    """

    def __init__(self, settings: dict[str, Any], folder: Path, results: Results, limits: Limits) -> None:
        self.settings, self.folder, self.results, self.limits = settings, folder, results, limits

    @property
    def words(self) -> str:
        """Introduction for visitors, as Markdown."""
        return (
            "## Does the model look at the background?\n\n"
            "Upload a zip file with one folder of photos per class, on which the model was not trained; or with "
            "folders `images` and `masks` that mirror each other. Without masks, TokenCut makes them. "
            f"At most {self.limits.audit_photos} photos and {self.limits.archive_bytes // MB} MB; one audit runs at a "
            "time. The photos are deleted when the audit ends, the archive after an hour."
        )

    def run(self, archive: str | None, tell: Tell) -> tuple[str, Path]:
        """Audit a zipped folder; return the verdict as HTML, and the page."""
        if archive is None:
            raise UserError("expected a zip file of photos: choose one, then start the audit")
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            work = Path(name)
            tell("unpacking", 0, 1)
            notes = self._unpack(archive, work)
            images, masks = find_folders(work / "photos")
            tell("loading the models", 0, 1)
            settings = self.settings | {"images": str(images), "out": str(work / "audit.html")}
            if masks is not None:  # then ``audit`` refuses options for making masks
                settings = {name: value for name, value in settings.items() if not name.startswith("mask_")}
                settings["masks"] = str(masks)
            try:
                reliance, lines = audit_apart(
                    settings, tell, self.limits.audit_seconds, max(1, (os.cpu_count() or 2) // 2)
                )
            except UserError as error:
                raise UserError(self._hide_folders(str(error), work)) from error
            page = self.results.new_path("audit.html")
            text = self._hide_folders((work / "audit.html").read_text(encoding="utf-8"), work)
            page.write_text(text, encoding="utf-8")
        shown = "".join(f"<p>{html.escape(self._hide_folders(line, work))}</p>" for line in [*notes, *lines])
        return f"<h3>{html.escape(reliance.capitalize())}</h3>{shown}<p>Details are on the page below.</p>", page

    def _unpack(self, archive: str, work: Path) -> list[str]:
        """Unpack an archive; return lines on what was left out."""
        notes: list[str] = []
        limits = self.limits
        if Path(archive).stat().st_size > limits.archive_bytes:
            raise UserError(f"expected an archive of at most {limits.archive_bytes // MB} MB: pack fewer photos")
        bounds = ArchiveLimits(files=2 * limits.audit_photos, bytes=limits.audit_bytes)
        try:
            extract_photos(archive, work / "photos", bounds, notes)
        except UserError as error:
            raise UserError(self._hide_folders(str(error).replace(str(archive), Path(archive).name), work)) from error
        return notes

    def _hide_folders(self, text: str, work: Path) -> str:
        """Remove paths of this machine from a text: the working folder, and all but the names of the models."""
        text = text.replace(f"{work / 'photos'}/", "").replace(str(work / "photos"), "the archive")
        text = text.replace(f"{work}/", "")
        sources = [self.settings.get(name) for name in _SOURCES]
        if self.settings.get("baseline") == "original":
            from robustvit.webapp.shown_models import backbone_options

            sources += backbone_options(str(self.settings["model"]), "original", None).values()
        paths = [Path(str(source).removeprefix("local-dir:")) for source in sources]
        paths = [path for path in paths if path.name and path.exists()]
        names = {write(str(path)): write(path.name) for path in paths for write in (str, html.escape)}
        written = "|".join(re.escape(path) for path in sorted(names, key=len, reverse=True))
        # Not within a longer word: the letters of embedded pictures may spell a short path.
        word = rf"(?<![\w+])(?:local-dir:)?({written})(?![\w+=])"
        return re.sub(word, lambda found: names[found[1]], text) if names else text


def audit_apart(settings: dict[str, Any], tell: Tell, seconds: float, threads: int = 1) -> tuple[str, list[str]]:
    """Run ``audit`` in a new process; return the verdict in a word, and what it prints except names of files.

    ``settings`` name the models, as modules cannot be sent. The process is stopped after ``seconds``.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_audit, args=(theirs, settings, threads), daemon=True)
    process.start()
    theirs.close()
    try:
        return _await_result(ours, tell, seconds)
    except EOFError as error:
        process.join(5)
        raise UserError(
            f"the audit process died (exit code {process.exitcode}), perhaps out of memory: pack fewer photos"
        ) from error
    finally:
        process.kill()
        process.join()
        ours.close()


def _await_result(connection: Connection, tell: Tell, seconds: float) -> tuple[str, list[str]]:
    """Pass on the progress of the other process until it sends its result."""
    end = time.monotonic() + seconds
    while time.monotonic() <= end:
        if not connection.poll(_EVERY):
            continue
        kind, *content = connection.recv()
        if kind == "done":
            return content[0], content[1]
        if kind == "error":
            raise UserError(content[0])
        tell(*content)
    raise UserError(f"the audit was stopped after {seconds / 60:.0f} minutes: pack fewer photos")


def _audit(connection: Connection, settings: dict[str, Any], threads: int) -> None:
    """Audit in the new process: send the progress, then the result."""
    import torch

    from robustvit.audits.audit import audit

    torch.set_num_threads(threads)
    over = threading.Event()
    reporter = threading.Thread(target=_report_progress, args=(connection, over), daemon=True)
    reporter.start()
    outcome: tuple[Any, ...]
    try:
        result = audit(**settings)
        lines = [line for line in str(result).splitlines() if not line.startswith(("page: ", "record: "))]
        outcome = ("done", result.reliance, lines)
    except UserError as error:
        outcome = ("error", str(error))
    except MemoryError:
        outcome = ("error", "the audit ran out of memory: pack fewer photos")
    over.set()
    reporter.join()
    connection.send(outcome)
    connection.close()


def _report_progress(connection: Connection, over: threading.Event) -> None:
    from robustvit.common.progress import latest_progress

    told = None
    while not over.wait(_EVERY):
        if (now := latest_progress()) is not None and now != told:
            told = now
            connection.send(("progress", *now))
