"""What is shown of a run."""

from __future__ import annotations

import io

import pytest

from mosam.commands import progress
from mosam.commands.progress import PlainProgress, Speed, clock, count, progress_view, scoring_view
from mosam.tracking.run import Progress

EVENTS = [
    Progress("kept", "apple", 1, 4),
    Progress("redo", "bird", 1, 4, reason="its result files are missing"),
    Progress("start", "bird", 1, 4, length=2),
    Progress("frame", "bird", 1, 4, frames=1, length=2, seconds=0.1),
    Progress("frame", "bird", 1, 4, frames=2, length=2, seconds=0.2),
    Progress("done", "bird", 2, 4, frames=2, length=2, seconds=0.2),
    Progress("failed", "car", 3, 4, reason="no frames"),
]


def test_plain_progress_is_a_line_a_sequence():
    stream = io.StringIO()
    with PlainProgress(stream) as view:
        for event in EVENTS:
            view(event)
    assert stream.getvalue().splitlines() == [
        "1 sequence done before and intact",
        "bird: done again, its result files are missing",
        "[2/4] bird: 2 frames, 10.0 fps",
        "[3/4] car: failed: no frames",
    ]


def test_time_left_goes_by_what_was_done_in_this_run(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    speed = Speed()
    assert speed.seconds_left is None
    for event in EVENTS[:3]:
        speed.see(event)
    assert speed.seconds_left is None
    now[0] += 10
    speed.see(EVENTS[3])  # half of one of three
    assert speed.seconds_left == pytest.approx(50)
    assert speed.fps == pytest.approx(0.1)
    for event in EVENTS[4:]:
        speed.see(event)
    assert speed.seconds_left == pytest.approx(5)


def test_time_left_goes_by_frames_and_by_the_longest_where_lengths_are_known(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    speed = Speed()
    speed.see(Progress("start", "a", 0, 3, length=50, ahead=100, longest=50))
    assert speed.seconds_left is None
    now[0] += 5
    speed.see(Progress("frame", "a", 0, 3, frames=10, length=50, ahead=90, longest=50))
    assert speed.fps == pytest.approx(2)
    assert speed.seconds_left == pytest.approx(45)
    speed.see(Progress("frame", "a", 0, 3, frames=10, length=50, ahead=60, longest=60))  # others are done, one is long
    assert speed.seconds_left == pytest.approx(30)
    for other in "bcd":
        speed.see(Progress("start", other, 0, 3, length=50, ahead=60, longest=60))
    now[0] += 5
    for name in "abcd":
        speed.see(Progress("frame", name, 0, 3, frames=20, length=50, ahead=60, longest=60))
    assert speed.fps == pytest.approx(8)
    assert speed.seconds_left == pytest.approx(15)  # not 60 / 8: what is left is one sequence, at 20 frames in 5 s


def test_no_bar_where_standard_error_is_no_terminal(capsys):
    assert isinstance(progress_view(), PlainProgress)
    with scoring_view("sam2", 3) as view:
        view("apple")
    assert capsys.readouterr() == ("", "")


def test_live_line_on_a_terminal(monkeypatch, capsys):
    import sys

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress_view() as view:
        view.note("sam2[stride=2] -> results")
        for event in EVENTS:
            view(event)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "sam2[stride=2] -> results" in shown.err
    assert "[3/4] car: failed: no frames" in shown.err
    assert "2 frames in 0:00" in shown.err


def test_words():
    assert count(0, "frame") == "0 frames"
    assert clock(3600) == "1:00:00"
