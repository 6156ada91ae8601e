"""Signals: what a closed terminal does to output."""

from __future__ import annotations

import os
import sys

import pytest

from robustvit.common.signals import outlive_terminals

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems end a terminal in other ways")


@on_linux
def test_output_to_a_closed_terminal_is_lost_and_no_error(monkeypatch):
    """A run may ignore the hang-up, and go on."""
    import pty

    terminal, shown = pty.openpty()
    with open(shown, "w", encoding="utf-8") as plain:
        monkeypatch.setattr(sys, "stderr", plain)
        outlive_terminals()
        print("seen", file=sys.stderr)
        assert b"seen" in os.read(terminal, 100)
        os.close(terminal)
        print("lost", file=sys.stderr)
        with pytest.raises(OSError, match="Input/output"):  # what the stream as it was would do
            os.write(shown, b"lost")
