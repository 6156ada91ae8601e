"""What is installed here and whether it works: the first thing to look at, and to send, when something is wrong."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robustvit.common.options import Device

if TYPE_CHECKING:
    from robustvit.cli.self_test import Check


@dataclass(frozen=True)
class Processor:
    """Something to compute on.

    Attributes:
        name: as its maker calls it.
        kind: cpu, cuda, mps or another of torch's.
        memory: in bytes, where it can be told.
    """

    name: str
    kind: str
    memory: int | None = None


@dataclass(frozen=True)
class Place:
    """A folder that things are kept in.

    Attributes:
        name: what it is for.
        folder: where it is, whether or not it exists.
        size: bytes of what it holds; None where that is not counted.
        free: bytes free on its disk.
    """

    name: str
    folder: Path
    size: int | None
    free: int


@dataclass(frozen=True)
class Diagnosis:
    """What was found on this machine.

    Attributes:
        versions: of Python, the machine and the libraries that decide a result.
        python: the interpreter.
        package: where this package lies.
        threads: that torch computes with.
        processors: the CPU first, then every accelerator.
        places: caches of weights, and the folder of now.
        extras: by extra, its packages with their versions, or None for those that are not installed.
        checks: the packages needed, then the self-test.
    """

    versions: dict[str, str]
    python: Path
    package: Path
    threads: int
    processors: list[Processor]
    places: list[Place]
    extras: dict[str, dict[str, str | None]]
    checks: list[Check]

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
        for place in self.places:
            held = "" if place.size is None else f", {decimal(place.size)}"
            lines.append(f"{place.name:<16}{place.folder}{held}, {decimal(place.free)} free")
        lines.append("")
        lines += [f"{extra:<16}{_installed(found)}" for extra, found in self.extras.items()]
        lines.append("")
        lines += [f"{_state(one)}  {one.name} ({one.seconds:.1f} s): {one.detail}" for one in self.checks]
        failed = [one.name for one in self.checks if not one.passed]
        return "\n".join([*lines, f"Not in order: {'; '.join(failed)}." if failed else "All in order."])


def _state(check: Check) -> str:
    return "ok    " if check.passed else "FAILED"


def _installed(found: dict[str, str | None]) -> str:
    missing = [name for name, version in found.items() if version is None]
    have = ", ".join(f"{name} {version}" for name, version in found.items() if version is not None)
    return "; ".join(filter(None, [have, f"not installed: {', '.join(missing)}" if missing else ""]))


def doctor(*, device: Device = "auto") -> Diagnosis:
    """Show what is installed here, and test in seconds whether it works.

    Versions, devices, caches of weights and their sizes, space on the disks, and which optional packages there are.
    The self-test runs the embedded model: answers, relevance maps, guided steps, a model written and read. Nothing is
    downloaded, and only temporary files are written. The exit code is 1 where something is not in order.

    Args:
        device: what the self-test runs on: auto (a GPU where there is one) or cpu.

    Returns:
        What was found.

    Example:
        robustvit doctor --json
    """
    from importlib.resources import files

    import torch

    from robustvit.cli.requirements import check_requirements, extras
    from robustvit.cli.self_test import self_test, tried
    from robustvit.common.provenance import versions

    accelerated = device == "auto" and torch.accelerator.is_available()
    chosen = torch.accelerator.current_accelerator() if accelerated else None
    return Diagnosis(
        versions=versions(),
        python=Path(sys.executable),
        package=Path(str(files("robustvit"))),
        threads=torch.get_num_threads(),
        processors=_processors(),
        places=_places(),
        extras=extras(),
        checks=[
            tried("the packages that it needs are there", check_requirements),
            *self_test(chosen or torch.device("cpu")),
        ],
    )


def _processors() -> list[Processor]:
    import torch

    found = [Processor(platform.processor() or platform.machine(), "cpu", _memory())]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            found.append(Processor(card.name, "cuda", card.total_memory))
    elif torch.accelerator.is_available():
        kind = torch.accelerator.current_accelerator()
        found += [Processor(str(kind), kind.type if kind else "unknown")] * torch.accelerator.device_count()
    return found


def _memory() -> int | None:
    """Bytes of the machine's memory, where the system tells."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _places() -> list[Place]:
    import torch
    from huggingface_hub.constants import HF_HUB_CACHE

    caches = {"hub cache": Path(HF_HUB_CACHE), "torch cache": Path(torch.hub.get_dir())}
    found = [Place(name, folder, _size(folder), _free(folder)) for name, folder in caches.items()]
    here = Path.cwd()
    return [*found, Place("this folder", here, None, _free(here))]


def _size(folder: Path) -> int:
    """Bytes of all files below a folder that may be looked at; links count nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # another process may be filling or emptying the cache
                total += 0 if (one := Path(place, name)).is_symlink() else one.stat().st_size
    return total


def _free(folder: Path) -> int:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
