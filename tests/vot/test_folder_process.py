"""Folders as the VOT toolkit fills them; the network is a thread of the test."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from vot.test_service import ORDER, pictures, place, serve  # noqa: F401
from vot.test_session import BOX, MASK, POLYGON, Engine

from mosam.errors import DataError, MissingDataError, MosamError
from mosam.vot.folder_process import ERRORS_VARIABLE, Query, read_frames, read_queries, track_folder


@pytest.fixture
def folder(tmp_path, pictures):  # noqa: F811
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "frames_color.txt").write_text("".join(f"{path}\n" for path in pictures))
    return folder


def ask(folder, **queries):
    for name, text in queries.items():
        (folder / f"query_{name}.txt").write_text(text)


def lines(folder, name):
    return (folder / f"output_{name}.txt").read_text().splitlines()


def test_each_object_gets_a_line_for_each_frame(place, monkeypatch, folder):  # noqa: F811
    serve(monkeypatch)
    ask(folder, obj0=f"0\n{BOX}\n", obj1=f"2\n{MASK}\nprompt=a=b\n", obj2=f"0\n{POLYGON}\n")
    track_folder(ORDER, folder, keep=0)
    assert lines(folder, "obj0") == [f"{x}.0,6.0,7.0,7.0" for x in (2, 3, 4, 5)]
    assert lines(folder, "obj1") == ["0", "0", "m4,6,8,8,0,64", "m5,6,8,8,0,64"]
    assert lines(folder, "obj2") == lines(folder, "obj0")
    assert lines(folder, "obj1_confidence") == ["0", "0", "0.440399", "0.440399"]


def test_frames_before_the_first_object_are_not_looked_at(place, monkeypatch, folder):  # noqa: F811
    serve(monkeypatch)
    paths = (folder / "frames_color.txt").read_text().splitlines()
    (folder / "frames_color.txt").write_text("\n".join(["/absent.jpg", *paths[1:]]))
    ask(folder, obj0=f"1\n{BOX}\n")
    track_folder(ORDER, folder, keep=0)
    assert lines(folder, "obj0") == ["0", *(f"{x}.0,6.0,7.0,7.0" for x in (3, 4, 5))]


def test_the_command_works_in_the_folder_it_is_started_in(place, monkeypatch, folder):  # noqa: F811
    serve(monkeypatch)
    ask(folder, obj0=f"0\n{BOX}\n")
    words = ["vot", "track", "--tracker", "sam2", "--model", ORDER.model, "--protocol", "folder", "--keep", "0"]
    command = [sys.executable, "-m", "mosam", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(lines(folder, "obj0")) == 4


def test_a_failure_is_one_line_and_told_to_who_waits(place, monkeypatch, folder, tmp_path):  # noqa: F811
    class Broken(Engine):
        def step(self, images, motion=None):
            raise RuntimeError("CUDA out of memory\nand more")

    serve(monkeypatch, Broken)
    monkeypatch.setenv(ERRORS_VARIABLE, str(tmp_path / "errors"))
    ask(folder, obj0=f"0\n{BOX}\n")
    with pytest.raises(MosamError, match=r"CUDA out of memory$"):
        track_folder(ORDER, folder, keep=0)
    assert (tmp_path / "errors").read_text() == "RuntimeError: CUDA out of memory\n"
    assert not list(folder.glob("output_*"))


def test_frames_of_one_channel_that_is_not_color(folder):
    (folder / "frames_color.txt").rename(folder / "frames_ir.txt")
    (folder / "frames_ir.txt").write_text("a.png\n\n/b/c.png\n")
    assert read_frames(folder) == [str(folder / "a.png"), "/b/c.png"]


@pytest.mark.parametrize(
    ("files", "error", "said"),
    [
        ({}, MissingDataError, r"expected frames_color\.txt, found none; the VOT"),
        ({"frames_ir.txt": "a", "frames_depth.txt": "a"}, MissingDataError, r"found frames_depth\.txt, frames_ir\.txt"),
        ({"frames_color.txt": "\n"}, DataError, "expected paths of pictures, got none"),
        ({"frames_color.txt": b"\xff"}, DataError, "expected text in UTF-8"),
    ],
)
def test_bad_lists_of_frames(tmp_path, files, error, said):
    for name, text in files.items():
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(error, match=said):
        read_frames(tmp_path)


def test_queries_are_ordered_by_frame_and_number(tmp_path):
    ask(tmp_path, obj10="0\n1,2,3,4\n", obj2="0\n1,2,3,4\n", obj0="5\n0\n")
    assert read_queries(tmp_path) == [
        Query("obj2", 0, "1,2,3,4"),
        Query("obj10", 0, "1,2,3,4"),
        Query("obj0", 5, "0"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"query_a\.txt:1: expected the number of a frame, got ''"),
        ("-1\n1,2,3,4\n", "expected the number of a frame, got '-1'"),
        ("0\n", r"query_a\.txt:2: expected a region, got nothing"),
    ],
)
def test_bad_queries(tmp_path, text, said):
    ask(tmp_path, a=text)
    with pytest.raises(DataError, match=said):
        read_queries(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"4\n{BOX}\n", r"query_obj0\.txt:1: expected one of 4 frames, got 4"),
        ("0\n0\n", "expected a region to start with, got the code 0"),
        ("0\nhello\n", "expected"),
    ],
)
def test_queries_that_no_tracker_can_answer(place, monkeypatch, folder, text, said):  # noqa: F811
    serve(monkeypatch)
    ask(folder, obj0=text)
    with pytest.raises(MosamError, match=said):
        track_folder(ORDER, folder, keep=0)


def test_a_folder_without_anything_says_who_should_start_it(tmp_path):
    command = [sys.executable, "-m", "mosam", "vot", "track", "--tracker", "sam2", "--protocol", "folder"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ}, check=False)
    assert done.returncode == 2
    assert "expected frames_color.txt, found none" in done.stderr
    done = subprocess.run([*command[:-1], "pipe"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "--protocol: expected one of trax, folder, got 'pipe'" in done.stderr
