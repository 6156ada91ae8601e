"""The encodings of the process: of what it prints, and of file names."""

from __future__ import annotations

import codecs
import io
import os
import sys


def prepare_streams() -> None:
    """Print escapes for letters that the output cannot hold, and read file names as UTF-8 in any locale.

    The code page of a Windows pipe and some locales lack letters, which would otherwise end a command after its work.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if os.name == "posix" and codecs.lookup(sys.getfilesystemencoding()).name != "utf-8":
        _restart_in_utf8()


def _restart_in_utf8() -> None:
    """Replace this process by the same command in UTF-8 mode, which newer versions of Python use by themselves.

    Names in UTF-8, such as café.jpg, are not text in an ASCII locale, and other text in one of Latin-1: neither matches
    lists, class names and folders of runs that were written elsewhere.
    """
    if sys.flags.utf8_mode or len(sys.orig_argv) < 2:
        return
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
