"""Audits of zipped folders: unpacked within limits, run apart, and given back as a page."""

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
    """The folder of photos and that of masks in what was unpacked.

    An archive holds class folders, or ``images/`` and ``masks/`` with class folders in them; one folder around all of
    that does not matter.
    """
    inside = [place for place in folder.iterdir() if place.is_dir()]
    names = {place.name.lower(): place for place in inside}
    images = names.get("images") or names.get("photos")
    if images is not None:
        return images, names.get("masks")
    if "masks" in names:
        raise UserError("found a folder masks in the archive, but no folder images beside it: pack both")
    if len(inside) == 1 and any(place.is_dir() for place in inside[0].iterdir()):
        return find_folders(inside[0])
    return folder, None


class AuditJobs:
    """Audits of zipped folders with the models of the app.

    Args:
        settings: options of ``audit`` about the models, by name.
        folder: where to work.
        results: where pages for visitors go.
        limits: on archives and audits.
    """

    def __init__(self, settings: dict[str, Any], folder: Path, results: Results, limits: Limits) -> None:
        self.settings, self.folder, self.results, self.limits = settings, folder, results, limits

    @property
    def words(self) -> str:
        """What to tell visitors, as Markdown."""
        limits = self.limits
        return (
            "## Does the model look at the background?\n\n"
            "Zip a folder with one folder of photos per class, which the model was not trained on; or folders `images` "
            "and `masks` that mirror each other. Without masks, TokenCut finds them. "
            f"At most {limits.audit_photos} photos and {limits.archive_bytes // 2**20} MB; one audit runs at a time. "
            "The photos are deleted when the audit ends, the archive after an hour."
        )

    def run(self, archive: str | None, tell: Callable[[str, float, float], None]) -> tuple[str, Path]:
        """Audit a zipped folder.

        Args:
            archive: zip file.
            tell: is called with what is being done, how much of it is done, and how much there is.

        Returns:
            The verdict as HTML, and the page.
        """
        if archive is None:
            raise UserError("expected a zipped folder of photos: choose a .zip file, then start the audit")
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            work = Path(name)
            tell("unpacking", 0, 1)
            self._unpack(archive, work)
            images, masks = find_folders(work / "photos")
            tell("loading the models", 0, 1)
            options = {
                "images": str(images),
                "masks": None if masks is None else str(masks),
                "out": str(work / "audit.html"),
            }
            settings = self.settings if masks is None else _about_no_masks(self.settings)
            try:
                reliance, lines = audit_apart(
                    settings | options, tell, self.limits.audit_seconds, max(1, (os.cpu_count() or 2) // 2)
                )
            except UserError as error:
                raise UserError(_without(str(error), work)) from error
            page = self.results.place("audit.html")
            page.write_text(_without((work / "audit.html").read_text(encoding="utf-8"), work), encoding="utf-8")
        shown = "".join(f"<p>{html.escape(_without(line, work))}</p>" for line in lines)
        return (
            f"<h3>{html.escape(reliance.capitalize())}</h3>{shown}<p>All figures and the worst photos: below.</p>",
            page,
        )

    def _unpack(self, archive: str, work: Path) -> None:
        limits = self.limits
        if Path(archive).stat().st_size > limits.archive_bytes:
            raise UserError(f"expected an archive of at most {limits.archive_bytes // 2**20} MB: pack fewer photos")
        bounds = ArchiveLimits(files=2 * limits.audit_photos, bytes=limits.audit_bytes)
        try:
            extract_photos(archive, work / "photos", bounds)
        except UserError as error:
            raise UserError(_without(str(error).replace(str(archive), Path(archive).name), work)) from error


def _about_no_masks(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings without those on how masks are found, which ``audit`` refuses beside masks."""
    return {name: value for name, value in settings.items() if not name.startswith("mask_")}


def _without(text: str, work: Path) -> str:
    """A text without the folder in which the work was done, which says nothing to a visitor."""
    return text.replace(f"{work / 'photos'}/", "").replace(str(work / "photos"), "the archive").replace(f"{work}/", "")
