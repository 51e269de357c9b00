"""The lock of a run's folder, which one process at a time may write to.

Not `filelock`, which takes whatever lies in the lock's place for its lock (earlier releases empty a user's file there,
or wait on a named pipe) and cannot name the process that holds it: `tests/results/test_lock.py` shows both.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
from pathlib import Path

from mosam.results.folder import StoreError


def take_lock(path: Path) -> int:
    """Open descriptor holding the lock; the kernel frees it when the process ends, however it ends."""
    while True:
        descriptor = _open_lock(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 32).decode(errors="replace").strip()
            os.close(descriptor)
            raise StoreError(
                f"{path.parent}: another process ({owner or 'unknown'}) writes this run; wait for it or choose another "
                "folder with --results"
            ) from None
        if _same_file(path, descriptor):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
            return descriptor
        os.close(descriptor)  # its owner removed it between our opening and locking: take the new one


def release_lock(path: Path, descriptor: int) -> None:
    """Removes the lock file, if it still is the one that `take_lock` opened, and closes it."""
    with contextlib.suppress(OSError):
        if _same_file(path, descriptor):
            path.unlink()
    os.close(descriptor)


def _open_lock(path: Path) -> int:
    """A descriptor of the lock file, which is made where it is missing; StoreError where something else is there."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    wrong = StoreError(f"{path}: expected the lock of a run, found something else; move it away")
    try:
        descriptor = os.open(path, flags, 0o644)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.EISDIR, errno.ENXIO):
            raise wrong from None
        raise
    about = os.fstat(descriptor)
    if (
        not stat.S_ISREG(about.st_mode)
        or about.st_nlink > 1
        or not re.fullmatch(rb"\d*\n?", os.pread(descriptor, 64, 0))
    ):
        os.close(descriptor)
        raise wrong
    return descriptor


def _same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
