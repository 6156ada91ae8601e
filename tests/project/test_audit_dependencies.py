"""make audit: silence of a database is not a clean bill."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import audit_dependencies as audit

CLEAN = {"name": "torch", "version": "2.6.0", "vulns": []}
UNKNOWN = {"name": "timm", "skip_reason": "Dependency not found on PyPI and could not be audited: timm (1.0.31)"}
OURS = {"name": "robustvit", "skip_reason": "editable"}
FLAWED = {"name": "pillow", "version": "10.0.0", "vulns": [
    {"id": "CVE-2023-4863", "fix_versions": ["10.0.1"]}, {"id": "CVE-0000-1", "fix_versions": []},
]}  # fmt: skip


@pytest.mark.parametrize(
    ("found", "code", "words"),
    [
        ([CLEAN, OURS], 0, ["no known vulnerability in 1 packages"]),
        ([CLEAN, UNKNOWN], 0, ["in 1 packages", "unknown to the database: timm"]),
        ([CLEAN, FLAWED], 1, ["pillow 10.0.0: CVE-2023-4863, fixed in 10.0.1", "no release yet", "2 known"]),
        ([UNKNOWN, OURS], 2, ["not audited", "none of the 1 packages", "can be reached"]),
        ([], 2, ["not audited"]),
    ],
    ids=["clean", "partly unknown", "flawed", "mirror", "nothing"],
)
def test_what_rows_come_to(found, code, words):
    text, said = audit.summary(found)
    assert said == code
    assert all(word in text for word in words), text


@pytest.mark.parametrize(
    ("stdout", "stderr", "code"),
    [
        (json.dumps({"dependencies": [CLEAN]}), "No known vulnerabilities found\n", 0),
        ("", "Traceback ...\nrequests.exceptions.ConnectionError: name not resolved\n", 2),
        ("", "", 2),
    ],
    ids=["answered", "no network", "silent"],
)
def test_what_pip_audit_says(monkeypatch, capsys, stdout, stderr, code):
    monkeypatch.setattr(audit.subprocess, "run", lambda *given, **kept: SimpleNamespace(stdout=stdout, stderr=stderr))
    assert audit.main() == code
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert ("cannot be reached" in said) == (code == 2)
    if "resolved" in stderr:
        assert "name not resolved" in said
