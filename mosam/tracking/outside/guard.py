"""Runs a program, and ends it with all that it started as soon as whoever wanted it is gone.

    python guard.py DESCRIPTOR COMMAND...

It leads the process group that the program is in. The descriptor is a pipe that nobody writes to: it ends when the
process that started this one ends, however that was, and then the group is killed. What left the group is found as a
descendant, where the system has /proc. Imports nothing of ours, so that it starts in milliseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading

PR_SET_CHILD_SUBREAPER = 36  # of Linux
MOST_ROUNDS = 100


def main(descriptor: int, command: list[str]) -> int:
    """Runs the command; the exit code is the program's, 127 where it cannot be started."""
    adopt_orphans()
    try:
        child = subprocess.Popen(command)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # or nobody would notice that the program closed them
        os.dup2(nothing, stream)
    threading.Thread(target=end_with, args=(descriptor,), daemon=True).start()
    code = child.wait()
    end_descendants(os.getpid())
    if code < 0:
        with contextlib.suppress(OSError):  # nobody handles SIGKILL
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def end_with(descriptor: int) -> None:
    """Kills the group and all descendants when the pipe ends."""
    os.read(descriptor, 1)
    end_descendants(os.getpid())
    os.killpg(0, signal.SIGKILL)


def adopt_orphans() -> None:
    """Descendants whose parent ends become children of this process and not of the system's first (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_descendants(process: int) -> None:
    """Kills all that a process started, groups and sessions of their own included."""
    for _ in range(MOST_ROUNDS):  # one may start another meanwhile
        found = descendants(process)
        if not found:
            return
        for one in found:
            with contextlib.suppress(OSError):
                os.kill(one, signal.SIGKILL)


def descendants(process: int) -> list[int]:
    """Ids of the processes that one started and of what they started, zombies aside; none without /proc."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():  # noqa: PTH112, PTH208
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
            state, parent = file.read().rpartition(b")")[2].split()[:2]
            if state != b"Z":
                children.setdefault(int(parent), []).append(int(name))
    found = [process]
    for one in found:
        found += children.get(one, ())
    return found[1:]


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
