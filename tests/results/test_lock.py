"""Why `mosam/results/lock.py` is not `filelock`: the needs that the library does not meet, each beside ours."""

import os

import pytest
from filelock import FileLock, Timeout

from mosam.results.folder import StoreError
from mosam.results.lock import release_lock, take_lock


def place(kind, path):
    """Something else where the lock should be."""
    if kind == "notes":
        path.write_text("my own notes")
    elif kind == "another name":
        path.with_suffix(".mine").touch()
        os.link(path.with_suffix(".mine"), path)
    else:
        os.mkfifo(path)


@pytest.mark.parametrize("kind", ["notes", "another name", "pipe"])
def test_filelock_takes_what_is_no_lock(tmp_path, kind):
    place(kind, tmp_path / "lock")
    with pytest.raises(StoreError, match="expected the lock of a run"):
        take_lock(tmp_path / "lock")
    if kind != "pipe":  # some releases wait on it
        with FileLock(tmp_path / "lock", timeout=0) as lock:  # earlier releases also empty the notes
            assert lock.is_locked


def test_filelock_names_no_owner(tmp_path):
    descriptor = take_lock(tmp_path / "ours")
    with pytest.raises(StoreError, match=rf"another process \({os.getpid()}\) writes this run"):
        take_lock(tmp_path / "ours")
    release_lock(tmp_path / "ours", descriptor)
    with FileLock(tmp_path / "theirs", timeout=0):
        with pytest.raises(Timeout) as caught:
            FileLock(tmp_path / "theirs", timeout=0).acquire()
        assert str(os.getpid()) not in str(caught.value).replace(str(tmp_path), "")
        assert (tmp_path / "theirs").read_text() == ""


def test_a_released_lock_leaves_nothing_behind(tmp_path):
    release_lock(tmp_path / "lock", take_lock(tmp_path / "lock"))
    assert list(tmp_path.iterdir()) == []
