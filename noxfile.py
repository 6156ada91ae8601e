"""The tests against the oldest and the newest versions of everything that pyproject.toml allows.

The bounds are not repeated here: uv takes the lowest versions that pyproject.toml names, so the two cannot drift apart.
"""

from __future__ import annotations

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "uv"
nox.options.sessions = ["oldest", "newest"]

_BOUNDS = ("--requirement", "pyproject.toml", "--extra", "dev")


def _test(session: nox.Session, resolution: str) -> None:
    session.install("--resolution", resolution, *_BOUNDS)
    session.install("--no-deps", ".")
    session.run("python", "-m", "robustvit.cli", "doctor", "--device", "cpu")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python="3.11")
def oldest(session: nox.Session) -> None:
    """The lowest version of every package that pyproject.toml names, on the oldest Python."""
    _test(session, "lowest-direct")


@nox.session
def newest(session: nox.Session) -> None:
    """The newest version of everything."""
    _test(session, "highest")
