"""Progress where there is no terminal: a line from time to time, none for what is quick."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from robustvit.common import progress


@pytest.fixture
def log(monkeypatch):
    """Return what is printed, and a clock that a test turns."""
    stream, clock = io.StringIO(), [0.0]
    monkeypatch.setattr(progress, "console", Console(file=stream, force_terminal=False))
    made = progress._Lines.__init__

    def init(self, *columns, **options):
        made(self, *columns, **options, get_time=lambda: clock[0])

    monkeypatch.setattr(progress._Lines, "__init__", init)
    return stream, clock


def count(clock, steps, seconds):
    for _ in progress.track(range(steps), "measuring photos"):
        clock[0] += seconds


def test_a_log_gets_a_line_every_half_minute_with_the_time_that_is_left(log):
    stream, clock = log
    count(clock, steps=10, seconds=10)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "measuring photos: 3 of 10, 0:01:10 left"
    assert [line.split(",")[0] for line in lines] == [f"measuring photos: {done} of 10" for done in (3, 6, 9)]


def test_what_is_done_within_half_a_minute_says_nothing(log):
    stream, clock = log
    count(clock, steps=10, seconds=2)
    assert stream.getvalue() == ""


def test_one_process_of_a_job_speaks(log, monkeypatch):
    stream, clock = log
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    count(clock, steps=10, seconds=10)
    assert stream.getvalue() == ""


@pytest.mark.usefixtures("log")
def test_the_state_of_the_latest_work_is_known_without_a_terminal():
    seen = [progress.latest_progress() for _ in progress.track(range(3), "photos")]
    assert seen[0] == ("photos", 0, 3)
    assert seen[-1] == ("photos", 2, 3)


def test_a_command_says_a_warning_once_and_python_says_it_each_time(log):
    stream, _ = log
    with progress.saying_once("known"):
        for text in ("known", "float16", "float16"):
            progress.warn(text)
        with progress.saying_once("judged"):
            for text in ("judged", "float16", "other"):
                progress.warn(text)
        progress.warn("judged")
    progress.warn("float16")
    progress.warn("float16")
    assert stream.getvalue().split() == ["float16", "other", "judged", "float16", "float16"]
