"""Audits of zipped folders: unpack within limits, run in another process, return a page."""

from __future__ import annotations

import html
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robustvit.common.errors import UserError
from robustvit.data.archives import ArchiveLimits, extract_photos
from robustvit.webapp.auditing_process import audit_apart
from robustvit.webapp.limits import Limits
from robustvit.webapp.memory import Results


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

    Args:
        settings: options of ``audit`` that concern the models.
        folder: working folder.
        results: folder for pages to download.
        limits: limits on archives and audits.
    """

    def __init__(self, settings: dict[str, Any], folder: Path, results: Results, limits: Limits) -> None:
        self.settings, self.folder, self.results, self.limits = settings, folder, results, limits

    @property
    def words(self) -> str:
        """Introduction for visitors, as Markdown."""
        limits = self.limits
        return (
            "## Does the model look at the background?\n\n"
            "Upload a zip file with one folder of photos per class, on which the model was not trained; or with "
            "folders `images` and `masks` that mirror each other. Without masks, TokenCut makes them. "
            f"At most {limits.audit_photos} photos and {limits.archive_bytes // 2**20} MB; one audit runs at a time. "
            "The photos are deleted when the audit ends, the archive after an hour."
        )

    def run(self, archive: str | None, tell: Callable[[str, float, float], None]) -> tuple[str, Path]:
        """Audit a zipped folder.

        Args:
            archive: zip file.
            tell: called with the current step, the work done and the total.

        Returns:
            The verdict as HTML, and the page.
        """
        if archive is None:
            raise UserError("expected a zip file of photos: choose one, then start the audit")
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            work = Path(name)
            tell("unpacking", 0, 1)
            notes = self._unpack(archive, work)
            images, masks = find_folders(work / "photos")
            tell("loading the models", 0, 1)
            options = {
                "images": str(images),
                "masks": None if masks is None else str(masks),
                "out": str(work / "audit.html"),
            }
            settings = self.settings if masks is None else _without_mask_options(self.settings)
            try:
                reliance, lines = audit_apart(
                    settings | options, tell, self.limits.audit_seconds, max(1, (os.cpu_count() or 2) // 2)
                )
            except UserError as error:
                raise UserError(_without(str(error), work)) from error
            page = self.results.new_path("audit.html")
            page.write_text(_without((work / "audit.html").read_text(encoding="utf-8"), work), encoding="utf-8")
        shown = "".join(f"<p>{html.escape(_without(line, work))}</p>" for line in [*notes, *lines])
        return (
            f"<h3>{html.escape(reliance.capitalize())}</h3>{shown}<p>Details are on the page below.</p>",
            page,
        )

    def _unpack(self, archive: str, work: Path) -> list[str]:
        """Unpack an archive; return lines on what was left out."""
        notes: list[str] = []
        limits = self.limits
        if Path(archive).stat().st_size > limits.archive_bytes:
            raise UserError(f"expected an archive of at most {limits.archive_bytes // 2**20} MB: pack fewer photos")
        bounds = ArchiveLimits(files=2 * limits.audit_photos, bytes=limits.audit_bytes)
        try:
            extract_photos(archive, work / "photos", bounds, notes)
        except UserError as error:
            raise UserError(_without(str(error).replace(str(archive), Path(archive).name), work)) from error
        return notes


def _without_mask_options(settings: dict[str, Any]) -> dict[str, Any]:
    """Drop the options for making masks, which ``audit`` refuses if masks are given."""
    return {name: value for name, value in settings.items() if not name.startswith("mask_")}


def _without(text: str, work: Path) -> str:
    """Remove the working folder from a text."""
    return text.replace(f"{work / 'photos'}/", "").replace(str(work / "photos"), "the archive").replace(f"{work}/", "")
