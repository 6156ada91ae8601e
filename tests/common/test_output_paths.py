"""Checks that a result can be written to a path."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustvit import UserError
from robustvit.common.output_paths import check_own_page, check_writable


def test_a_path_is_judged_by_the_nearest_folder_that_exists(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "new", tmp_path / "a" / "b" / "new", Path("new"), Path(".")):
        check_writable(path)
        check_writable(path, inside=True)
    check_writable(tmp_path / "file")
    for path, inside in ((tmp_path / "file" / "new", False), (tmp_path / "file", True)):
        with pytest.raises(UserError, match="file is a file; name another path"):
            check_writable(path, inside=inside)


def test_the_root_has_no_folder_above_and_is_no_page():
    with pytest.raises(UserError, match=r"cannot write|is a folder: name a file"):
        check_own_page(Path("/"), "mark", "a report")
