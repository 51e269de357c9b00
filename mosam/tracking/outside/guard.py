"""Runs a program, and ends it with all that it started as soon as whoever wanted it is gone.

    python guard.py DESCRIPTOR COMMAND...

It leads the process group that the program is in. The descriptor is a pipe that nobody writes to: it ends when the
process that started this one ends, however that was, and then the group is killed. Imports nothing of ours, so that it
starts in milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading


def main(descriptor: int, command: list[str]) -> int:
    """Runs the command; the exit code is the program's, 127 where it cannot be started."""
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
    if code < 0:
        with contextlib.suppress(OSError):  # nobody handles SIGKILL
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def end_with(descriptor: int) -> None:
    """Kills the group when the pipe ends."""
    os.read(descriptor, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
