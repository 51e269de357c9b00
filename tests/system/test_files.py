"""Files that are whole or not there, and folders that nothing leaves."""

from __future__ import annotations

import contextlib
import os
import stat
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mosam.errors import DataError, MissingDataError
from mosam.system.files import Inside, PathError, plain_parts, read_regular, replacing, write_bytes, write_text

OUTSIDE = ["", "/", "..", ".", "a/..", "a/../b", "../a", "a//b", "/etc/passwd", "./a", "a/", "a/./b", "a\0b"]


@pytest.fixture
def places(tmp_path):
    """A folder of results, and something of somebody else beside it."""
    (tmp_path / "run" / "a").mkdir(parents=True)
    (tmp_path / "run" / "a" / "0.txt").write_text("result")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    return tmp_path / "run", tmp_path / "mine"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def content(folder):
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


# ---- replacing


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "x.json"
    write_text(path, "old")
    with replacing(path) as partial:
        assert partial.parent == tmp_path
        partial.write_text("new")
        assert path.read_text() == "old"
    assert content(tmp_path) == {"x.json": "new"}


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.json"
    write_bytes(path, b"old")

    def half():
        with replacing(path) as partial:
            partial.write_text("ne")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert content(tmp_path) == {"x.json": "old"}


def test_no_link_is_followed_for_writing(places):
    run, mine = places
    for name in ("scores.json", ".scores.json.part", "scores.json.new"):
        (run / name).symlink_to(mine / "file")
    write_text(run / "scores.json", "scores")
    assert content(mine) == {"file": "mine"}
    assert not (run / "scores.json").is_symlink()
    assert (run / "scores.json").read_text() == "scores"


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_not_replaced(tmp_path, kind):
    path = tmp_path / "x"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(PathError, match="x: expected a file to write or replace, got a folder, a pipe or a device"):
        write_text(path, "")
    with pytest.raises(PathError):
        Inside(tmp_path).write_text("x", "")
    assert names(tmp_path) == ["x"]


def test_the_mode_is_what_the_user_usually_has(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "x", "")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_many_writers_of_one_file(tmp_path):
    texts = [str(n) * 10_000 for n in range(8)]
    threads = [threading.Thread(target=write_text, args=(tmp_path / "x", text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "x").read_text() in texts
    assert names(tmp_path) == ["x"]


# ---- reading


def test_reading_waits_for_no_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(DataError, match="expected a file, got a folder, a pipe or a device"):
            read_regular(tmp_path / name)
    with pytest.raises(MissingDataError, match="none: expected a file, found none"):
        read_regular(tmp_path / "none")
    with pytest.raises(MissingDataError):
        read_regular(tmp_path / "none" / "x")
    with pytest.raises(DataError, match="null"):
        read_regular(f"{tmp_path}/a\0b")


def test_what_cannot_fit_into_memory_is_not_read(tmp_path):
    with (tmp_path / "big").open("wb") as file:
        file.truncate(3 << 30)  # no byte of it is on the disk
    with pytest.raises(DataError, match="big: expected at most 512 MiB, got 3072 MiB"):
        read_regular(tmp_path / "big")


# ---- Inside


@pytest.mark.parametrize("path", [*OUTSIDE, 5, None, ["a"], b"a"])
def test_what_is_not_plain_is_refused(places, path):
    run, mine = places
    inside = Inside(run)
    before = content(run)
    for act in (
        inside.path, inside.kind, inside.remove, inside.make_folder, lambda p: inside.move(p, "b"),
        lambda p: inside.move("a", p), lambda p: inside.write_text(p, ""), lambda p: inside.remove(p, quiet=True),
    ):  # fmt: skip
        with pytest.raises(PathError):
            act(path)
    assert content(run) == before
    assert content(mine) == {"file": "mine"}


def test_every_act_stays_inside_when_a_folder_on_the_way_is_a_link(places):
    run, mine = places
    (run / "log").symlink_to(mine)
    inside = Inside(run)
    for act in (
        inside.path, inside.kind, inside.remove, inside.make_folder, lambda p: inside.move(p, "b"),
        lambda p: inside.move("a", p), lambda p: inside.write_text(p, ""),
    ):  # fmt: skip
        with pytest.raises(PathError, match="log: expected a folder, got a link; nothing was touched"):
            act("log/file")
    with pytest.raises(PathError):
        inside.make_folder("log")
    assert content(mine) == {"file": "mine"}
    assert (run / "a" / "0.txt").exists()


def test_a_link_in_the_last_place_is_removed_itself(places):
    run, mine = places
    (run / "b").symlink_to(mine)
    (run / "a" / "deep").symlink_to(mine)
    inside = Inside(run)
    with pytest.raises(PathError, match="b: expected a file or folder, got a link"):
        inside.move("b", "c")
    with pytest.raises(PathError):
        inside.path("b")
    inside.remove("b")
    inside.remove("a")
    assert names(run) == []
    assert content(mine) == {"file": "mine"}


def test_a_link_where_something_is_moved_to_is_replaced(places):
    run, mine = places
    (run / "b").symlink_to(mine)
    Inside(run).move("a", "b")
    assert content(run) == {"b/0.txt": "result"}
    assert content(mine) == {"file": "mine"}


def test_moving_what_is_not_there_removes_nothing(places):
    run, _ = places
    with pytest.raises(FileNotFoundError):
        Inside(run).move("none", "a")
    assert content(run) == {"a/0.txt": "result"}


def test_folders_above_are_made(places):
    run, _ = places
    inside = Inside(run)
    inside.move("a", "x/y/z")
    inside.write_text("log/car.jsonl", "line")
    inside.make_folder("p/q")
    inside.write_text("p/q/r", "")
    assert inside.make_folder("p", new=True) == run / "p"
    assert content(run) == {"log/car.jsonl": "line", "x/y/z/0.txt": "result"}
    assert [inside.kind(p) for p in ("x", "log/car.jsonl", "none", "none/x")] == ["folder", "file", None, None]
    assert inside.names() == ["log", "p", "x"]


def test_the_folder_itself_may_be_a_link(places, tmp_path):
    run, _ = places
    (tmp_path / "here").symlink_to(run)
    Inside(tmp_path / "here").write_text("b", "")
    assert names(run) == ["a", "b"]
    assert Inside(tmp_path / "none").names() == []


PARTS = st.sampled_from(["..", ".", "", "a", "link", "mine", "0.txt", "b", "file", "\0", "/"])


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(PARTS, max_size=6), act=st.sampled_from(["remove", "move", "onto", "write", "make", "new"]))
def test_no_path_reaches_beside_the_folder(tmp_path_factory, parts, act):
    place = tmp_path_factory.mktemp("inside")
    run, mine = place / "run", place / "mine"
    (run / "a").mkdir(parents=True)
    mine.mkdir()
    (mine / "file").write_text("mine")
    (run / "link").symlink_to(mine)
    (run / "a" / "link").symlink_to("../../mine")
    inside, path = Inside(run), "/".join(parts)
    acts = {
        "remove": lambda: inside.remove(path), "move": lambda: inside.move(path, "moved"),
        "onto": lambda: inside.move("a", path), "write": lambda: inside.write_text(path, "x"),
        "make": lambda: inside.make_folder(path), "new": lambda: inside.make_folder(path, new=True),
    }  # fmt: skip
    with contextlib.suppress(PathError, OSError):
        acts[act]()
    assert content(mine) == {"file": "mine"}
    assert names(place) == ["mine", "run"]


@given(st.text(max_size=20))
def test_plain_paths_are_those_that_come_back_as_they_are(text):
    try:
        parts = plain_parts(text, "x")
    except PathError as error:
        problem = str(error)
    else:
        assert "/".join(parts) == text == os.path.normpath(text)
        assert not text.startswith("/")
        assert ".." not in parts
        return
    assert problem.isprintable()
