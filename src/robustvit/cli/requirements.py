"""The packages that robustvit requires, from its metadata, and those that are installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import Requirement

from robustvit.common.wording import pluralize

_DEVELOPERS = ("dev", "docs", "maintain")


def check_requirements() -> tuple[bool, str]:
    """Check that every required package is installed in a supported version; returns what is wrong."""
    wrong, count = [], 0
    for one in _requirements():
        if one.marker is None or one.marker.evaluate({"extra": ""}):
            count += 1
            wrong += _fault(one)
    return not wrong, "; ".join(wrong) or pluralize(count, "package")


def extras() -> dict[str, dict[str, str | None]]:
    """Return the packages of every extra for users, with the installed version or None."""
    found: dict[str, dict[str, str | None]] = {}
    for one in _requirements():
        for extra in _extras_of(one):
            found.setdefault(extra, {})[one.name] = _version(one.name)
    return found


def _requirements() -> list[Requirement]:
    return [Requirement(line) for line in requires("robustvit") or []]


def _extras_of(one: Requirement) -> list[str]:
    offered = metadata("robustvit").get_all("Provides-Extra") or []
    if one.marker is None or one.marker.evaluate({"extra": ""}):
        return []
    return [extra for extra in offered if extra not in _DEVELOPERS and one.marker.evaluate({"extra": extra})]


def _fault(one: Requirement) -> list[str]:
    found = _version(one.name)
    if found is None:
        return [f"{one.name} is not installed (needed: {one.specifier})"]
    return (
        [] if one.specifier.contains(found, prereleases=True) else [f"{one.name} is {found}, needed: {one.specifier}"]
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
