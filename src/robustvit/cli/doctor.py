"""What is installed, and whether it works: the first thing to check, and to attach to a bug report."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import metadata, requires
from pathlib import Path
from typing import TYPE_CHECKING

from robustvit.common.files import folder_bytes
from robustvit.common.frames import FrameRow, Tabular
from robustvit.common.options import Device
from robustvit.common.provenance import installed_version, versions
from robustvit.common.wording import pluralize

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from robustvit.cli.self_test import Check

_DEVELOPERS = ("dev", "docs", "maintain")


@dataclass(frozen=True)
class Processor:
    """A CPU or an accelerator.

    Attributes:
        name: name given by its maker.
        kind: cpu, cuda, mps or another of torch's.
        memory: memory in bytes, if known.
    """

    name: str
    kind: str
    memory: int | None = None


@dataclass(frozen=True)
class DiskUse:
    """Disk use of a folder.

    Attributes:
        name: purpose of the folder.
        folder: path, which need not exist.
        size: bytes of the files in it; None if not counted.
        free: bytes free on its disk.
    """

    name: str
    folder: Path
    size: int | None
    free: int


@dataclass(frozen=True)
class Diagnosis(Tabular):
    """Versions, hardware and checks of this machine.

    Attributes:
        versions: versions of Python, the system and the libraries that affect results.
        python: path of the interpreter.
        package: folder of this package.
        threads: number of threads that torch uses.
        processors: the CPU, then every accelerator.
        places: caches of weights, and the current folder.
        extras: for each extra its packages and their versions; None for those not installed.
        checks: the required packages, then the self-test.
    """

    versions: dict[str, str]
    python: Path
    package: Path
    threads: int
    processors: list[Processor]
    places: list[DiskUse]
    extras: dict[str, dict[str, str | None]]
    checks: list[Check]

    def frame_rows(self) -> Iterator[FrameRow]:
        """A row for each check."""
        yield from (vars(check) for check in self.checks)

    @property
    def exit_code(self) -> int:
        """1 where a check failed, else 0."""
        return int(not all(one.passed for one in self.checks))

    def __str__(self) -> str:
        from rich.filesize import decimal

        lines = [f"{name:<16}{version}" for name, version in self.versions.items()]
        lines += [f"{'interpreter':<16}{self.python}", f"{'package':<16}{self.package}", ""]
        for one in self.processors:
            memory = "" if one.memory is None else f", {decimal(one.memory)}"
            threads = f", {self.threads} threads" if one.kind == "cpu" else ""
            lines.append(f"{one.kind:<16}{one.name}{threads}{memory}")
        for use in self.places:
            size = "" if use.size is None else f", {decimal(use.size)}"
            lines.append(f"{use.name:<16}{use.folder}{size}, {decimal(use.free)} free")
        lines.append("")
        lines += [f"{extra:<16}{_list_packages(found)}" for extra, found in self.extras.items()]
        lines.append("")
        states = {True: "ok    ", False: "FAILED"}
        lines += [f"{states[one.passed]}  {one.name} ({one.seconds:.1f} s): {one.detail}" for one in self.checks]
        failed = [one.name for one in self.checks if not one.passed]
        return "\n".join([*lines, f"Failed: {'; '.join(failed)}." if failed else "Everything works."])


def _list_packages(found: dict[str, str | None]) -> str:
    missing = [name for name, version in found.items() if version is None]
    have = ", ".join(f"{name} {version}" for name, version in found.items() if version is not None)
    return "; ".join(filter(None, [have, f"not installed: {', '.join(missing)}" if missing else ""]))


def doctor(*, device: Device = "auto") -> Diagnosis:
    """Show what is installed, and test whether it works, in seconds.

    Shows versions, devices, sizes of the weight caches, free disk space and optional packages. The self-test runs the
    embedded model: predictions, relevance maps, guided training steps, saving and loading. Nothing is downloaded, and
    only temporary files are written. The exit code is 1 if a check fails.

    Args:
        device: device of the self-test: auto (a GPU if there is one) or cpu.

    Returns:
        Versions, hardware and checks; printing it gives a report.

    Example:
        robustvit doctor --json
    """
    from importlib.resources import files

    import torch

    from robustvit.cli.self_test import run_check, self_test

    accelerated = device == "auto" and torch.accelerator.is_available()
    chosen = torch.accelerator.current_accelerator() if accelerated else None
    return Diagnosis(
        versions=versions(),
        python=Path(sys.executable),
        package=Path(str(files("robustvit"))),
        threads=torch.get_num_threads(),
        processors=_list_processors(),
        places=_measure_disks(),
        extras=list_extras(),
        checks=[
            run_check("required packages are installed", check_requirements),
            *self_test(chosen or torch.device("cpu")),
        ],
    )


def _list_processors() -> list[Processor]:
    import torch

    processors = [Processor(platform.processor() or platform.machine(), "cpu", _read_memory())]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            processors.append(Processor(card.name, "cuda", card.total_memory))
    elif torch.accelerator.is_available():
        kind = torch.accelerator.current_accelerator()
        processors += [Processor(str(kind), kind.type if kind else "unknown")] * torch.accelerator.device_count()
    return processors


def _read_memory() -> int | None:
    """Return the machine's memory in bytes, if the system reports it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _measure_disks() -> list[DiskUse]:
    import torch
    from huggingface_hub.constants import HF_HUB_CACHE

    caches = {"hub cache": Path(HF_HUB_CACHE), "torch cache": Path(torch.hub.get_dir())}
    uses = [DiskUse(name, folder, folder_bytes(folder), _count_free(folder)) for name, folder in caches.items()]
    here = Path.cwd()
    return [*uses, DiskUse("this folder", here, None, _count_free(here))]


def _count_free(folder: Path) -> int:
    return shutil.disk_usage(next((one for one in (folder, *folder.parents) if one.exists()), folder)).free


def check_requirements() -> tuple[bool, str]:
    """Check that every required package is installed in a supported version; return what is wrong."""
    required = [one for one in _requirements() if one.marker is None or one.marker.evaluate({"extra": ""})]
    wrong = [problem for one in required if (problem := _find_problem(one))]
    return not wrong, "; ".join(wrong) or pluralize(len(required), "package")


def list_extras() -> dict[str, dict[str, str | None]]:
    """Return the packages of every extra for users, with the installed version or None."""
    found: dict[str, dict[str, str | None]] = {}
    offered = [extra for extra in metadata("robustvit").get_all("Provides-Extra") or [] if extra not in _DEVELOPERS]
    for one in _requirements():
        if one.marker is not None and not one.marker.evaluate({"extra": ""}):
            for extra in (extra for extra in offered if one.marker.evaluate({"extra": extra})):
                found.setdefault(extra, {})[one.name] = installed_version(one.name)
    return found


def _requirements() -> list[Requirement]:
    from packaging.requirements import Requirement

    return [Requirement(line) for line in requires("robustvit") or []]


def _find_problem(one: Requirement) -> str:
    found = installed_version(one.name)
    if found is None:
        return f"{one.name} is not installed (needed: {one.specifier})"
    return "" if one.specifier.contains(found, prereleases=True) else f"{one.name} is {found}, needed: {one.specifier}"
