"""Check the installed packages for known vulnerabilities, and report when the check is not possible.

pip-audit skips packages that its database does not know and exits with 0, even if the package index is a mirror without
any vulnerability data. This script runs it and tells the two apart.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

__all__ = ["main", "summary"]

CLEAN, VULNERABLE, NOT_AUDITED = 0, 1, 2
COMMAND = [sys.executable, "-m", "pip_audit", "--skip-editable", "--progress-spinner", "off", "--format", "json"]


def main() -> int:
    """Audit this environment; exit code 0 if no vulnerability is known, 1 if one is, 2 if the audit failed."""
    done = subprocess.run(COMMAND, capture_output=True, text=True)
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        reason = (done.stderr.strip() or "pip-audit printed nothing").splitlines()[-1]
        print(f"not audited: the vulnerability database cannot be reached ({reason}); run this where it can")
        return NOT_AUDITED
    text, code = summary(found)
    print(text)
    return code


def summary(found: list[dict[str, Any]]) -> tuple[str, int]:
    """Return a summary of pip-audit's rows, and the exit code."""
    # This package is not on any index, and is not a dependency.
    found = [one for one in found if one["name"] != "robustvit"]
    unknown = sorted(one["name"] for one in found if "skip_reason" in one)
    audited = len(found) - len(unknown)
    lines = [
        f"{one['name']} {one['version']}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'no release yet'}"
        for one in found
        for flaw in one.get("vulns", [])
    ]
    if lines:
        return "\n".join([*lines, f"{len(lines)} known vulnerabilities in {audited} packages"]), VULNERABLE
    if not audited:
        return (
            f"not audited: the vulnerability database knows none of the {len(found)} packages installed, as happens "
            "behind a mirror of the package index; run this where the database can be reached",
            NOT_AUDITED,
        )
    said = f"no known vulnerability in {audited} packages"
    return f"{said}; unknown to the database: {', '.join(unknown)}" if unknown else said, CLEAN


if __name__ == "__main__":
    sys.exit(main())
